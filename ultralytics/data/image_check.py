"""The rules for image files: what counts as a readable image. Nothing is ever written or repaired on disk."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from ultralytics.data.images import IMG_FORMATS, imread
from ultralytics.data.label_parser import LabelError

if TYPE_CHECKING:
    from PIL import Image

MIN_SIDE = 10  # pixels; smaller images are taken for broken
_ORIENTATION = 0x0112  # EXIF tag
_QUARTER_TURNS = (5, 6, 7, 8)  # orientations that exchange rows and columns
_TAIL = 1 << 16  # bytes; EXIF data is smaller


def check_image(path: str, min_side: int = MIN_SIDE) -> tuple[int, int]:
    """Rows and columns of an image as displayed, after a check that it can be read.

    Args:
        path: image file.
        min_side: smallest number of rows and of columns.

    Raises:
        LabelError: what is wrong with it.
    """
    from PIL import Image  # 60 ms of import that prediction does not spend

    try:
        with Image.open(path) as image:
            exif = _exif_orientation(image)
            image.verify()
            image_format, (w, h) = (image.format or "").lower(), image.size
        if image_format == "jpeg" and not _ends_as_jpeg(path):
            with Image.open(path) as image:
                image.load()  # fails if it is cut off; bytes after the end do no harm
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        raise LabelError(f"the image cannot be read ({e}); replace or remove it") from e
    if image_format not in IMG_FORMATS:
        raise LabelError(
            f"the image has the format {image_format or 'unknown'}; save it as one of {', '.join(sorted(IMG_FORMATS))}"
        )
    if min(w, h) < min_side:
        raise LabelError(f"the image is only {w}x{h} pixels; at least {min_side} on each side are needed")
    if image_format in ("jpeg", "mpo"):
        return (w, h) if exif in _QUARTER_TURNS else (h, w)
    if exif != 1 or (image_format == "png" and _has_late_exif(path)):
        return _decoded_shape(path)
    return h, w


def _exif_orientation(image: Image.Image) -> int:
    """Orientation that the EXIF data of an opened image names, 1 without one, 0 if it cannot be read.

    Pillow's `getexif` would decode a PNG file, and read an orientation from XMP data, which OpenCV does not.
    """
    from PIL import Image

    tags = getattr(image, "tag_v2", None)  # of TIFF files
    if tags is None:
        raw = image.info.get("exif")
        if not raw:
            return 1
        tags = Image.Exif()
        try:
            tags.load(raw)
        except (SyntaxError, ValueError, struct.error):
            return 0
    return int(tags.get(_ORIENTATION, 1))


def _has_late_exif(path: str) -> bool:
    """Whether EXIF data may come after the pixels of a PNG file, where Pillow does not look for it."""
    with open(path, "rb") as f:  # noqa: PTH123 - as below
        f.seek(-min(_TAIL, Path(path).stat().st_size), os.SEEK_END)
        return b"eXIf" in f.read()


def _decoded_shape(path: str) -> tuple[int, int]:
    """Rows and columns as decoded: for formats whose orientation not every version of OpenCV applies."""
    image = imread(path)
    if image is None:
        raise LabelError("the image cannot be decoded by OpenCV; replace or remove it")
    return image.shape[0], image.shape[1]


def _ends_as_jpeg(path: str) -> bool:
    with open(path, "rb") as f:  # noqa: PTH123 - once per image, of which there may be a million
        f.seek(-2, os.SEEK_END)
        return f.read() == b"\xff\xd9"
