"""What tells whether images and label files have changed since they were last read, without reading them.

Size and modification time are not enough: `cp -p`, unzip and tar set the time of the file that they unpack. The time of
the last change of the file's entry (ctime) cannot be set. It comes with the same call: measured on Linux, 14 µs per
image with it and without it. Windows does not tell it, so the contents of label files are compared there (35 µs).
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Sequence

import numpy as np

from ultralytics.data.images import label_path

IMAGE_COLUMNS, NUM_COLUMNS = 3, 6  # size, modification time in ns, change mark of the image; the same of its labels


def file_stamps(
    images: Sequence[str], labels_folder: str = "labels", by_content: bool = sys.platform == "win32"
) -> np.ndarray:
    """(n, 6) int64 stamps of images and of their label files; -1 for a missing file.

    Args:
        images: image files.
        labels_folder: name of the folder of label files, see `label_path`.
        by_content: the change mark is a checksum of the label file instead of its ctime.
    """
    stamps = np.full((len(images), NUM_COLUMNS), -1, np.int64)
    for row, image in enumerate(images):
        for column, path in ((0, image), (IMAGE_COLUMNS, label_path(image, labels_folder))):
            try:
                stat = os.stat(path)  # noqa: PTH116 - a Path costs ten times as much, and there may be a million
                mark = _checksum(path) if by_content and column else stat.st_ctime_ns
            except OSError:
                continue
            stamps[row, column : column + IMAGE_COLUMNS] = stat.st_size, stat.st_mtime_ns, mark
    return stamps


def _checksum(path: str) -> int:
    with open(path, "rb") as f:  # noqa: PTH123 - as above
        return zlib.crc32(f.read())
