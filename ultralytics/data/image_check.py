"""The rules for image files: what counts as a readable image. Nothing is ever written or repaired on disk."""

from __future__ import annotations

import os

from ultralytics.data.images import IMG_FORMATS
from ultralytics.data.label_parser import LabelError

MIN_SIDE = 10  # pixels; smaller images are taken for broken


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
            image.verify()
            image_format, (w, h) = (image.format or "").lower(), image.size
            rotated = image_format in ("jpeg", "mpo") and image.getexif().get(0x0112) in (5, 6, 7, 8)
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
    return (w, h) if rotated else (h, w)


def _ends_as_jpeg(path: str) -> bool:
    with open(path, "rb") as f:  # noqa: PTH123 - once per image, of which there may be a million
        f.seek(-2, os.SEEK_END)
        return f.read() == b"\xff\xd9"
