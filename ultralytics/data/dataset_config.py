"""Reading and checking dataset files: where the images of each split are, class names, and keypoints.

Nothing is ever downloaded. A dataset that does not exist is an error that says where it was searched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from ultralytics.cfg import data_root, find_data_yaml
from ultralytics.tasks import LabelSchema
from ultralytics.utils import LOGGER
from ultralytics.utils.files import yaml_load
from ultralytics.utils.printable import printable

SPLITS = ("train", "val", "test", "minival")
TEXT_KEYS = ("names", "path", *SPLITS, "validation")  # text as written: `no` is a class and 2024_01 a folder


class DatasetError(ValueError):
    """A dataset file that contradicts itself, or a dataset without a usable image."""


class DatasetNotFoundError(FileNotFoundError):
    """A dataset file, or a folder or list that it names, does not exist."""


def check_det_dataset(
    dataset: str | Path | Mapping[str, Any],
    splits: Sequence[str] = ("val",),
    schema: LabelSchema = LabelSchema(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Read a dataset file and check what it says.

    Args:
        dataset: path or bare name of a YAML file, or its content; a mapping's relative `path` counts from the current
            folder unless it holds `yaml_file`.
        splits: splits that the file must name (with nothing after the colon: none), and whose folders and lists must
            then exist.
        schema: of the task's labels; "keypoints" needs a `kpt_shape` line.

    Returns:
        The keys of the file, and: `yaml_file` (str), `path` (absolute Path of the root), `train`, `val` and `test`
        (absolute str, list of them, or None), `names` ({0: "name", ...}) and `nc`. If the file has them, checked:
        `kpt_shape` ([number of keypoints, 2 or 3]), `flip_idx` and `kpt_sigmas` (a list with one item per keypoint),
        and `labels_dir` (str: name of the folder of the label files beside `images`, in place of `labels`).

    Raises:
        DatasetNotFoundError: there is no such file, or a split of `splits` is missing on the disk.
        DatasetError: one of `splits` has no line, `names` and `nc` disagree, or a value is
            not valid.
    """
    data, yaml_file = _read(dataset)
    where = str(yaml_file) if yaml_file else "dataset"
    if "validation" in data and "val" not in data:
        LOGGER.warning("%s: 'validation' is read as 'val'", where)
        data["val"] = data.pop("validation")
    for key in splits:
        if key not in data:
            raise DatasetError(
                f"{where}: there is no '{key}:' line. Give the folder of its images, or leave its value empty."
            )
    data["names"] = _names(data, where)
    data["nc"] = len(data["names"])
    check_keypoint_lines(data, where, required=schema.kind == "keypoints")
    _check_labels_dir(data.get("labels_dir"), where)

    roots = _roots(data.get("path"), yaml_file)
    root = next((folder for folder in roots if folder.is_dir()), roots[0])
    missing_by_split: dict[str, list[str]] = {}
    for split in SPLITS:
        value = data.get(split)
        data[split] = _resolve(value, root, f"{where}: '{split}'")
        entries = [] if data[split] is None else [data[split]] if isinstance(data[split], str) else data[split]
        missing = [entry for entry in entries if not Path(entry).exists()]
        if missing and split in splits:
            missing_by_split[split] = missing
    if missing_by_split:
        raise DatasetNotFoundError(_not_found(missing_by_split, roots, where, data))
    if data["minival"] is None:
        del data["minival"]
    return {**data, "yaml_file": str(yaml_file or ""), "path": root}


def label_schema(schema: LabelSchema, data: Mapping[str, Any]) -> LabelSchema:
    """The schema of a task's labels, completed with the `labels_dir` and `kpt_shape` of a checked dataset file."""
    schema = replace(schema, folder=data.get("labels_dir") or schema.folder)
    if schema.kind != "keypoints":
        return schema
    nk, ndim = data["kpt_shape"]
    return replace(schema, kpt_shape=(nk, ndim))


def check_keypoint_lines(data: Mapping[str, Any], where: str, required: bool = False) -> None:
    """Check `kpt_shape`, `flip_idx` and `kpt_sigmas` of a dataset file.

    Args:
        data: content of the file.
        where: name of the file, for messages.
        required: whether there must be a `kpt_shape`.

    Raises:
        DatasetError: what is wrong.
    """
    shape = data.get("kpt_shape")
    if shape is None:
        if required:
            raise DatasetError(
                f"{where}: there is no 'kpt_shape:' line, which keypoints need. Give the number of keypoints and of "
                "values for each, as in kpt_shape: [17, 3]."
            )
        return
    numbers = isinstance(shape, (list, tuple)) and len(shape) == 2 and all(type(v) is int for v in shape)
    if not numbers or shape[0] < 1 or shape[1] not in (2, 3):
        raise DatasetError(
            f"{where}: kpt_shape is {shape!r}, but must be [number of keypoints, 2 or 3]; 3 means x, y, visibility."
        )
    _check_flip_idx(data.get("flip_idx"), shape[0], where)
    _check_sigmas(data.get("kpt_sigmas"), shape[0], where)


