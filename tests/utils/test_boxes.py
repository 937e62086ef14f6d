"""Box conversions against values computed by hand; array types, dtypes, no side effects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ultralytics.utils import boxes as box_ops

# (function, one box in, the same box out)
BY_HAND = [
    (box_ops.xyxy2xywh, (10, 20, 30, 60), (20, 40, 20, 40)),
    (box_ops.xywh2xyxy, (20, 40, 20, 40), (10, 20, 30, 60)),
    (box_ops.xywh2ltwh, (20, 40, 20, 40), (10, 20, 20, 40)),
    (box_ops.xyxy2ltwh, (10, 20, 30, 60), (10, 20, 20, 40)),
    (box_ops.ltwh2xywh, (10, 20, 20, 40), (20, 40, 20, 40)),
    (box_ops.ltwh2xyxy, (10, 20, 20, 40), (10, 20, 30, 60)),
]


@pytest.mark.parametrize(("convert", "box", "expected"), BY_HAND)
@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 3, 4)])
def test_conversion(convert, box, expected, shape):
    for dtype in (np.float32, np.float64, np.int64):
        array = np.broadcast_to(np.array(box, dtype), shape).copy()
        before = array.copy()
        result = convert(array)
        assert isinstance(result, np.ndarray) and result.dtype == dtype
        np.testing.assert_array_equal(result, np.broadcast_to(np.array(expected, dtype), shape))
        np.testing.assert_array_equal(array, before)
    for dtype in (torch.float16, torch.float32, torch.float64, torch.int32):
        tensor = torch.tensor(box, dtype=dtype).expand(shape).clone()
        before = tensor.clone()
        result = convert(tensor)
        assert result.dtype == dtype
        assert torch.equal(result, torch.tensor(expected, dtype=dtype).expand(shape))
        assert torch.equal(tensor, before)


@pytest.mark.parametrize("convert", [row[0] for row in BY_HAND] + [box_ops.xywhn2xyxy, box_ops.xyxy2xywhn])
def test_conversion_of_no_box(convert):
    assert convert(np.zeros((0, 4), np.float32)).shape == (0, 4)
    assert convert(torch.zeros(0, 4)).shape == (0, 4)


def test_boxes_need_four_values():
    with pytest.raises(ValueError, match=r"4 values in the last dimension, got shape \(2, 5\)"):
        box_ops.xyxy2xywh(np.zeros((2, 5)))


def test_normalized_boxes_round_trip():
    boxes = np.array([[0.5, 0.5, 0.25, 0.5], [0.1, 0.2, 0.1, 0.1]])
    pixels = box_ops.xywhn2xyxy(boxes, w=200, h=100, padw=7, padh=3)
    np.testing.assert_allclose(pixels[0], (82, 28, 132, 78))
    np.testing.assert_allclose(box_ops.xyxy2xywhn(pixels - (7, 3, 7, 3), w=200, h=100), boxes, atol=1e-15)
    clipped = box_ops.xyxy2xywhn(np.array([[-10.0, 10, 250, 60]]), w=200, h=100, clip=True)
    np.testing.assert_allclose(clipped, [[0.5, 0.35, 1.0, 0.5]])


def test_gradient_flows_through_a_conversion():
    boxes = torch.tensor([[2.0, 3.0, 4.0, 8.0]], requires_grad=True)
    box_ops.xywh2xyxy(boxes)[0, 0].backward()
    assert boxes.grad.tolist() == [[1.0, 0.0, -0.5, 0.0]]


@pytest.mark.parametrize(
    ("shape", "box", "expected"),
    [  # from the specification; the original image is 333 x 500
        ((640, 640), (100, 150, 300, 400), (78.125, 33.594, 234.375, 228.906)),
        ((448, 640), (-5, 150, 300, 470), (0, 108.594, 234.375, 333)),
    ],
)
@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_scale_boxes(shape, box, expected, make):
    boxes = make([[float(x) for x in box]])
    result = box_ops.scale_boxes(shape, boxes, (333, 500))
    np.testing.assert_allclose(np.asarray(result), [expected], atol=6e-4)
    assert np.asarray(boxes).tolist() == [list(box)]  # not in place


def test_scale_boxes_with_the_values_of_the_letterbox():
    boxes = torch.tensor([[30.0, 40, 70, 100]])
    assert box_ops.scale_boxes((64, 96), boxes, (200, 300), ratio_pad=((0.5, 0.5), (10, 20))).tolist() == [
        [40, 40, 120, 160]
    ]
    assert box_ops.scale_boxes((64, 96), boxes, (200, 300), padding=False).tolist() == [[93.75, 125, 218.75, 200]]


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_clip_boxes(make):
    boxes = make([[-5.0, -1, 90, 40], [10, 10, 20, 20]])
    result = box_ops.clip_boxes(boxes, (30, 80, 3))
    assert result.tolist() == [[0, 0, 80, 30], [10, 10, 20, 20]]
    assert boxes[0].tolist() == [-5, -1, 90, 40]
    assert box_ops.clip_boxes(make([[-1, 2, 300, 4]]), (30, 80)).tolist() == [[0, 2, 80, 4]]
