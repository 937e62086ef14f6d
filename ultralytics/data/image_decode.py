"""Images of any depth of color as 8 bits (files, arrays and PIL images), and decoding the bytes of image files."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray

_DEEP_MODES = (
    "I",
    "F",
)  # first letters of Pillow's modes with more than 8 bits; its own conversion clips them to white
_TOLERANCE = 1.5  # factor by which values may exceed their range
_PFM = (b"PF", b"Pf")  # first bytes of float files, which OpenCV rounds to 0 and 1


def decode_image(raw: Array) -> Array | None:
    """(H, W, 3) uint8 BGR of the bytes (n,) uint8 of an image file, rotated by its EXIF orientation; None for others.

    With OpenCV; what it does not read as color (TIFF of 32 bits or floats, formats that it was built without), as it is
    stored or with Pillow.
    """
    if not raw.size:
        return None
    depth = cv2.IMREAD_ANYDEPTH if raw[:2].tobytes() in _PFM else 0
    image = cv2.imdecode(raw, cv2.IMREAD_COLOR | depth)
    if image is None:
        image = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
    if image is None:
        return _decode_with_pillow(raw.tobytes())
    return image if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 else three_channels(image)


def three_channels(array: Array) -> Array:
    """(H, W, 3) uint8 of an array (H, W) or (H, W, 1, 3 or 4) of any depth; see `to_uint8`."""
    array = to_uint8(array if array.ndim == 3 else array[..., None])
    return np.ascontiguousarray(np.repeat(array[..., :1], 3, 2) if array.shape[2] < 3 else array[..., :3])


def to_uint8(array: Array) -> Array:
    """An image of any depth as uint8; its largest value tells its range.

    Floats are in 0..1, in 0..255 or in 0..65535, integers in 0..255 or in 0..65535; values that exceed a range by less
    than half of it, as after interpolation, are clipped. 16-bit values are divided by 256. Larger values are divided so
    that the largest one becomes 255. Negative values, NaN and Inf become 0.

    Raises:
        TypeError: the dtype is not numeric.
    """
    if array.dtype == np.uint8:
        return array
    is_float = np.issubdtype(array.dtype, np.floating)
    if not is_float and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"an array of {array.dtype} is not an image; expected uint8, or floats in 0..1")
    if is_float:
        array = np.nan_to_num(array.astype(np.float64), posinf=0.0, neginf=0.0)
    top = float(array.max(initial=0))
    if array.dtype == np.uint16 and top > 255:
        return (array >> 8).astype(np.uint8)
    if is_float and top <= _TOLERANCE:
        scale = 255.0
    elif top <= 255 * _TOLERANCE:
        scale = 1.0
    else:
        scale = 1 / 256 if top <= 65535 else 255 / top
    return np.clip(np.rint(array * scale), 0, 255).astype(np.uint8)


def image_from_pil(image: Image) -> Array:
    """(H, W, 3) uint8 BGR of a PIL image, rotated by its EXIF orientation."""
    from PIL import ImageOps  # the caller has imported Pillow already

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(_DEEP_MODES):
        return three_channels(np.asarray(image))
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])


def _decode_with_pillow(data: bytes) -> Array | None:
    from PIL import Image  # here: rarely needed

    try:
        with Image.open(BytesIO(data)) as image:
            return image_from_pil(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None
