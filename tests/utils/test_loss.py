"""The detection loss: golden values, gradients of the official package, a dense reference, precision, memory layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from project import load_module

from ultralytics.utils.iou import bbox_iou
from ultralytics.utils.loss import BboxLoss, DFLoss, v8DetectionLoss

GOLDEN = Path(__file__).parent / "golden"
make = load_module(GOLDEN / "make.py")


@pytest.mark.parametrize(
    ("batch", "total", "items"),
    [
        (make.wave_batch(), 288.932068, (6.771215, 133.557236, 4.137586)),
        (make.batch([], [], []), 427.958801, (0, 213.979401, 0)),
    ],
)
def test_golden_values_of_the_specification(batch, total, items):
    loss, parts = v8DetectionLoss(make.Net(3))(make.wave_maps(), batch)
    np.testing.assert_allclose(loss, total, rtol=1e-6)
    np.testing.assert_allclose(parts, items, rtol=1e-6)


def test_positives_of_the_golden_case():
    positives = v8DetectionLoss(make.Net(3)).detection(make.wave_maps(), make.wave_batch()).positives
    assert len(positives.score) == 27
    np.testing.assert_allclose(positives.score.sum(), 1.5994825, rtol=1e-6)
    cell = positives.image * 84 + positives.anchor
    assert torch.equal(cell, cell.sort().values) and len(cell.unique()) == 27


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.float64, 1e-4)])
def test_matches_the_official_package(dtype, rtol):
    golden = json.loads((GOLDEN / "loss.json").read_text())["values"]
    actual = make.loss_record(dtype)
    assert actual.keys() == golden.keys()
    for name, expected in golden.items():
        result = actual[name]
        np.testing.assert_allclose(result["total"], expected["total"], rtol=rtol, err_msg=name)
        np.testing.assert_allclose(result["items"], expected["items"], rtol=rtol, err_msg=name)
        for a, b in zip(result["grads"], expected["grads"], strict=True):
            np.testing.assert_allclose(a["abs"], b["abs"], rtol=rtol, err_msg=name)
            scale = np.abs(b["some"]).max()
            np.testing.assert_allclose(a["some"], b["some"], rtol=rtol, atol=rtol * scale, err_msg=name)
            np.testing.assert_allclose(a["weighted"], b["weighted"], atol=rtol * b["abs"], err_msg=name)


def reference_loss(maps, positives, targets, labels, nc):
    """The loss computed with a dense target tensor and loops, for given positives."""
    anchors, rows = [], []
    for feat in maps:
        h, w = feat.shape[2:]
        anchors += [(x + 0.5, y + 0.5) for y in range(h) for x in range(w)]
        rows.append(feat.flatten(2))
    flat = torch.cat(rows, 2)  # (B, no, A)
    strides = torch.tensor([s for s, feat in zip(make.STRIDES, maps, strict=True) for _ in range(feat[0, 0].numel())])
    dense = torch.zeros(flat.shape[0], nc, flat.shape[2], dtype=flat.dtype)
    box = dfl = 0
    for image, anchor, score, target, label in zip(*positives, targets, labels, strict=True):
        dense[image, label, anchor] = score
        logits = flat[image, :64, anchor].view(4, 16)
        sides = logits.softmax(1) @ torch.arange(16, dtype=flat.dtype)
        x, y = anchors[anchor]
        pred = torch.stack((x - sides[0], y - sides[1], x + sides[2], y + sides[3]))[None]
        target_cells = target / strides[anchor]
        box = box + (1 - bbox_iou(pred, target_cells[None], xywh=False, CIoU=True)[0, 0]) * score
        distances = torch.stack(
            (x - target_cells[0], y - target_cells[1], target_cells[2] - x, target_cells[3] - y)
        ).clamp(0, 14.99)
        left = distances.long()
        near, far = F.cross_entropy(logits, left, reduction="none"), F.cross_entropy(logits, left + 1, reduction="none")
        dfl = dfl + (near * (left + 1 - distances) + far * (distances - left)).mean() * score
    total = max(float(positives[2].sum()), 1.0)
    cls = F.binary_cross_entropy_with_logits(flat[:, 64:], dense, reduction="sum")
    return torch.stack((box * 7.5, cls * 0.5, dfl * 1.5)) / total


def test_matches_a_dense_reference():
    maps = [feat.double().requires_grad_() for feat in make.random_maps(3, 2, 4, 64, 96)]
    batch = make.batch([0, 0, 1], [1, 3, 0], [(0.4, 0.5, 0.5, 0.6), (0.6, 0.5, 0.7, 0.3), (0.3, 0.3, 0.4, 0.5)])
    criterion = v8DetectionLoss(make.Net(4))
    result = criterion.detection(maps, batch)
    positives = result.positives
    labels = torch.tensor([[1, 3], [0, 0]])[positives.image, positives.slot]
    assignment = (positives.image, positives.anchor, positives.score.double())
    expected = reference_loss(maps, assignment, result.boxes.double(), labels, 4)
    np.testing.assert_allclose(result.loss.detach(), expected.detach(), rtol=1e-6)
    grads = torch.autograd.grad(result.loss.sum(), maps)
    expected_grads = torch.autograd.grad(expected.sum(), maps)
    for a, b in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6 * b.abs().max())


def test_evaluation_output_and_memory_layout_change_nothing():
    maps, batch = make.random_maps(5, 2, 3, 64, 64), make.wave_batch()
    criterion = v8DetectionLoss(make.Net(3))
    loss, items = criterion(maps, batch)
    again, parts = criterion((torch.zeros(2, 7, 84), maps), batch)
    assert torch.equal(loss, again) and torch.equal(items, parts)
    leaves = [m.to(memory_format=torch.channels_last).requires_grad_() for m in maps]
    total, _ = criterion(leaves, batch)
    total.backward()
    assert torch.equal(total.detach(), loss)
    assert all(leaf.grad.is_contiguous(memory_format=torch.channels_last) for leaf in leaves)


def test_result_is_times_batch_and_items_are_detached():
    maps = [m.requires_grad_() for m in make.wave_maps()]
    loss, items = v8DetectionLoss(make.Net(3))(maps, make.wave_batch())
    assert loss.shape == () and items.shape == (3,) and not items.requires_grad
    np.testing.assert_allclose(loss.detach(), items.sum() * 2, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_half_precision_maps_are_read_in_float32(dtype, rtol):
    maps = [m.to(dtype).requires_grad_() for m in make.random_maps(5, 2, 3, 64, 64)]
    loss, items = v8DetectionLoss(make.Net(3))(maps, make.wave_batch())
    exact, _ = v8DetectionLoss(make.Net(3))([m.detach().float() for m in maps], make.wave_batch())
    assert items.dtype == torch.float32 and torch.equal(loss.detach(), exact)
    loss.backward()
    assert all(m.grad.dtype == dtype and m.grad.isfinite().all() for m in maps)
    full, _ = v8DetectionLoss(make.Net(3))(make.random_maps(5, 2, 3, 64, 64), make.wave_batch())
    np.testing.assert_allclose(loss.detach(), full, rtol=rtol)


def test_same_under_autocast():
    maps, batch = make.random_maps(6, 2, 3, 64, 64), make.wave_batch()
    plain, _ = v8DetectionLoss(make.Net(3))(maps, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, _ = v8DetectionLoss(make.Net(3))(maps, batch)
    assert cast.dtype == torch.float32
    np.testing.assert_allclose(cast, plain, rtol=1e-5)


def test_batch_without_instances_trains_the_classes():
    maps = [m.requires_grad_() for m in make.wave_maps()]
    loss, _ = v8DetectionLoss(make.Net(3))(maps, make.batch([], [], []))
    loss.backward()
    for feat in maps:
        assert feat.grad[:, :64].abs().max() == 0
        np.testing.assert_allclose(feat.grad[:, 64:], feat.detach()[:, 64:].sigmoid(), rtol=1e-5)  # 2 images x gain 0.5


def test_targets_keep_their_order_in_each_image():
    rows = torch.tensor([[1, 5, 0.5, 0.5, 0.2, 0.2], [0, 7, 0.1, 0.2, 0.2, 0.4], [1, 3, 0.5, 0.25, 1, 0.5]])
    padded = v8DetectionLoss(make.Net(9)).preprocess(rows, 3, torch.tensor([100.0, 200, 100, 200]))
    expected = [
        [[7, 0, 0, 20, 80], [0, 0, 0, 0, 0]],
        [[5, 40, 80, 60, 120], [3, 0, 0, 100, 100]],
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    ]
    np.testing.assert_allclose(padded, expected, atol=1e-5)


def test_nan_reaches_the_loss():
    maps = make.wave_maps()
    maps[0][0, 70 - 4, 0, 0] = float("nan")
    loss, _ = v8DetectionLoss(make.Net(3))(maps, make.wave_batch())
    assert loss.isnan()


def test_distance_loss_by_hand():
    logits = torch.zeros(4, 16)  # every bin has probability 1/16
    assert DFLoss(16)(logits, torch.tensor([[0.0, 3.25, 14.99, 99]])).item() == pytest.approx(np.log(16))
    logits = torch.full((4, 16), -50.0)
    logits[:, 3] = logits[:, 4] = 0
    target = torch.full((1, 4), 3.5)
    assert DFLoss(16)(logits, target).item() == pytest.approx(np.log(2), rel=1e-5)


def test_box_loss_without_distances():
    boxes = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3]])
    box, dfl = BboxLoss(1)(torch.zeros(2, 4), boxes, torch.ones(2, 2), boxes, torch.tensor([0.5, 0.25]))
    assert box.item() == pytest.approx(0, abs=1e-6) and dfl.item() == 0
