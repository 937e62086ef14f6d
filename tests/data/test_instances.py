"""The container of an image's instances: shapes, and moving everything together."""

import numpy as np
import pytest
from toy_dataset import instances

from ultralytics.data.instances import Instances, Segments

TRIANGLE = np.float32([[1, 2], [3, 5], [1, 5]])
SQUARE = np.float32([[2, 2], [4, 2], [4, 4], [2, 4]])


def everything():
    """Two instances with all parts: the first has two polygons, the second none."""
    keypoints = np.float32([[[1, 2, 2], [3, 5, 1]], [[2, 2, 0], [4, 4, 2]]])
    corners = np.float32([[[1, 2], [3, 2], [3, 5], [1, 5]], [[2, 3], [3, 2], [4, 3], [3, 4]]])
    boxes = np.float32([[1, 2, 3, 5], [2, 2, 4, 4]])
    return Instances(np.float32([0, 1]), boxes, Segments.from_polygons([[TRIANGLE, SQUARE], []]), keypoints, corners)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"boxes": np.zeros((2, 5))}, r"boxes has the shape \(2, 5\), but must be \(2, 4\)"),
        ({"boxes": np.zeros((3, 4))}, r"must be \(2, 4\) for 2 classes"),
        ({"segments": Segments.empty(1)}, "segments for 1 instances"),
        ({"keypoints": np.zeros((2, 7, 2))}, r"must be \(2, num_keypoints, 3\)"),
        ({"keypoints": np.zeros((1, 7, 3))}, r"must be \(2, num_keypoints, 3\)"),
        ({"corners": np.zeros((2, 8))}, r"corners has the shape \(2, 8\)"),
    ],
)
def test_shapes_are_checked(parts, message):
    with pytest.raises(ValueError, match=message):
        Instances(**{"cls": np.zeros(2), "boxes": np.zeros((2, 4)), **parts})
    with pytest.raises(ValueError, match="points has the shape"):
        Segments(np.zeros((4, 3)), np.array([0, 4]), np.array([0, 1]))


def test_segments_with_parts():
    segments = Segments.from_polygons([[TRIANGLE], [], [SQUARE, TRIANGLE]])
    assert segments.has_outline.tolist() == [True, False, True]
    assert [len(segments.parts(i)) for i in range(3)] == [1, 0, 2]
    assert np.array_equal(segments.parts(2)[1], TRIANGLE)
    assert segments.point_owner.tolist() == [0] * 3 + [2] * 7
    kept = segments.keep(np.array([2, 1]))
    assert [len(part) for part in kept.parts(0)] == [4, 3]
    assert kept.parts(1) == []
    joined = Segments.join([segments, kept])
    assert [len(joined.parts(i)) for i in range(5)] == [1, 0, 2, 2, 0]
    assert np.array_equal(joined.parts(3)[0], SQUARE)


def test_moved():
    original = everything()
    moved = original.moved((2, 3), (10, 20))
    assert moved.boxes.tolist() == [[12, 26, 16, 35], [14, 26, 18, 32]]
    assert moved.segments.parts(0)[0].tolist() == [[12, 26], [16, 35], [12, 35]]
    assert moved.keypoints.tolist() == [[[12, 26, 2], [16, 35, 1]], [[14, 26, 0], [18, 32, 2]]]
    assert moved.corners[1].tolist() == [[14, 29], [16, 26], [18, 29], [16, 32]]
    assert original.boxes.tolist() == [[1, 2, 3, 5], [2, 2, 4, 4]]
    assert original.keypoints[0, 0].tolist() == [1, 2, 2]


def test_flips():
    original = everything()
    assert original.flipped(0, 0) is original
    left = original.flipped(10, 0, [1, 0])
    assert left.boxes.tolist() == [[7, 2, 9, 5], [6, 2, 8, 4]]
    assert left.segments.parts(0)[0].tolist() == [[9, 2], [7, 5], [9, 5]]
    assert left.keypoints[0].tolist() == [[7, 5, 1], [9, 2, 2]]  # left and right swap their names
    assert left.corners[1].tolist() == [[8, 3], [7, 2], [6, 3], [7, 4]]
    assert original.flipped(10, 0).keypoints[0].tolist() == [[9, 2, 2], [7, 5, 1]]
    down = original.flipped(0, 10, [1, 0])
    assert down.boxes.tolist() == [[1, 5, 3, 8], [2, 6, 4, 8]]
    assert down.keypoints[0].tolist() == [[1, 8, 2], [3, 5, 1]]  # upside down, a left hand stays a left hand
    both = original.flipped(10, 10, [1, 0])
    assert both.keypoints[0].tolist() == [[7, 5, 1], [9, 8, 2]]
    assert np.array_equal(both.flipped(10, 10, [1, 0]).keypoints, original.keypoints)
    assert original.boxes.tolist() == [[1, 2, 3, 5], [2, 2, 4, 4]]


def test_keep_take_and_join():
    original = everything()
    assert original.keep(np.array([True, True])) is original
    second = original.keep(np.array([False, True]))
    assert (second.cls.tolist(), second.segments.parts(0)) == ([1], [])
    assert second.keypoints.shape == (1, 2, 3)
    assert second.corners.shape == (1, 4, 2)
    joined = Instances.join([second, original.take(np.array([1, 0]))])
    assert joined.cls.tolist() == [1, 1, 0]
    assert [len(joined.segments.parts(i)) for i in range(3)] == [0, 0, 2]
    assert np.array_equal(joined.keypoints[2], original.keypoints[0])
    assert np.array_equal(joined.corners[0], original.corners[1])


def test_join_of_different_parts():
    boxes, outlined = instances([[0, 0, 1, 1]]), instances([[1, 2, 3, 5]], [TRIANGLE])
    assert Instances.join([boxes, outlined]).segments.has_outline.tolist() == [False, True]
    assert Instances.join([boxes, boxes]).segments is None
    with pytest.raises(ValueError, match="some of the joined instances have keypoints"):
        Instances.join([boxes, instances([[1, 2, 3, 5]], keypoints=np.zeros((1, 2, 3), np.float32))])
