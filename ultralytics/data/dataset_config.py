"""From a dataset file to checked facts: where the pictures of each split are and what the classes are called.

Nothing is ever downloaded. A dataset that is not there is an error that says where it was looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ultralytics.cfg import data_root, find_data_yaml
from ultralytics.utils import LOGGER
from ultralytics.utils.files import yaml_load

SPLITS = ("train", "val", "test", "minival")


class DatasetError(ValueError):
    """A dataset file that contradicts itself, or a dataset without a usable picture."""


class DatasetNotFoundError(FileNotFoundError):
    """A dataset file, or a folder or list that it names, is not where it was looked for."""


def check_det_dataset(dataset: str | Path | Mapping[str, Any], splits: Sequence[str] = ("val",)) -> dict[str, Any]:
    """Read a dataset file and check what it says.

    Args:
        dataset: path or bare name of a YAML file, or its content; a mapping's relative `path` counts from the current
            folder unless it holds `yaml_file`.
        splits: splits whose folders and lists must exist if the file names them.

    Returns:
        The keys of the file, and: `yaml_file` (str), `path` (absolute Path of the root), `train`, `val` and `test`
        (absolute str, list of them, or None), `names` ({0: "name", ...}) and `nc`.

    Raises:
        DatasetNotFoundError: there is no such file, or a split of `splits` is missing on the disk.
        DatasetError: `train` or `val` is not stated, `names` and `nc` disagree, or a value has the wrong type.
    """
    data, yaml_file = _read(dataset)
    where = str(yaml_file) if yaml_file else "dataset"
    if "validation" in data and "val" not in data:
        LOGGER.warning("%s: 'validation' is read as 'val'", where)
        data["val"] = data.pop("validation")
    for key in ("train", "val"):
        if key not in data:
            raise DatasetError(
                f"{where}: there is no '{key}:' line. Give the folder of its images, or leave its value empty."
            )
    data["names"] = _names(data, where)
    data["nc"] = len(data["names"])

    roots = _roots(data.get("path"), yaml_file)
    root = next((folder for folder in roots if folder.is_dir()), roots[0])
    tried: dict[str, list[str]] = {}
    for split in SPLITS:
        value = data.get(split)
        data[split] = _resolve(value, root, f"{where}: '{split}'")
        entries = [] if data[split] is None else [data[split]] if isinstance(data[split], str) else data[split]
        missing = [entry for entry in entries if not Path(entry).exists()]
        if missing and split in splits:
            tried[split] = missing
    if tried:
        raise DatasetNotFoundError(_not_found(tried, roots, where, data))
    if data["minival"] is None:
        del data["minival"]
    return {**data, "yaml_file": str(yaml_file or ""), "path": root}


def _read(dataset: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], Path | None]:
    if isinstance(dataset, Mapping):
        stated = dataset.get("yaml_file")
        return dict(dataset), Path(stated).absolute() if stated else None
    try:
        yaml_file = Path(find_data_yaml(dataset)).absolute()
    except FileNotFoundError as e:
        raise DatasetNotFoundError(
            f"{e}\nA dataset is given as a YAML file with the lines path, train, val and names."
        ) from e
    return yaml_load(yaml_file), yaml_file


def _names(data: Mapping[str, Any], where: str) -> dict[int, str]:
    names, nc = data.get("names"), data.get("nc")
    if nc is not None and (isinstance(nc, bool) or not isinstance(nc, int) or nc < 1):
        raise DatasetError(f"{where}: nc is {nc!r}, but must be a whole number from 1.")
    if names is None:
        if nc is None:
            raise DatasetError(
                f"{where}: there is neither 'names:' nor 'nc:'. List the class names, as in names: [cat, dog]."
            )
        return {i: f"class_{i}" for i in range(nc)}
    if isinstance(names, (list, tuple)):
        names = dict(enumerate(names))
    if isinstance(names, Mapping):
        names = {int(key) if isinstance(key, str) and key.isdecimal() else key: name for key, name in names.items()}
    if not isinstance(names, Mapping) or not names:
        raise DatasetError(f"{where}: names is {names!r}, but must be a list of names or 'number: name' lines.")
    if sorted(names, key=str) != sorted(range(len(names)), key=str):
        listed = ", ".join(map(str, list(names)[:10]))
        raise DatasetError(
            f"{where}: the numbers of `names` must be 0 to {len(names) - 1} without a gap, but are {listed}."
        )
    if nc is not None and nc != len(names):
        raise DatasetError(f"{where}: nc is {nc}, but there are {len(names)} names. Correct one, or leave nc out.")
    return {i: str(names[i]) for i in range(len(names))}


def _roots(path: Any, yaml_file: Path | None) -> list[Path]:
    """Folders that may be the dataset's root, best first."""
    if path is not None and not isinstance(path, (str, Path)):
        raise DatasetError(f"{yaml_file or 'dataset'}: path is {path!r}, but must be a folder.")
    if yaml_file is None:
        return [(Path.cwd() / Path(path or ".").expanduser()).resolve()]
    return [root.resolve() for root in data_root(yaml_file, path)]


def _resolve(value: Any, root: Path, where: str) -> str | list[str] | None:
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, (list, tuple)):
        return [one for item in value if isinstance(one := _resolve(item, root, where), str)]
    if not isinstance(value, (str, Path)):
        raise DatasetError(f"{where} is {value!r}, but must be a folder, a .txt list, or a list of these.")
    path = (root / Path(value).expanduser()).resolve()
    if not path.exists() and str(value).startswith("../"):  # written for a layout with the YAML one folder deeper
        inside = (root / str(value)[3:]).resolve()
        path = inside if inside.exists() else path
    return str(path)


def _not_found(tried: Mapping[str, Sequence[str]], roots: Sequence[Path], where: str, data: Mapping[str, Any]) -> str:
    lines = [f"{where}: the images are not there."]
    lines += [f"  {split}: looked for {entry}" for split, entries in tried.items() for entry in entries]
    if len(roots) > 1:
        lines.append(f"  root: looked for {' and '.join(map(str, roots))}")
    keys = "`, `".join(["path", *tried])
    remedy = f"Put the dataset there, or correct `{keys}`; `path` counts from the YAML file's own folder."
    if data.get("download"):
        source = str(data["download"]).strip().splitlines()[0]
        remedy += f" The file names a source, which is never fetched or run by itself: {source}"
    return "\n".join([*lines, remedy])
