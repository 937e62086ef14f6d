"""Box conversions against values computed by hand and the official package; array types, dtypes, no side effects."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from project import load_module

from ultralytics.utils import ops

GOLDEN = Path(__file__).parent / "golden"

# (function, one box in, the same box out)
BY_HAND = [
    (ops.xyxy2xywh, (10, 20, 30, 60), (20, 40, 20, 40)),
    (ops.xywh2xyxy, (20, 40, 20, 40), (10, 20, 30, 60)),
    (ops.xywh2ltwh, (20, 40, 20, 40), (10, 20, 20, 40)),
    (ops.xyxy2ltwh, (10, 20, 30, 60), (10, 20, 20, 40)),
    (ops.ltwh2xywh, (10, 20, 20, 40), (20, 40, 20, 40)),
    (ops.ltwh2xyxy, (10, 20, 20, 40), (10, 20, 30, 60)),
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


@pytest.mark.parametrize("convert", [row[0] for row in BY_HAND] + [ops.xywhn2xyxy, ops.xyxy2xywhn])
def test_conversion_of_no_box(convert):
    assert convert(np.zeros((0, 4), np.float32)).shape == (0, 4)
    assert convert(torch.zeros(0, 4)).shape == (0, 4)


def test_boxes_need_four_values():
    with pytest.raises(ValueError, match=r"4 values in the last dimension, got shape \(2, 5\)"):
        ops.xyxy2xywh(np.zeros((2, 5)))


def test_normalized_boxes_round_trip():
    boxes = np.array([[0.5, 0.5, 0.25, 0.5], [0.1, 0.2, 0.1, 0.1]])
    pixels = ops.xywhn2xyxy(boxes, w=200, h=100, padw=7, padh=3)
    np.testing.assert_allclose(pixels[0], (82, 28, 132, 78))
    np.testing.assert_allclose(ops.xyxy2xywhn(pixels - (7, 3, 7, 3), w=200, h=100), boxes, atol=1e-15)
    clipped = ops.xyxy2xywhn(np.array([[-10.0, 10, 250, 60]]), w=200, h=100, clip=True)
    np.testing.assert_allclose(clipped, [[0.5, 0.35, 1.0, 0.5]])


def test_gradient_flows_through_a_conversion():
    boxes = torch.tensor([[2.0, 3.0, 4.0, 8.0]], requires_grad=True)
    ops.xywh2xyxy(boxes)[0, 0].backward()
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
    result = ops.scale_boxes(shape, boxes, (333, 500))
    np.testing.assert_allclose(np.asarray(result), [expected], atol=6e-4)
    assert np.asarray(boxes).tolist() == [list(box)]  # not in place


def test_scale_boxes_with_the_values_of_the_letterbox():
    boxes = torch.tensor([[30.0, 40, 70, 100]])
    assert ops.scale_boxes((64, 96), boxes, (200, 300), ratio_pad=((0.5, 0.5), (10, 20))).tolist() == [
        [40, 40, 120, 160]
    ]
    assert ops.scale_boxes((64, 96), boxes, (200, 300), padding=False).tolist() == [[93.75, 125, 218.75, 200]]


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_clip_boxes(make):
    boxes = make([[-5.0, -1, 90, 40], [10, 10, 20, 20]])
    result = ops.clip_boxes(boxes, (30, 80, 3))
    assert result.tolist() == [[0, 0, 80, 30], [10, 10, 20, 20]]
    assert boxes[0].tolist() == [-5, -1, 90, 40]
    assert ops.clip_boxes(make([[-1, 2, 300, 4]]), (30, 80)).tolist() == [[0, 2, 80, 4]]


def test_polygons():
    triangle = np.array([[0, 0], [1, 0], [1, 1]], np.float32)
    (points,) = ops.resample_segments([triangle], n=5)
    np.testing.assert_allclose(points, [(0, 0), (0.75, 0), (1, 0.5), (0.75, 0.75), (0, 0)])
    assert points.dtype == np.float32 and len(triangle) == 3
    np.testing.assert_allclose(ops.segments2boxes([triangle, triangle * 2]), [(0.5, 0.5, 1, 1), (1, 1, 2, 2)])
    assert ops.segments2boxes([]).shape == (0, 4)
    assert ops.segment2box(np.array([(-5.0, 2), (3, 4), (6, 8), (99, 1)]), 50, 50).tolist() == [3, 4, 6, 8]
    assert ops.segment2box(np.array([(-5.0, 2)]), 50, 50).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("x", "divisor", "expected"), [(1, 8, 8), (8, 8, 8), (8.1, 8, 16), (100, torch.tensor([8, 32]), 128)]
)
def test_make_divisible(x, divisor, expected):
    assert ops.make_divisible(x, divisor) == expected


def test_profile_sums_blocks():
    timer = ops.Profile()
    with timer:
        time.sleep(0.002)
    first = timer.dt
    with timer:
        pass
    assert first >= 0.002 and timer.dt < timer.t == pytest.approx(first + timer.dt)
    assert str(timer).startswith("Elapsed time is 0.0")


def test_nms_can_be_imported_from_ops():
    from ultralytics.utils.nms import non_max_suppression

    assert ops.non_max_suppression is non_max_suppression
    with pytest.raises(AttributeError, match="nothing"):
        _ = ops.nothing


def test_matches_the_official_package():
    golden = json.loads((GOLDEN / "ops.json").read_text())["values"]
    actual = load_module(GOLDEN / "make.py").ops_record()
    assert actual.keys() == golden.keys()
    for name, values in golden.items():
        np.testing.assert_allclose(actual[name], values, rtol=1e-6, err_msg=name)
