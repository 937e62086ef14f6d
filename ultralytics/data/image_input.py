"""Any image as (H, W, 3) uint8 BGR: files, web addresses, PIL images and arrays."""

from __future__ import annotations

import urllib.request
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ultralytics.data.images import imread
from ultralytics.utils import LOGGER

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray

DOWNLOAD_SECONDS = 30


def read_image(path: str | Path) -> Array | None:
    """(H, W, 3) uint8 BGR of an image file, rotated by its EXIF orientation; None if it cannot be read."""
    try:
        image = imread(path)
        return image if image is not None else _decode_with_pillow(Path(path).read_bytes())
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
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return image if image is not None else _decode_with_pillow(data)


def image_from_pil(image: Image) -> Array:
    """(H, W, 3) uint8 BGR of a PIL image, rotated by its EXIF orientation."""
    from PIL import ImageOps  # the caller has imported Pillow already

    return np.ascontiguousarray(np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[..., ::-1])


def image_from_array(array: Array, name: str) -> Array:
    """(H, W, 3) uint8 BGR of an array.

    Args:
        array: (H, W, 3) BGR, (H, W, 4) with alpha, (H, W, 1) or (H, W) gray; uint8, 16-bit, other integers in 0..255,
            or floats in 0..1 (in 0..255 if a value exceeds 1).
        name: of the array in errors.

    Raises:
        ValueError: the shape is none of these.
        TypeError: the dtype is not numeric.
    """
    shape = array.shape
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ValueError(f"{name}: an array of shape {shape} is not an image; expected (H, W, 3) BGR or (H, W) gray")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        array = np.nan_to_num(array)
        array = np.rint(np.clip(array * (255 if array.max() <= 1 else 1), 0, 255)).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.integer) and array.dtype != np.uint8:
        array = np.clip(array, 0, 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise TypeError(f"{name}: an array of {array.dtype} is not an image; expected uint8, or floats in 0..1")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, 2)
    return np.ascontiguousarray(array[..., :3])


def _decode_with_pillow(data: bytes) -> Array | None:
    """For formats that this OpenCV was built without."""
    from PIL import Image  # here: rarely needed

    try:
        with Image.open(BytesIO(data)) as image:
            return image_from_pil(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None
