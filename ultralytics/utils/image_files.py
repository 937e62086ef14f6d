"""Image files, windows and crops: writing, showing and cutting out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ultralytics.utils.files import atomic_write, increment_path
from ultralytics.utils.printable import printable

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray

JPEG_QUALITY = 95


def write_image(path: str | Path, im: Array) -> None:
    """Write a BGR image atomically.

    Args:
        path: the file; its suffix names the format, and its folder is made.
        im: (H, W, 3) uint8 BGR.

    Raises:
        ValueError: OpenCV cannot write this format or this image.
    """
    path = Path(path)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix.lower() in {".jpg", ".jpeg"} else []
    try:
        ok, data = cv2.imencode(path.suffix, im, options)
    except cv2.error as e:
        raise ValueError(
            f"{path}: OpenCV cannot write '{path.suffix}' images. Use a name ending in .jpg or .png."
        ) from e
    if not ok:
        raise ValueError(f"{path}: this image of shape {im.shape} could not be encoded as '{path.suffix}'.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, durable=False) as file:
        file.write(data.tobytes())


def show_image(im: Array, title: str, wait_ms: int | None = None) -> None:
    """Show a BGR image on the screen.

    Args:
        im: (H, W, 3) uint8 BGR.
        title: of the window; images with the same title share a window.
        wait_ms: how long to wait for a key in milliseconds; None waits until one is pressed, and opens the system's
            viewer instead if OpenCV was built without windows.

    Raises:
        RuntimeError: neither OpenCV nor the system can show an image.
    """
    title = printable(title)
    # OpenCV ends the whole process if Qt or GTK finds no display, so the display is checked first
    has_display = not sys.platform.startswith("linux") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if has_display:
        try:
            cv2.imshow(title, im)
            cv2.waitKey(wait_ms if wait_ms is not None else 0)
            return
        except cv2.error:  # a build without windows
            pass
        if wait_ms is None:
            from PIL import Image, ImageShow

            if ImageShow.show(Image.fromarray(im[..., ::-1]), title):
                return
    raise RuntimeError(
        "Images cannot be shown: "
        + (
            "this OpenCV was built without windows (`pip install opencv-python` has them). "
            if has_display
            else "there is no display. "
        )
        + "Use save=True to write them to files."
    )


def save_one_box(
    xyxy: Tensor | Array | Sequence[float],
    im: Array,
    file: str | Path = "im.jpg",
    gain: float = 1.02,
    pad: int = 10,
    square: bool = False,
    BGR: bool = False,
    save: bool = True,
) -> Array:
    """Crop one box from an image, enlarged by the factor `gain` and by `pad` pixels, and write it to `file`.

    Args:
        xyxy: (4,) or (1, 4) corners x1, y1, x2, y2 in pixels.
        im: (H, W, 3) uint8 BGR.
        file: the file to write; an existing file is not overwritten, a number is added (`im2.jpg`).
        square: extend the shorter side to the longer one first.
        BGR: return the crop as BGR instead of RGB; the colors of the file are correct in both cases.
        save: write the file.

    Returns:
        The crop, a copy.
    """
    x1, y1, x2, y2 = np.asarray(xyxy.tolist() if hasattr(xyxy, "tolist") else xyxy, np.float64).reshape(4)
    width, height = x2 - x1, y2 - y1
    if square:
        width = height = max(width, height)
    width, height = width * gain + pad, height * gain + pad
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    left, right = (int(np.clip(v, 0, im.shape[1])) for v in (cx - width / 2, cx + width / 2))
    top, bottom = (int(np.clip(v, 0, im.shape[0])) for v in (cy - height / 2, cy + height / 2))
    crop = im[top:bottom, left:right].copy()
    if save and crop.size:
        write_image(increment_path(file), crop)
    return crop if BGR else np.ascontiguousarray(crop[..., ::-1])
