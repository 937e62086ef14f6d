"""The rules for pictures and label lines."""

import io

import numpy as np
import pytest
from PIL import Image
from toy_dataset import write_image

from ultralytics.data.label_parser import LabelError, check_image, parse_labels


def test_boxes():
    cls, boxes, points, repeated = parse_labels(b"1 0.5 0.5 0.2 0.4\n0 0.25 0.5 0.5 1\n", nc=2)
    assert cls.tolist() == [1, 0]
    assert np.array_equal(boxes, np.float32([[0.5, 0.5, 0.2, 0.4], [0.25, 0.5, 0.5, 1]]))
    assert [len(p) for p in points] == [0, 0]
    assert repeated == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbf0 0.5 0.5 0.2 0.4\r\n\r\n1 .5 .5 1e-1 1\r\n",  # byte order mark, Windows line ends
        b"  0 0.5\t0.5 0.2 0.4   \n   \n1 .5 .5 0.1 1.0",  # blanks, no line end
        b"0.0 0.5 0.5 0.2 0.4\r1 .5 .5 .1 1",  # class written as 0.0, old Mac line ends
    ],
)
def test_layout_does_not_matter(raw):
    cls, boxes, _, _ = parse_labels(raw, nc=2)
    assert cls.tolist() == [0, 1]
    assert np.allclose(boxes, [[0.5, 0.5, 0.2, 0.4], [0.5, 0.5, 0.1, 1]])


@pytest.mark.parametrize("raw", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_empty(raw):
    cls, boxes, points, repeated = parse_labels(raw, nc=1)
    assert (len(cls), boxes.shape, points, repeated) == (0, (0, 4), [], 0)


def test_each_line_is_judged_by_itself():
    """8.3.0 reads a box in a file with a polygon as a polygon of two points."""
    cls, boxes, points, _ = parse_labels(b"0 0.5 0.5 0.2 0.4\n1 0.1 0.2 0.5 0.2 0.3 0.8\n", nc=2)
    assert cls.tolist() == [0, 1]
    assert np.allclose(boxes, [[0.5, 0.5, 0.2, 0.4], [0.3, 0.5, 0.4, 0.6]])
    assert points[0].shape == (0, 2)
    assert np.allclose(points[1], [[0.1, 0.2], [0.5, 0.2], [0.3, 0.8]])


def test_repeated_lines_count_once_and_order_stays():
    cls, _, _, repeated = parse_labels(b"1 .5 .5 .2 .2\n0 .5 .5 .2 .2\n1 .5 .5 .2 .2\n1 .5 .5 .2 .2\n", nc=2)
    assert cls.tolist() == [1, 0]
    assert repeated == 2


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"0 .5 .5 .2 .2\n2 .5 .5 .2 .2", "^2: class 2 is not a whole number from 0 to 1"),  # 8.3.0 lets nc pass
        (b"-1 .5 .5 .2 .2", "^1: class -1"),
        (b"0.7 .5 .5 .2 .2", "^1: class 0.7"),
        (b"\n\n0 .5 .5 1.01 .2", "^3: coordinate 1.01 is outside 0 to 1"),
        (b"0 .5 -.5 .2 .2", "^1: coordinate -.5"),
        (b"0 .5 nan .2 .2", "^1: a value is not a finite number"),
        (b"0 .5 inf .2 .2", "^1: a value is not a finite number"),
        (b"0 .5 .5 .2", "^1: 4 numbers in the line"),
        (b"0 .5 .5 .2 .2 .9", "^1: 6 numbers in the line"),
        (b"0 .1 .1 .2 .2 .3 .3 .4", "^1: 8 numbers in the line"),
        (b"0 .1 .1 .2 .2 .3 1.5", "^1: coordinate 1.5"),
        (b"0 .5 .5 .2 .2\ncat .5 .5 .2 .2", "^2: .*cat"),
        (b"0 0,5 0.5 0.2 0.2", "^1: .*0,5"),
        (b"\xff\xfe0\x00", "^1: this is not UTF-8 text"),
    ],
)
def test_bad_lines(raw, message):
    with pytest.raises(LabelError, match=message):
        parse_labels(raw, nc=2)


def encoded(kind: str, size=(20, 12), **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def test_shapes(tmp_path):
    assert check_image(str(write_image(tmp_path / "图 a.png", 30, 40))) == (30, 40)


@pytest.mark.parametrize(
    ("orientation", "shape"), [(1, (12, 20)), (3, (12, 20)), (5, (20, 12)), (6, (20, 12)), (8, (20, 12))]
)
def test_exif_is_read_as_the_decoder_reads_it(tmp_path, orientation, shape):
    from ultralytics.data.images import imread

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded("JPEG", exif=exif))
    assert check_image(str(path)) == imread(path).shape[:2] == shape


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"no picture", "cannot be read"),
        (b"", "cannot be read"),
        (encoded("JPEG")[:-100], "cannot be read"),
        (encoded("GIF"), "format gif"),
        (encoded("PNG", (9, 50)), "only 9x50 pixels"),
    ],
)
def test_bad_pictures(tmp_path, raw, message):
    path = tmp_path / "a.jpg"
    path.write_bytes(raw)
    with pytest.raises(LabelError, match=message):
        check_image(str(path))
    assert path.read_bytes() == raw


def test_bytes_after_a_jpegs_end_do_no_harm_and_stay(tmp_path):
    """8.3.0 writes such a file anew, in the user's dataset."""
    path = tmp_path / "a.jpg"
    raw = encoded("JPEG") + b"camera maker's notes"
    path.write_bytes(raw)
    assert check_image(str(path)) == (12, 20)
    assert path.read_bytes() == raw
