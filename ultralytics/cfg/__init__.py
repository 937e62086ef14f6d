"""Settings of a run: merging and checking options, finding model and dataset files, naming the run's folder.

What there is to set stands in default.yaml; options.py reads that file. Here it is put to use.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ultralytics.cfg.options import DEFAULT_YAML, Option, OptionError, all_options, literal
from ultralytics.utils import LOGGER, RANK, ROOT, IterableSimpleNamespace
from ultralytics.utils.files import find_file, increment_path, yaml_load
from ultralytics.utils.settings import settings
from ultralytics.utils.suggest import did_you_mean

__all__ = [
    "DEFAULT_YAML",
    "MODES",
    "TASKS",
    "Option",
    "OptionError",
    "all_options",
    "cfg_help",
    "check_imgsz",
    "check_option",
    "data_root",
    "default_cfg",
    "find_data_yaml",
    "find_model_yaml",
    "get_cfg",
    "get_save_dir",
    "load_cfg_file",
    "option",
    "parse_option",
    "warn_unused",
]

TASKS = ("detect", "segment", "classify", "pose", "obb")
MODES = ("train", "val", "predict", "export", "track", "benchmark")
_MODELS = ROOT / "cfg" / "models"
_DATASETS = ROOT / "cfg" / "datasets"
_SCALE_LETTER = re.compile(r"(yolov?\d+)[nslmx]")
_P6_NAME = re.compile(r"(yolov[58])[nslmx]6(?=\.\w+$)")  # yolov8x6.yaml is the older way to write yolov8x-p6.yaml

# names of earlier versions: today's name, and whether the value turns round
_RENAMED = {
    "boxes": ("show_boxes", False),
    "hide_labels": ("show_labels", True),
    "hide_conf": ("show_conf", True),
    "line_thickness": ("line_width", False),
}
# other packages' words for our options, which spelling alone would not lead to
_MEANT = {
    "lr": "lr0",
    "learning_rate": "lr0",
    "img": "imgsz",
    "img_size": "imgsz",
    "image_size": "imgsz",
    "weights": "model",
    "batch_size": "batch",
    "num_workers": "workers",
    "gpu": "device",
    "early_stopping": "patience",
    "output": "project",
}


def default_cfg() -> IterableSimpleNamespace:
    """All options with their defaults; a new object at every call."""
    return IterableSimpleNamespace(**{key: one.default for key, one in all_options().items()})


def get_cfg(
    overrides: Mapping[str, Any] | IterableSimpleNamespace | None = None,
    base: Mapping[str, Any] | IterableSimpleNamespace | None = None,
) -> IterableSimpleNamespace:
    """All options: the defaults, over them `base`, then the YAML file that `overrides` names as cfg, then `overrides`.

    Args:
        overrides: options as the user gave them; an unknown key is an error. A `save_dir` among them is dropped:
            project and name make it.
        base: settings of an earlier run or of a checkpoint; a `save_dir` is kept, other keys that this version does
            not know are left out with a warning.

    Raises:
        OptionError: an unknown key (the text names the nearest known one), or a value of a wrong type or range.
    """
    given = dict(overrides or {})
    merged = {key: one.default for key, one in all_options().items()}
    merged.update(_from_earlier_run(dict(base or {})))
    if given.get("cfg"):
        merged.update(load_cfg_file(given["cfg"]))
    for key, value in _todays_names(given).items():
        if key != "save_dir":
            merged[key] = check_option(key, value)
    return IterableSimpleNamespace(**merged)


def load_cfg_file(path: str | Path) -> dict[str, Any]:
    """The options in a YAML file such as a copy of default.yaml or a run's args.yaml, checked.

    `cfg` and `save_dir` are left out.

    Raises:
        OptionError: as `get_cfg`, with the file's name in front.
    """
    found = yaml_load(find_file(path, [], "file of options (cfg=)"))
    try:
        named = _todays_names(found)
        return {key: check_option(key, value) for key, value in named.items() if key not in ("cfg", "save_dir")}
    except OptionError as e:
        raise OptionError(f"{path}: {e}") from e


def check_option(key: str, value: Any) -> Any:
    """`value` in the form option `key` has; OptionError if there is no such option or it cannot have that value."""
    return option(key).check(value)


def option(key: str) -> Option:
    """Option `key`; OptionError with the nearest names if there is none."""
    if key not in all_options():
        raise OptionError(_unknown(key))
    return all_options()[key]


def parse_option(key: str, text: str) -> Any:
    """The checked value that a word of the command line means for option `key`: parse_option("epochs", "3") == 3."""
    if key in _RENAMED:
        return literal(text)
    return option(key).check(option(key).from_text(text))


def warn_unused(given: Iterable[str], mode: str, task: str | None = None) -> list[str]:
    """Say once which of the explicitly given options do nothing in this mode; returns their names."""
    unused = [key for key in given if key in all_options() and not all_options()[key].works_in(mode, task)]
    for key in unused:
        places = ", ".join("/".join(filter(None, place)) for place in all_options()[key].where)
        LOGGER.warning("option '%s' has no effect in %s; it works in: %s", key, mode, places)
    return unused


def cfg_help(mode: str | None = None) -> str:
    """The options as text, a line each, in the groups of default.yaml; with `mode` only those that work in it."""
    lines: list[str] = []
    group = ""
    for one in all_options().values():
        if mode and not one.works_in(mode):
            continue
        if one.group != group:
            group = one.group
            lines += ["", group]
        lines.append(f"  {one.line()}")
    return "\n".join(lines).strip()


def get_save_dir(args: Any) -> Path:
    """The folder of a run, numbered so that it is free unless `exist_ok`; not created.

    `args.save_dir` if that is set, else project/name, where project is by itself <runs_dir>/<task> and name the mode.
    `name=model` means the model file's name up to its first dot.
    """
    if getattr(args, "save_dir", None):
        return Path(args.save_dir)
    project = Path(args.project) if args.project else Path(settings["runs_dir"]) / args.task
    name = args.name or args.mode
    if name == "model" and args.model:
        name = Path(str(args.model)).name.split(".")[0]
    # the first process has chosen the folder; the others of a distributed run join it
    return increment_path(project / name, exist_ok=args.exist_ok or RANK > 0)


def find_model_yaml(name: str | Path) -> Path:
    """The model file for a name such as yolo11n.yaml: as given, else without its scale letter, else the package's own.

    Raises:
        FileNotFoundError: there is none; the text says where it was looked for and names that are close.
    """
    _expect_yaml(name, "model file")
    given = Path(name).expanduser()
    unscaled = given.with_name(_SCALE_LETTER.sub(r"\1", _P6_NAME.sub(r"\1-p6", given.name), count=1))
    for candidate in (given, unscaled):
        if candidate.is_file():
            return candidate
    with contextlib.suppress(FileNotFoundError):
        return find_file(unscaled, [_MODELS])
    return find_file(given, [_MODELS], "model file")


def find_data_yaml(name: str | Path) -> Path:
    """The dataset file `name` as given, else among the package's own.

    Raises:
        FileNotFoundError: there is none; the text says where it was looked for and names that are close.
    """
    _expect_yaml(name, "dataset file")
    return find_file(name, [_DATASETS], "dataset file")


def data_root(yaml_file: str | Path, path: str | Path | None) -> list[Path]:
    """Folders where the data of a dataset file may lie, the likeliest first; the first that exists counts.

    A relative `path` (or none) counts from the dataset file's own folder. Only for the dataset files that ship with the
    package, where nobody keeps data, it is looked for in the settings' datasets_dir, then in the current folder.
    """
    yaml_file = Path(yaml_file).resolve()
    path = Path(path or "").expanduser()
    if path.is_absolute() or _DATASETS not in yaml_file.parents:
        return [(yaml_file.parent / path).resolve()]
    return [(Path(settings["datasets_dir"]).expanduser() / path).resolve(), path.resolve()]


def check_imgsz(
    imgsz: int | str | Sequence[int], stride: int = 32, min_dim: int = 1, max_dim: int = 2, floor: int = 0
) -> int | list[int]:
    """Image size rounded up to a multiple of `stride`, and to at least `floor`.

    Args:
        imgsz: pixels; one number, or [height, width]; as text too ("640", "[320, 640]").
        stride: every side becomes a multiple of it.
        min_dim: with 2, one number gives [s, s].
        max_dim: with 1, of several numbers the largest counts (with a warning).

    Returns:
        One number for min_dim 1 and one number given, else [height, width].

    Raises:
        OptionError: not a whole number of pixels, or more numbers than there are sides.
    """
    value = literal(imgsz) if isinstance(imgsz, str) else imgsz
    checked = check_option("imgsz", value)
    sides = [checked] if isinstance(checked, int) else checked
    if not 1 <= len(sides) <= 2:
        raise OptionError(f"imgsz={imgsz} has {len(sides)} numbers; it takes one, or [height, width]")
    if max_dim == 1 and len(sides) > 1:
        LOGGER.warning("imgsz=%s: training and validation take one number; using %d", imgsz, max(sides))
        sides = [max(sides)]
    rounded = [max(math.ceil(side / stride) * stride, floor) for side in sides]
    if rounded != sides:
        LOGGER.warning("imgsz=%s is not a multiple of %d; using %s", imgsz, stride, _one_or_all(rounded))
    return rounded * 2 if min_dim == 2 and len(rounded) == 1 else _one_or_all(rounded)


def _from_earlier_run(base: dict[str, Any]) -> dict[str, Any]:
    known = _todays_names(base, others_ok=True)
    kept = {key: value if key == "save_dir" else check_option(key, value) for key, value in known.items()}
    if unknown := [key for key in base if key not in kept and key not in _RENAMED]:
        LOGGER.warning("settings of another version are left out: %s", ", ".join(map(str, unknown)))
    return kept


def _todays_names(given: Mapping[str, Any], others_ok: bool = False) -> dict[str, Any]:
    """`given` with names of earlier versions replaced; unknown names raise, or with `others_ok` are left out."""
    named: dict[str, Any] = {}
    for key, value in given.items():
        if key in _RENAMED:
            new, turned = _RENAMED[key]
            LOGGER.warning("option '%s' is called '%s' now%s", key, new, " and means the opposite" if turned else "")
            named[new] = not check_option("show", value) if turned else value
        elif key in all_options() or key == "save_dir":
            named[key] = value
        elif not others_ok:
            raise OptionError(_unknown(key))
    return named


def _unknown(key: Any) -> str:
    word = str(key).lower().replace("-", "_")
    hint = f"; did you mean '{_MEANT[word]}'?" if word in _MEANT else did_you_mean(word, all_options())
    return f"'{key}' is not an option{hint or '; `yolo cfg` lists all of them'}"


def _expect_yaml(name: str | Path, what: str) -> None:
    if Path(name).suffix.lower() not in (".yaml", ".yml") and not Path(name).is_dir():
        raise FileNotFoundError(f"'{name}' is not a {what}: its name ends in .yaml, such as '{Path(name).name}.yaml'")


def _one_or_all(sides: list[int]) -> int | list[int]:
    return sides[0] if len(sides) == 1 else sides
