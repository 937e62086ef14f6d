"""Rotated boxes, masks and keypoints: against 8.3.0 (golden/tasks.json), shapely, and cases small enough for paper."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ultralytics.utils import keypoint_metrics, masks, rotated_boxes

GOLDEN = Path(__file__).parent / "golden"
_spec = importlib.util.spec_from_file_location("golden_make_tasks", GOLDEN / "make_tasks.py")
make_tasks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_tasks)
API = SimpleNamespace(**{**vars(rotated_boxes), **vars(masks), **vars(keypoint_metrics)})


def same(ours, golden, where=""):
    """Numbers equal to 2e-4 relative; 6 digits are kept, and float32 sums differ in order."""
    if isinstance(golden, dict):
        assert ours.keys() == golden.keys(), where
        for key, value in golden.items():
            same(ours[key], value, f"{where}/{key}")
    elif isinstance(golden, list) and any(isinstance(x, list) for x in golden):
        assert len(ours) == len(golden), where
        for i, (a, b) in enumerate(zip(ours, golden, strict=True)):
            same(a, b, f"{where}[{i}]")
    else:
        np.testing.assert_allclose(ours, golden, rtol=2e-4, atol=2e-4, err_msg=where)


@pytest.mark.parametrize("part", ["rotated", "masks", "keypoints"])
def test_equals_the_official_package(part):
    golden = json.loads((GOLDEN / "tasks.json").read_text())["values"][part]
    same(make_tasks.records(API)[part], golden)


# ---- rotated boxes


def test_corners_of_the_specification():
    corners = rotated_boxes.xywhr2xyxyxyxy(torch.tensor([[50, 50, 40, 20, 0.5]]))[0]
    expected = [(62.757, 68.364), (72.346, 50.813), (37.243, 31.636), (27.654, 49.187)]
    np.testing.assert_allclose(corners, expected, atol=1e-3)


def test_numpy_and_torch_agree_and_empty_stays_empty():
    boxes = make_tasks.rotated_boxes(5, 6)
    np.testing.assert_allclose(
        rotated_boxes.xywhr2xyxyxyxy(boxes.numpy()), rotated_boxes.xywhr2xyxyxyxy(boxes), rtol=1e-6, atol=1e-5
    )
    none = torch.zeros(0, 5)
    assert rotated_boxes.xywhr2xyxyxyxy(none).shape == (0, 4, 2)
    assert rotated_boxes.xyxyxyxy2xywhr(torch.zeros(0, 8)).shape == (0, 5)
    assert rotated_boxes.batch_probiou(none, boxes).shape == rotated_boxes.rotated_iou(none, boxes).shape == (0, 6)
    assert len(rotated_boxes.nms_rotated(none, torch.zeros(0))) == 0


@pytest.mark.parametrize("seed", range(4))
def test_round_trip_keeps_the_rectangle(seed):
    """Corners -> xywhr -> corners is the same set of points, whatever form the angle had."""
    corners = rotated_boxes.xywhr2xyxyxyxy(make_tasks.rotated_boxes(seed, 9))
    again = rotated_boxes.xywhr2xyxyxyxy(rotated_boxes.xyxyxyxy2xywhr(corners))
    for before, after in zip(corners, again, strict=True):
        distance = torch.cdist(before, after)
        assert distance.min(0).values.max() < 1e-2
        assert distance.min(1).values.max() < 1e-2
    regular = rotated_boxes.regularize_rboxes(make_tasks.rotated_boxes(seed, 9))
    assert (regular[:, 2] >= regular[:, 3]).all()
    assert ((regular[:, 4] >= 0) & (regular[:, 4] < math.pi)).all()
    for before, after in zip(corners, rotated_boxes.xywhr2xyxyxyxy(regular), strict=True):
        assert torch.cdist(before, after).min(0).values.max() < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_polygon_overlap_equals_shapely(seed):
    shapely = pytest.importorskip("shapely")
    a, b = make_tasks.rotated_boxes(seed, 12, thin=0.5), make_tasks.rotated_boxes(seed + 100, 9, thin=0.5)
    b[0] = a[0]  # identical
    b[1] = a[1] * torch.tensor([1, 1, 0.5, 0.5, 1])  # one inside the other
    polygons = [[shapely.Polygon(c) for c in rotated_boxes.xywhr2xyxyxyxy(x.double().numpy())] for x in (a, b)]
    expected = [[p.intersection(q).area / p.union(q).area for q in polygons[1]] for p in polygons[0]]
    np.testing.assert_allclose(rotated_boxes.rotated_iou(a, b), expected, atol=1e-5)
    assert 0 < np.count_nonzero(expected) < len(a) * len(b)


def test_polygon_overlap_of_boxes_without_area_and_axis_aligned():
    unit = torch.tensor([[0.0, 0, 2, 2, 0], [0, 0, 0, 5, 0.3], [1, 0, 2, 2, math.pi / 2]])
    np.testing.assert_allclose(rotated_boxes.rotated_iou(unit[:1], unit), [[1, 0, 1 / 3]], atol=1e-6)


def test_probiou_does_not_see_the_angle_of_a_square_and_half_precision_is_read():
    square = torch.tensor([[10.0, 10, 8, 8, 0.0], [10, 10, 8, 8, 0.7]])
    assert rotated_boxes.probiou(square[:1], square[1:]).item() == pytest.approx(0.9995, abs=5e-4)
    shifted = square + torch.tensor([2.0, 0, 0, 0, 0])
    full = rotated_boxes.batch_probiou(square, shifted)
    assert rotated_boxes.batch_probiou(square.half(), shifted.half()).dtype == torch.float32
    np.testing.assert_allclose(rotated_boxes.batch_probiou(square.half(), shifted.half()), full, atol=2e-3)


def test_probiou_has_a_finite_gradient_for_identical_and_far_boxes():
    boxes = torch.tensor([[10.0, 10, 8, 4, 0.1], [500, 9, 3, 3, 0.2]], requires_grad=True)
    rotated_boxes.probiou(boxes, torch.tensor([[10.0, 10, 8, 4, 0.1], [1, 1, 3, 3, 0.2]])).sum().backward()
    assert boxes.grad.isfinite().all()


def test_suppression_of_many_boxes_equals_the_whole_matrix(monkeypatch):
    monkeypatch.setattr(rotated_boxes, "_ROWS", 16)
    monkeypatch.setattr(rotated_boxes, "_COLUMNS", 24)
    boxes = make_tasks.rotated_boxes(3, 100)
    scores = torch.rand(100, generator=torch.Generator().manual_seed(0))
    order = scores.argsort(descending=True)
    overlap = rotated_boxes.batch_probiou(boxes[order], boxes[order]).triu(diagonal=1)
    expected = order[overlap.max(0).values < 0.4]
    assert torch.equal(rotated_boxes.nms_rotated(boxes, scores, 0.4), expected)
    assert 0 < len(expected) < 100


# ---- masks


def test_crop_options():
    protos, coefficients, boxes = make_tasks.mask_inputs(1)
    by_box, margin, none = (
        masks.process_mask(protos, coefficients, boxes, (80, 112), crop=crop) for crop in ("box", "margin", "none")
    )
    assert by_box.dtype == torch.bool
    assert (by_box <= margin).all()
    assert (margin <= none).all()
    assert by_box.sum() < margin.sum() < none.sum()


def test_masks_with_the_letterbox_of_a_validation_batch():
    """The image is not scaled up to the batch's shape; its scale and border are given."""
    values = torch.zeros(1, 1, 16, 24)
    values[..., 4:8, 6:12] = 1  # rows 16 to 32 and columns 24 to 48 of 64 x 96 pixels
    scaled = masks.scale_masks(values, (60, 80), input_shape=(64, 96), ratio_pad=((0.5, 0.5), (20, 12)))[0, 0] > 0.5
    rows, columns = scaled.nonzero().T
    found = [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
    assert [int(v) for v in found] == [8, 40, 8, 56]  # (16 - 12) / 0.5 and so on


def test_masks_in_parts_equal_masks_at_once(monkeypatch):
    protos, coefficients, boxes = make_tasks.mask_inputs(0)
    whole = masks.process_mask(protos, coefficients, boxes, (80, 112), upsample=True)
    monkeypatch.setattr(masks, "_CHUNK_ELEMENTS", 2 * 80 * 112)
    assert torch.equal(masks.process_mask(protos, coefficients, boxes, (80, 112), upsample=True), whole)
    assert masks.process_mask(protos, coefficients[:0], boxes[:0], (80, 112), upsample=True).shape == (0, 80, 112)
    assert masks.process_mask_native(protos, coefficients[:0], boxes[:0], (7, 9)).shape == (0, 7, 9)


@pytest.mark.parametrize(("height", "width"), [(333, 500), (100, 63), (97, 160), (64, 64)])
def test_masks_are_not_shifted_by_an_odd_border(height, width):
    """A disk drawn in the letterboxed image lands where it is in the original, to a quarter of a mask's cell."""
    side = 160
    gain = min(side / height, side / width)
    new_h, new_w = round(height * gain), round(width * gain)
    top, left = round((side - new_h) / 2 - 0.1), round((side - new_w) / 2 - 0.1)
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    cy, cx, radius = top + new_h * 0.4, left + new_w * 0.6, min(new_h, new_w) * 0.25
    disk = (((y - cy) ** 2 + (x - cx) ** 2) < radius**2).float()
    small = torch.nn.functional.avg_pool2d(disk[None, None], 4) * 2 - 1
    scaled = masks.scale_masks(small, (height, width), input_shape=(side, side))[0, 0] > 0
    rows, columns = scaled.nonzero().T
    scale_y, scale_x = height / new_h, width / new_w
    assert abs((rows.float().mean() + 0.5) / scale_y - new_h * 0.4) < 1
    assert abs((columns.float().mean() + 0.5) / scale_x - new_w * 0.6) < 1


def test_outlines_of_several_parts():
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 2:5, 2:5] = 1
    mask[0, 10:18, 10:18] = 1
    largest, joined = (masks.masks2segments(mask, strategy)[0] for strategy in ("largest", "all"))
    assert len(largest) == 4
    assert len(joined) == 8
    assert masks.masks2segments(torch.zeros(2, 5, 5))[1].shape == (0, 2)


# ---- keypoints


def test_oks_of_the_specification():
    truth = torch.tensor([[[10.0, 10, 2], [20, 20, 0], [30, 30, 1]]])
    found = torch.tensor([[[11.0, 10, 1], [25, 20, 1], [30, 33, 1]]])
    oks = keypoint_metrics.kpt_iou(truth, found, torch.tensor([400 * 0.53]), keypoint_metrics.default_sigmas((3, 3)))
    assert oks.item() == pytest.approx(0.9740, abs=1e-4)
    assert keypoint_metrics.default_sigmas([17, 3]) == keypoint_metrics.OKS_SIGMA
    assert keypoint_metrics.default_sigmas((17, 2)) == (1 / 17,) * 17
