"""The rules for label lines."""

import numpy as np
import pytest

from ultralytics.data.label_parser import LabelError, parse_labels
from ultralytics.tasks import LabelSchema


def test_boxes():
    labels = parse_labels(b"1 0.5 0.5 0.2 0.4\n0 0.25 0.5 0.5 1\n", nc=2)
    assert labels.cls.tolist() == [1, 0]
    assert np.array_equal(labels.boxes, np.float32([[0.5, 0.5, 0.2, 0.4], [0.25, 0.5, 0.5, 1]]))
    assert labels.polygons == [[], []]
    assert (labels.keypoints.shape, labels.corners.shape) == ((2, 0, 3), (2, 0, 2))
    assert labels.repeated == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbf0 0.5 0.5 0.2 0.4\r\n\r\n1 .5 .5 1e-1 1\r\n",  # byte order mark, Windows line ends
        b"  0 0.5\t0.5 0.2 0.4   \n   \n1 .5 .5 0.1 1.0",  # blanks, no line end
        b"0.0 0.5 0.5 0.2 0.4\r1 .5 .5 .1 1",  # class written as 0.0, old Mac line ends
    ],
)
def test_layout_does_not_matter(raw):
    labels = parse_labels(raw, nc=2)
    assert labels.cls.tolist() == [0, 1]
    assert np.allclose(labels.boxes, [[0.5, 0.5, 0.2, 0.4], [0.5, 0.5, 0.1, 1]])


@pytest.mark.parametrize("raw", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_empty(raw):
    labels = parse_labels(raw, nc=1)
    assert (len(labels.cls), labels.boxes.shape, labels.polygons, labels.repeated) == (0, (0, 4), [], 0)


@pytest.mark.parametrize(
    ("schema", "keypoints", "corners"),
    [
        (LabelSchema("polygon"), (0, 0, 3), (0, 0, 2)),
        (LabelSchema("keypoints", (7, 2)), (0, 7, 3), (0, 0, 2)),
        (LabelSchema("oriented_box"), (0, 0, 3), (0, 4, 2)),
    ],
)
def test_empty_files_have_the_columns_of_the_schema(schema, keypoints, corners):
    labels = parse_labels(b"", 1, schema)
    assert (labels.keypoints.shape, labels.corners.shape) == (keypoints, corners)


def test_each_line_is_judged_on_its_own():
    """8.3.0 reads a box in a file with a polygon as a polygon of two points."""
    labels = parse_labels(b"0 0.5 0.5 0.2 0.4\n1 0.1 0.2 0.5 0.2 0.3 0.8\n", nc=2)
    assert labels.cls.tolist() == [0, 1]
    assert np.allclose(labels.boxes, [[0.5, 0.5, 0.2, 0.4], [0.3, 0.5, 0.4, 0.6]])
    assert labels.polygons[0] == []
    assert np.allclose(labels.polygons[1], [[[0.1, 0.2], [0.5, 0.2], [0.3, 0.8]]])


def test_repeated_lines_count_once_and_order_stays():
    labels = parse_labels(b"1 .5 .5 .2 .2\n0 .5 .5 .2 .2\n1 .5 .5 .2 .2\n1 .5 .5 .2 .2\n", nc=2)
    assert labels.cls.tolist() == [1, 0]
    assert labels.repeated == 2


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"0 .5 .5 .2 .2\n2 .5 .5 .2 .2", "^2: class 2 is not an integer from 0 to 1"),  # 8.3.0 lets nc pass
        (b"-1 .5 .5 .2 .2", "^1: class -1"),
        (b"0.7 .5 .5 .2 .2", "^1: class 0.7"),
        (b"\n\n0 .5 .5 1.01 .2", "^3: coordinate 1.01 is outside 0 to 1"),
        (b"0 .5 -.5 .2 .2", "^1: coordinate -.5"),
        (b"0 .5 nan .2 .2", "^1: a value is NaN or Inf"),
        (b"0 .5 inf .2 .2", "^1: a value is NaN or Inf"),
        (b"0 .5 .5 .2", "^1: 4 numbers in the line"),
        (b"0 .5 .5 .2 .2 .9", "^1: 6 numbers in the line"),
        (b"0 .1 .1 .2 .2 .3 .3 .4", "^1: 8 numbers in the line"),
        (b"0 .1 .1 .2 .2 .3 1.5", "^1: coordinate 1.5"),
        (b"0 .5 .5 .2 .2\ncat .5 .5 .2 .2", "^2: .*cat"),
        (b"0 0,5 0.5 0.2 0.2", "^1: .*0,5"),
        (b"\xd6\xd0 .5", "^1: this is not UTF-8 text"),
    ],
)
def test_bad_lines(raw, message):
    with pytest.raises(LabelError, match=message):
        parse_labels(raw, nc=2)


