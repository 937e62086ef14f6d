"""`Instances` and `Bboxes` of `utils.instance`; expected values are those of 8.3.0."""

from __future__ import annotations

import numpy as np
import pytest

from ultralytics.utils.instance import Bboxes, Instances, to_2tuple, to_4tuple


def make(bbox_format: str = "xywh") -> Instances:
    segments = np.array([[[1, 1], [9, 1], [9, 9], [1, 9]]], np.float32)
    keypoints = np.array([[[3, 4, 2], [20, 4, 1.0]]], np.float32)
    instances = Instances(np.array([[5, 5, 10, 10.0]], np.float32), segments, keypoints, "xywh", normalized=False)
    instances.convert_bbox(bbox_format)
    return instances


def test_formats_of_boxes():
    boxes = Bboxes(np.array([1, 2, 10, 20.0]), "xyxy")
    for name, expected in {"xywh": [5.5, 11, 9, 18], "ltwh": [1, 2, 9, 18], "xyxy": [1, 2, 10, 20]}.items():
        boxes.convert(name)
        assert boxes.bboxes.tolist() == [expected]
        assert boxes.areas() == [162]
    with pytest.raises(AssertionError, match="unknown format"):
        boxes.convert("foo")
    with pytest.raises(AssertionError, match=r"shape \(n, 4\)"):
        Bboxes(np.zeros((1, 5)))


def test_arithmetic_of_boxes():
    boxes = Bboxes(np.array([[1, 2, 10, 20.0]]))
    for change, value, expected in (
        (boxes.mul, 2, [2, 4, 20, 40]),
        (boxes.mul, (1, 2, 1, 2), [2, 8, 20, 80]),
        (boxes.add, 1, [3, 9, 21, 81]),
        (boxes.add, (0, 1, 0, 1), [3, 10, 21, 82]),
    ):
        change(value)
        assert boxes.bboxes.tolist() == [expected]
    assert len(Bboxes.concatenate([boxes, boxes[0]])) == 2
    assert len(Bboxes.concatenate([])) == 0


def test_clip():
    instances = make()
    instances.clip(8, 8)
    assert instances.bboxes.tolist() == [[4, 4, 8, 8]]
    assert instances.segments.tolist() == [[[1, 1], [8, 1], [8, 8], [1, 8]]]
    assert instances.keypoints.tolist() == [[[3, 4, 2], [8, 4, 1]]]


def test_moves():
    instances = make("xyxy")
    instances.add_padding(1, 2)
    assert instances.bboxes.tolist() == [[1, 2, 11, 12]]
    instances.fliplr(20)
    assert instances.bboxes.tolist() == [[9, 2, 19, 12]]
    assert instances.segments.tolist() == [[[18, 3], [10, 3], [10, 11], [18, 11]]]
    assert instances.keypoints.tolist() == [[[16, 6, 2], [-1, 6, 1]]]
    instances.flipud(20)
    assert instances.bboxes.tolist() == [[9, 8, 19, 18]]
    instances.scale(2, 3)
    assert instances.bboxes.tolist() == [[18, 24, 38, 54]]
    assert instances.keypoints.tolist() == [[[32, 42, 2], [-2, 42, 1]]]
    instances.scale(1 / 2, 1 / 3, bbox_only=True)
    instances.normalize(10, 10)
    assert instances.bboxes[0] == pytest.approx([0.9, 0.8, 1.9, 1.8])
    with pytest.raises(AssertionError, match="needs pixels"):
        instances.add_padding(1, 1)
    instances.denormalize(10, 10)
    assert instances.bboxes[0] == pytest.approx([9, 8, 19, 18])


@pytest.mark.parametrize("bbox_format", ["xyxy", "xywh", "ltwh"])
def test_moves_do_not_depend_on_the_format(bbox_format):
    instances = make(bbox_format)
    instances.add_padding(3, 4)
    instances.fliplr(40)
    instances.flipud(50)
    instances.convert_bbox("xyxy")
    assert instances.bboxes.tolist() == [[27, 36, 37, 46]]


def test_joining_and_selecting():
    joined = Instances.concatenate([make(), make()])
    assert (len(joined), joined.segments.shape, joined.keypoints.shape) == (2, (2, 4, 2), (2, 2, 3))
    assert joined[1].bboxes.tolist() == [[5, 5, 10, 10]]
    assert len(joined[np.array([True, False])]) == 1
    assert len(Instances.concatenate([])) == 0
    with pytest.raises(AssertionError, match="one format"):
        Instances.concatenate([make(), make("xyxy")])


def test_boxes_without_area_are_removed():
    instances = Instances(np.array([[1, 1, 1, 1], [1, 1, 2, 3.0]]), bbox_format="xyxy")
    assert instances.remove_zero_area_boxes().tolist() == [False, True]
    assert instances.bboxes.tolist() == [[1, 1, 2, 3]]


def test_update_keeps_other_parts():
    instances = make()
    instances.update(np.ones((1, 4)))
    assert instances.bboxes.tolist() == [[1, 1, 1, 1]]
    assert instances.segments.shape == (1, 4, 2)


def test_tuples():
    assert (to_2tuple(3), to_4tuple([1, 2, 3, 4])) == ((3, 3), (1, 2, 3, 4))