def _check_flip_idx(flip_idx: object, nk: int, where: str) -> None:
    """Mirroring twice must give every keypoint its own position again."""
    if flip_idx is None:
        return
    if not isinstance(flip_idx, (list, tuple)) or len(flip_idx) != nk:
        count = f"{len(flip_idx)} items" if isinstance(flip_idx, (list, tuple)) else repr(flip_idx)
        raise DatasetError(f"{where}: flip_idx has {count}, but must list an index for each of {nk} keypoints.")
    if any(type(v) is not int for v in flip_idx) or sorted(flip_idx) != list(range(nk)):
        raise DatasetError(f"{where}: flip_idx is {list(flip_idx)}, but must hold each index from 0 to {nk - 1} once.")
    wrong = next((i for i, k in enumerate(flip_idx) if flip_idx[k] != i), None)
    if wrong is not None:
        k = flip_idx[wrong]
        raise DatasetError(
            f"{where}: flip_idx swaps keypoint {wrong} with {k}, but {k} with {flip_idx[k]}. Left and right must name "
            "each other; a keypoint in the middle names itself."
        )


def _check_sigmas(sigmas: object, nk: int, where: str) -> None:
    if sigmas is None:
        return
    values = sigmas if isinstance(sigmas, (list, tuple)) else []
    positive = all(isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < inf for v in values)
    if len(values) != nk or not positive:
        raise DatasetError(
            f"{where}: kpt_sigmas is {sigmas!r}, but must list a number above 0 for each of {nk} keypoints."
        )


def _check_labels_dir(folder: object, where: str) -> None:
    if folder is None or (isinstance(folder, str) and folder not in ("", ".", "..") and not set(folder) & set("/\\")):
        return
    raise DatasetError(
        f"{where}: labels_dir is {folder!r}, but must be the name of a folder that is beside 'images', such as "
        "labels-seg; a path is not possible."
    )


def _read(dataset: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], Path | None]:
    if isinstance(dataset, Mapping):
        yaml_file = dataset.get("yaml_file")
        return dict(dataset), Path(yaml_file).absolute() if yaml_file else None
    try:
        yaml_file = Path(find_data_yaml(dataset)).absolute()
    except FileNotFoundError as e:
        raise DatasetNotFoundError(f"{e}\nA dataset file is YAML with the lines path, train, val and names.") from e
    return yaml_load(yaml_file, TEXT_KEYS), yaml_file


def _names(data: Mapping[str, Any], where: str) -> dict[int, str]:
    names, nc = data.get("names"), data.get("nc")
    if nc is not None and (isinstance(nc, bool) or not isinstance(nc, int) or nc < 1):
        raise DatasetError(f"{where}: nc is {nc!r}, but must be an integer of at least 1.")
    if names is None:
        if nc is None:
            raise DatasetError(
                f"{where}: there is neither 'names:' nor 'nc:'. List the class names, as in names: [cat, dog]."
            )
        return {i: f"class_{i}" for i in range(nc)}
    if isinstance(names, (list, tuple)):
        names = dict(enumerate(names))
    if isinstance(names, Mapping):
        numbers = [int(key) if isinstance(key, str) and key.isdecimal() else key for key in names]
        repeated = [number for i, number in enumerate(numbers) if number in numbers[:i]]
        if repeated:
            raise DatasetError(
                f"{where}: the class number {repeated[0]} occurs twice in `names`; give each number once."
            )
        names = dict(zip(numbers, names.values(), strict=True))
    if not isinstance(names, Mapping) or not names:
        raise DatasetError(f"{where}: names is {names!r}, but must be a list of names or 'number: name' lines.")
    if sorted(names, key=str) != sorted(range(len(names)), key=str):
        listed = ", ".join(map(str, list(names)[:10]))
        raise DatasetError(
            f"{where}: the class numbers in `names` must be 0 to {len(names) - 1} without a gap, but are {listed}."
        )
    if nc is not None and nc != len(names):
        raise DatasetError(f"{where}: nc is {nc}, but there are {len(names)} names. Correct one, or leave nc out.")
    return {i: _name(names[i], i, where) for i in range(len(names))}


def _name(name: object, number: int, where: str) -> str:
    if name is None or isinstance(name, (list, tuple, Mapping)) or not str(name).strip():
        raise DatasetError(f"{where}: the name of class {number} is {name!r}, but must be text.")
    return printable(str(name))


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
        return [entry for item in value if isinstance(entry := _resolve(item, root, where), str)]
    if not isinstance(value, (str, Path)):
        raise DatasetError(f"{where} is {value!r}, but must be a folder, a .txt list, or a list of these.")
    path = (root / Path(value).expanduser()).resolve()
    if not path.exists() and str(value).startswith("../"):  # written for a layout with the YAML one folder deeper
        inside = (root / str(value)[3:]).resolve()
        path = inside if inside.exists() else path
    return str(path)


def _not_found(missing: Mapping[str, Sequence[str]], roots: Sequence[Path], where: str, data: Mapping[str, Any]) -> str:
    lines = [f"{where}: the images do not exist."]
    lines += [f"  {split}: expected at {entry}" for split, entries in missing.items() for entry in entries]
    if len(roots) > 1:
        lines.append(f"  root: searched {' and '.join(map(str, roots))}")
    keys = "`, `".join(["path", *missing])
    remedy = f"Put the dataset there, or correct `{keys}`; `path` counts from the YAML file's own folder."
    if data.get("download"):
        source = str(data["download"]).strip().splitlines()[0]
        remedy += f" The file names a source, which is never downloaded or run: {source}"
    return "\n".join([*lines, remedy])