POLYGON, KEYPOINTS, ORIENTED = LabelSchema("polygon"), LabelSchema("keypoints", (2, 3)), LabelSchema("oriented_box")


def test_polygons():
    raw = b"0 .1 .1 .5 .1 .5 .4\n1 .2 .2 .8 .2 .8 .6 .2 .6\n0 .1 .1 .5 .1 .5 .4"
    labels = parse_labels(raw, 2, POLYGON)
    assert labels.cls.tolist() == [0, 1]
    assert np.allclose(labels.boxes, [[0.3, 0.25, 0.4, 0.3], [0.5, 0.4, 0.6, 0.4]])
    assert [len(parts) for parts in labels.polygons] == [1, 1]
    assert np.allclose(labels.polygons[1][0], [[0.2, 0.2], [0.8, 0.2], [0.8, 0.6], [0.2, 0.6]])
    assert labels.repeated == 1


def test_different_polygons_with_the_same_box_are_both_kept():
    """8.3.0 compares boxes, and so loses one of two triangles in the same square."""
    labels = parse_labels(b"0 .1 .1 .5 .1 .5 .5\n0 .1 .1 .5 .5 .1 .5", 1, POLYGON)
    assert len(labels.cls) == 2
    assert labels.repeated == 0


def test_parts_joined_by_a_bridge_are_separated():
    """A square, a line to a triangle and back, as converters of COCO's several polygons write it."""
    square, triangle = [(0.1, 0.1), (0.3, 0.1), (0.3, 0.3), (0.1, 0.3)], [(0.6, 0.6), (0.9, 0.6), (0.9, 0.9)]
    path = [*square, square[0], *triangle, triangle[0]]
    (parts,) = parse_labels(("0 " + " ".join(f"{x} {y}" for x, y in path)).encode(), 1, POLYGON).polygons
    assert sorted(len(np.unique(part, axis=0)) for part in parts) == [3, 4]
    assert {tuple(p) for part in parts for p in part.tolist()} == {tuple(p) for p in np.float32(path).tolist()}
    closed = parse_labels(b"0 .1 .1 .5 .1 .5 .5 .1 .1", 1, POLYGON).polygons
    assert [len(parts) for parts in closed] == [1]  # only the first point repeated


def test_keypoints():
    raw = b"0 .5 .5 .4 .4 .3 .3 2 .6 .6 1\n1 .5 .5 .2 .2 0 0 0 1.2 -.1 2"
    labels = parse_labels(raw, 2, KEYPOINTS)
    assert labels.cls.tolist() == [0, 1]
    assert np.allclose(labels.boxes, [[0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.2, 0.2]])
    # the last lies outside the image: invisible, at the border; 8.3.0 refuses the whole image
    assert np.allclose(labels.keypoints, [[[0.3, 0.3, 2], [0.6, 0.6, 1]], [[0, 0, 0], [1, 0, 0]]])


def test_keypoints_without_visibility_are_visible():
    labels = parse_labels(b"0 .5 .5 .4 .4 .3 .3 -1 -1", 1, LabelSchema("keypoints", (2, 2)))
    assert np.allclose(labels.keypoints, [[[0.3, 0.3, 1], [0, 0, 0]]])


