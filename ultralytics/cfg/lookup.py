"""Finding model and dataset files, and the folders where the data of a dataset file is."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from ultralytics.utils import ROOT
from ultralytics.utils.files import find_file
from ultralytics.utils.settings import settings

MODELS_DIR = ROOT / "cfg" / "models"  # model files of the package
DATASETS_DIR = ROOT / "cfg" / "datasets"  # dataset files of the package
_SCALE_LETTER = re.compile(r"(yolov?\d+)[nslmx]")
_P6_NAME = re.compile(r"(yolov[58])[nslmx]6(?=\.\w+$)")  # yolov8x6.yaml is the older name of yolov8x-p6.yaml


def find_model_yaml(name: str | Path) -> Path:
    """The model file for a name such as yolo11n.yaml: as given, else without its scale letter, else the package's own.

    Raises:
        FileNotFoundError: there is none; the text lists the folders searched and similar names.
    """
    _expect_yaml(name, "model file")
    path = Path(name).expanduser()
    unscaled = path.with_name(_SCALE_LETTER.sub(r"\1", _P6_NAME.sub(r"\1-p6", path.name), count=1))
    for candidate in (path, unscaled):
        if candidate.is_file():
            return candidate
    with contextlib.suppress(FileNotFoundError):
        return find_file(unscaled, [MODELS_DIR])
    return find_file(path, [MODELS_DIR], "model file")


def find_model_files(name: str | Path) -> tuple[Path, str | None]:
    """The model file for a name, or the rule and the model file that together make it.

    A name such as yolo11n-seg-AKConv.yaml for which there is no file means yolo11n-seg.yaml changed by the rule
    AKConv.yaml, a file with edits but without `base`.

    Returns:
        The file and None, or the file of the rule and the name of its base.

    Raises:
        FileNotFoundError: there is neither.
    """
    try:
        return find_model_yaml(name), None
    except FileNotFoundError:
        if variant := _find_variant(Path(name)):
            return variant
        raise


def model_rules() -> dict[str, Path]:
    """Files of the rules by the name that follows the name of the model file, such as C2f-DLKA; longest names first."""
    files = sorted((MODELS_DIR / "add" / "rules").glob("*.yaml"))
    return {file.stem: file for file in sorted(files, key=lambda file: -len(file.stem))}


def find_data_yaml(name: str | Path) -> Path:
    """The dataset file `name` as given, else among the package's own.

    Raises:
        FileNotFoundError: there is none; the text lists the folders searched and similar names.
    """
    _expect_yaml(name, "dataset file")
    return find_file(name, [DATASETS_DIR], "dataset file")


def find_data_folder(name: str | Path) -> Path:
    """Absolute path of the folder `name`: as given, or in the datasets_dir of the settings if it exists only there."""
    path = Path(name).expanduser()
    shared = Path(settings["datasets_dir"]).expanduser() / path
    return (shared if shared.is_dir() and not path.exists() else path).absolute()


def data_root(yaml_file: str | Path, path: str | Path | None) -> list[Path]:
    """Candidate folders for the data of a dataset file, in order of preference; the first that exists is used.

    A relative `path` (or none) is relative to the folder of the dataset file. For the dataset files of the package it
    is relative to the datasets_dir of the settings, then to the current folder: the package folder holds no data.
    """
    yaml_file = Path(yaml_file).resolve()
    path = Path(path or "").expanduser()
    if path.is_absolute() or DATASETS_DIR not in yaml_file.parents:
        return [(yaml_file.parent / path).resolve()]
    return [(Path(settings["datasets_dir"]).expanduser() / path).resolve(), path.resolve()]


def _find_variant(path: Path) -> tuple[Path, str] | None:
    for rule, file in model_rules().items():
        if path.stem.endswith(f"-{rule}"):
            base = path.with_name(path.stem.removesuffix(f"-{rule}") + path.suffix)
            with contextlib.suppress(FileNotFoundError):
                find_model_yaml(base)
                return file, str(base)
    return None


def _expect_yaml(name: str | Path, description: str) -> None:
    if Path(name).suffix.lower() not in (".yaml", ".yml") and not Path(name).is_dir():
        raise FileNotFoundError(
            f"'{name}' is not a {description}: expected a name that ends in .yaml, such as '{Path(name).name}.yaml'"
        )
