"""Any image as (H, W, 3) uint8 BGR: files, web addresses, PIL images and arrays."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import cv2
import numpy as np

from ultralytics.data.image_decode import decode_image, image_from_pil, three_channels
from ultralytics.data.images import imread
from ultralytics.utils import LOGGER

__all__ = ["image_from_array", "image_from_pil", "read_image", "read_url"]

Array = np.ndarray

DOWNLOAD_SECONDS = 30


def read_image(path: str | Path) -> Array | None:
    """(H, W, 3) uint8 BGR of an image file, rotated by its EXIF orientation; None if it cannot be read."""
    try:
        return imread(path)
    except (OSError, cv2.error):
        return None


def read_url(url: str) -> Array | None:
    """As `read_image`, of an http(s) address; nothing is written to disk."""
    # some servers refuse the name that Python sends
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0"})
    try:
        with urllib.request.urlopen(request, timeout=DOWNLOAD_SECONDS) as reply:
            data = reply.read()
    except OSError as e:  # URLError and timeouts are OSErrors
        LOGGER.warning(f"{url}: {e}")
        return None
    return decode_image(np.frombuffer(data, np.uint8))


def image_from_array(array: Array, name: str) -> Array:
    """(H, W, 3) uint8 BGR of an array.

    Args:
        array: (H, W, 3) BGR, (H, W, 4) with alpha, (H, W, 1) or (H, W) gray; of any depth (see `to_uint8`).
        name: of the array in errors.

    Raises:
        ValueError: the shape is none of these.
        TypeError: the dtype is not numeric.
    """
    shape = array.shape
    if not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))) or not array.size:
        raise ValueError(f"{name}: an array of shape {shape} is not an image; expected (H, W, 3) BGR or (H, W) gray")
    try:
        return three_channels(array)
    except TypeError as e:
        raise TypeError(f"{name}: {e}") from e