def test_oriented_boxes_may_lie_outside():
    labels = parse_labels(b"0 -.1 .5 .5 -.1 1.1 .5 .5 1.1\n1 .1 .1 .2 .1 .2 .2 .1 .2", 2, ORIENTED)
    assert labels.cls.tolist() == [0, 1]
    assert np.allclose(labels.corners[0], [[-0.1, 0.5], [0.5, -0.1], [1.1, 0.5], [0.5, 1.1]])
    assert np.allclose(labels.boxes, [[0.5, 0.5, 1.2, 1.2], [0.15, 0.15, 0.1, 0.1]])
    assert labels.polygons == [[], []]


def test_the_schema_decides_and_not_the_number_of_values():
    """Nine values: an oriented box, a polygon of four points, or a box with two keypoints."""
    raw = b"0 .2 .2 .6 .2 .6 .4 .2 .4"
    assert parse_labels(raw, 1, ORIENTED).corners.shape == (1, 4, 2)
    assert len(parse_labels(raw, 1, POLYGON).polygons[0][0]) == 4
    assert len(parse_labels(raw, 1).polygons[0][0]) == 4
    assert parse_labels(raw, 1, LabelSchema("keypoints", (2, 2))).keypoints.shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("schema", "raw", "message"),
    [
        (
            POLYGON,
            b"0 .1 .1 .5 .1 .5 .4\n0 .5 .5 .2 .2",
            "^2: 5 numbers are a box or 2 points, but the task",
        ),
        (POLYGON, b"0 .1 .1 .5", "^1: 4 numbers in the line; a polygon needs at least 3 points"),
        (POLYGON, b"0 .1 .1 .5 .1 .5 .4 .2", "^1: 8 numbers in the line"),
        (POLYGON, b"0 .1 .1 .5 .1 .5 1.4", "^1: coordinate 1.4 is outside 0 to 1"),
        (POLYGON, b"0 .1 .1 .5 .1 .5 nan", "^1: a value is NaN or Inf"),
        (KEYPOINTS, b"0 .5 .5 .4 .4", r"^1: 5 numbers in the line instead of 11; kpt_shape \[2, 3\] needs"),
        (KEYPOINTS, b"0 .5 .5 .4 .4 .3 .3 2 .6 .6 3", "^1: keypoint 2 has the visibility 3"),
        (KEYPOINTS, b"0 .5 .5 .4 .4 .3 .3 2 .6 .6 .5", "^1: keypoint 2 has the visibility 0.5"),
        (KEYPOINTS, b"0 .5 .5 .4 .4 .3 inf 2 .6 .6 1", "^1: a value is NaN or Inf"),
        (KEYPOINTS, b"0 200 200 40 40 .3 .3 2 .6 .6 1", "^1: coordinate 200 is far outside"),
        (KEYPOINTS, b"0 .5 .5 -.4 .4 .3 .3 2 .6 .6 1", "^1: the width or height of a box is negative"),
        (ORIENTED, b"0 .5 .5 .4 .4", "^1: 5 numbers in the line instead of 9; an oriented box has 4 corners"),
        (ORIENTED, b"0 .1 .1 .5 .1 .5 .4", "^1: 7 numbers in the line instead of 9"),
        (ORIENTED, b"0 1 1 2 1 2 2 1 20", "^1: coordinate 20 is far outside 0 to 1; divide pixels"),
        (ORIENTED, b"1 .1 .1 .2 .1 .2 .2 .1 .2", "^1: class 1 is not an integer from 0 to 0"),
    ],
)
def test_bad_lines_of_other_schemas(schema, raw, message):
    with pytest.raises(LabelError, match=message):
        parse_labels(raw, 1, schema)


def test_keypoints_need_a_shape():
    with pytest.raises(ValueError, match="needs kpt_shape"):
        parse_labels(b"0 .5 .5 .4 .4 .3 .3", 1, LabelSchema("keypoints"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_other_encodings(encoding):
    assert parse_labels("1 0.5 0.5 0.2 0.2\n".encode(encoding), 2).cls.tolist() == [1]
