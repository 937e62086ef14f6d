"""16-bit and float images from files, arrays and PIL: none becomes all white or all black."""

import cv2
import numpy as np
import pytest
from PIL import Image

from ultralytics.data.image_check import check_image
from ultralytics.data.image_decode import decode_image, image_from_pil, to_uint8
from ultralytics.data.image_input import image_from_array, read_image
from ultralytics.data.images import load_resized

RAMP = np.linspace(0, 1, 48 * 64).reshape(48, 64)  # from black to white
EXPECTED = np.repeat((RAMP * 255)[..., None], 3, 2)


def assert_ramp(image):
    assert image is not None
    assert (image.dtype, image.shape, image.flags.c_contiguous) == (np.uint8, (48, 64, 3), True)
    assert np.abs(image - EXPECTED).max() <= 1.5


@pytest.mark.parametrize(
    "array",
    [
        (RAMP * 65535).astype(np.uint16),
        (RAMP * 65535).astype(np.int32),
        (RAMP * 255).astype(np.uint16),
        (RAMP * 255).astype(np.int64),
        (RAMP * 1e9).astype(np.int64),
        RAMP.astype(np.float16),
        RAMP.astype(np.float32) * 1.0001,  # as after interpolation
        RAMP * 255.3,
        RAMP * 65535,
        RAMP * 1e6,
    ],
)
def test_arrays(array):
    assert_ramp(image_from_array(array, "source"))
    assert_ramp(image_from_array(np.repeat(array[..., None], 3, 2), "source"))


def test_values_outside_the_range():
    assert to_uint8(np.float32([-1, np.nan, np.inf, 0.5, 1])).tolist() == [0, 0, 0, 128, 255]
    assert to_uint8(np.int16([-7, 300, 80])).tolist() == [0, 255, 80]
    with pytest.raises(TypeError, match="complex"):
        to_uint8(np.zeros(3, complex))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_pil(dtype):
    image = Image.fromarray((RAMP * (1 if dtype == np.float32 else 65535)).astype(dtype))
    assert image.mode in ("I;16", "I", "F")
    assert_ramp(image_from_pil(image))
    turned = Image.fromarray(np.ascontiguousarray(np.asarray(image)[:, ::-1]))
    turned.getexif()[0x0112] = 2  # mirrored
    assert_ramp(image_from_pil(turned))


@pytest.mark.parametrize(
    ("suffix", "array"),
    [
        (".png", (RAMP * 65535).astype(np.uint16)),
        (".tif", (RAMP * 65535).astype(np.uint16)),
        (".tif", RAMP.astype(np.float32)),
        (".tif", (RAMP * 255).astype(np.float32)),
        (".tif", np.repeat(RAMP[..., None], 3, 2).astype(np.float32)),
        (".tif", (RAMP * 65535).astype(np.int32)),
        (".pfm", np.repeat(RAMP[..., None], 3, 2).astype(np.float32)),
    ],
)
def test_files(tmp_path, suffix, array):
    """For training, prediction and check alike."""
    path = tmp_path / f"a{suffix}"
    if array.dtype == np.int32:
        Image.fromarray(array).save(path)
    else:
        path.write_bytes(cv2.imencode(suffix, array)[1].tobytes())
    assert_ramp(read_image(path))
    image, shape = load_resized(str(path), 64)
    assert_ramp(image)
    assert shape == (48, 64)
    if array.ndim == 2:  # Pillow, which checks the files of datasets, has no floats in color
        assert check_image(str(path)) == (48, 64)


def test_colors_keep_their_order():
    pixel = np.zeros((12, 12, 3), np.float32)
    pixel[..., 0] = 1  # blue
    assert decode_image(cv2.imencode(".tif", pixel)[1].reshape(-1))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("raw", [b"", b"no image", b"PF junk"])
def test_other_files(raw):
    assert decode_image(np.frombuffer(raw, np.uint8)) is None
