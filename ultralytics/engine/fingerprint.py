"""Fingerprint of a dataset split: equal for equal labels and image sizes, wherever the dataset lies on the disk."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import TypedDict

import numpy as np

# columns of the label table that say where files lie and how old they are, or hold messages with paths
_LOCATION = ("paths", "path_offsets", "stamps", "notes", "note_offsets")


class SplitFacts(TypedDict):
    """What metrics.json says about a split.

    Attributes:
        fingerprint: see `split_facts`; None for a dataset without a label table.
        images: usable images.
        instances: labeled instances in them; None for a dataset without a label table.
    """

    fingerprint: str | None
    images: int
    instances: int | None


def split_facts(dataset: object, names: Mapping[int, str]) -> SplitFacts:
    """Counts and fingerprint of a split.

    The fingerprint is a SHA-256 over the class names, the file names without folders, the sizes of the images and the
    content of the labels, as the label cache has them. Pixels, folders and time stamps do not count.

    Args:
        dataset: has a length, and `table` (a dataclass of arrays, data/labels.py) where it reads label files.
        names: class names by index.
    """
    images = len(dataset) if hasattr(dataset, "__len__") else 0
    table = getattr(dataset, "table", None)
    if not dataclasses.is_dataclass(table) or isinstance(table, type):
        return {"fingerprint": None, "images": images, "instances": None}
    digest = hashlib.sha256()
    for index, name in names.items():
        digest.update(f"{index}:{name}\0".encode())
    digest.update(_file_names(table).encode("utf-8", "surrogateescape"))
    for field in dataclasses.fields(table):
        if field.name not in _LOCATION:
            column = np.ascontiguousarray(getattr(table, field.name))
            digest.update(f"\0{field.name}:{column.dtype.str}:{column.shape}\0".encode())
            digest.update(column.data)
    instances = len(table.cls) if hasattr(table, "cls") else None
    return {"fingerprint": f"sha256:{digest.hexdigest()}", "images": images, "instances": instances}


def _file_names(table: object) -> str:
    """Names of the image files without their folders, in the order of the rows."""
    path = getattr(table, "path", None)
    if not callable(path) or not hasattr(table, "__len__"):
        return ""
    return "\0".join(str(path(row)).replace("\\", "/").rpartition("/")[2] for row in range(len(table)))
