"""The rules for image files."""

import io

import numpy as np
import pytest
from PIL import Image
from toy_dataset import write_image

from ultralytics.data.image_check import check_image
from ultralytics.data.images import imread
from ultralytics.data.label_parser import LabelError


def encoded(image_format: str, size=(20, 12), **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(
        buffer, image_format, **options
    )
    return buffer.getvalue()


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_shapes(tmp_path):
    assert check_image(str(write_image(tmp_path / "图 a.png", 30, 40))) == (30, 40)


@pytest.mark.parametrize(
    ("orientation", "shape"), [(1, (12, 20)), (3, (12, 20)), (5, (20, 12)), (6, (20, 12)), (8, (20, 12))]
)
def test_exif_orientation_as_in_the_decoder(tmp_path, orientation, shape):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded("JPEG", exif=oriented(orientation)))
    assert check_image(str(path)) == imread(path).shape[:2] == shape


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_shape_is_that_of_the_decoder(tmp_path, image_format, orientation):
    """Of PNG and WebP files with an orientation, the shape was that before turning; mAP50 fell from 0.93 to 0.59."""
    path = tmp_path / f"a.{image_format.lower()}"
    path.write_bytes(encoded(image_format, exif=oriented(orientation)))
    assert check_image(str(path)) == imread(path).shape[:2]


def test_exif_after_the_pixels_of_a_png(tmp_path):
    raw = encoded("PNG", exif=oriented(6))
    start = raw.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(raw[start : start + 4], "big")
    path = tmp_path / "a.png"
    path.write_bytes(raw[:start] + raw[end:-12] + raw[start:end] + raw[-12:])
    assert check_image(str(path)) == imread(path).shape[:2]


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
def test_orientation_in_xmp_data_does_not_count(tmp_path, image_format):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(image_format, xmp=b'<x tiff:Orientation="6"/>'))
    assert check_image(str(path)) == imread(path).shape[:2] == (12, 20)


def test_unreadable_exif_data(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG", exif=b"junk that is no EXIF"))
    assert check_image(str(path)) == imread(path).shape[:2]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"not an image", "cannot be read"),
        (b"", "cannot be read"),
        (encoded("JPEG")[:-100], "cannot be read"),
        (encoded("GIF"), "format gif"),
        (encoded("PNG", (9, 50)), "only 9x50 pixels"),
    ],
)
def test_bad_images(tmp_path, raw, message):
    path = tmp_path / "a.jpg"
    path.write_bytes(raw)
    with pytest.raises(LabelError, match=message):
        check_image(str(path))
    assert path.read_bytes() == raw


def test_bytes_after_a_jpegs_end_do_no_harm_and_stay(tmp_path):
    """8.3.0 rewrites such a file, in the user's dataset."""
    path = tmp_path / "a.jpg"
    raw = encoded("JPEG") + b"camera maker's notes"
    path.write_bytes(raw)
    assert check_image(str(path)) == (12, 20)
    assert path.read_bytes() == raw
