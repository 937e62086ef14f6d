"""Anchors and the assigner: values computed by hand, a reference loop, the official package, unusual input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from project import load_module

from ultralytics.utils.iou import bbox_iou
from ultralytics.utils.tal import TaskAlignedAssigner, bbox2dist, dist2bbox, make_anchors

GOLDEN = Path(__file__).parent / "golden"
make = load_module(GOLDEN / "make.py")


def test_anchors_are_in_row_order():
    points, strides = make_anchors([torch.zeros(1, 5, 2, 3), torch.zeros(1, 5, 1, 2)], torch.tensor([8.0, 16.0]))
    assert points.tolist() == [
        [0.5, 0.5],
        [1.5, 0.5],
        [2.5, 0.5],
        [0.5, 1.5],
        [1.5, 1.5],
        [2.5, 1.5],
        [0.5, 0.5],
        [1.5, 0.5],
    ]
    assert strides.flatten().tolist() == [8] * 6 + [16] * 2
    points, strides = make_anchors([torch.zeros(1, 5, 1, 1).half()], [32], 0.0)
    assert points.tolist() == [[0, 0]] and points.dtype == strides.dtype == torch.float16


def test_wide_maps_in_bfloat16_keep_their_anchors():
    points, _ = make_anchors([torch.zeros(1, 1, 1, 300, dtype=torch.bfloat16)], [8], dtype=torch.float32)
    assert points[-1].tolist() == [299.5, 0.5]


def test_distances_round_trip():
    anchors = torch.tensor([[3.5, 4.5], [10.5, 2.5]])
    boxes = torch.tensor([[1.0, 2, 5, 9], [8, 1, 12, 3]])
    dist = bbox2dist(anchors, boxes, 15)
    assert dist.tolist() == [[2.5, 2.5, 1.5, 4.5], [2.5, 1.5, 1.5, 0.5]]
    assert torch.equal(dist2bbox(dist, anchors, xywh=False), boxes)
    assert dist2bbox(dist, anchors).tolist() == [[3, 5.5, 4, 7], [10, 2, 4, 2]]
    assert torch.equal(dist2bbox(dist.T, anchors.T, xywh=False, dim=0), boxes.T)
    far = bbox2dist(anchors[:1], torch.tensor([[5.0, -100, 6, 100]]), 15)
    np.testing.assert_allclose(far, [[0, 14.99, 2.5, 14.99]], rtol=1e-6)


def reference_assignment(scores, boxes, anchors, labels, instances, mask, topk, alpha, beta):
    """One image with loops in float64: {anchor: (instance, soft target)}."""
    selections, alignment = {}, {}
    for g in range(len(instances)):
        if not mask[g, 0]:
            continue
        x1, y1, x2, y2 = instances[g].tolist()
        inside = [a for a, (x, y) in enumerate(anchors.tolist()) if min(x - x1, y - y1, x2 - x, y2 - y) > 1e-9]
        for a in inside:
            overlap = max(float(bbox_iou(instances[g : g + 1], boxes[a : a + 1], xywh=False, CIoU=True)), 0.0)
            alignment[g, a] = overlap, float(scores[a, labels[g, 0]]) ** alpha * overlap**beta
        for a in sorted(inside, key=lambda a: -alignment[g, a][1])[:topk]:
            selections.setdefault(a, []).append(g)
    assignment = {}
    for a, gs in selections.items():
        candidates = [g for g in range(len(instances)) if (g, a) in alignment]
        assignment[a] = gs[0] if len(gs) == 1 else max(candidates, key=lambda g: alignment[g, a][0])
    result = {}
    for a, g in assignment.items():
        assigned = [b for b, h in assignment.items() if h == g]
        top_metric = max(alignment[g, b][1] for b in assigned)
        top_overlap = max(alignment[g, b][0] for b in assigned)
        result[a] = g, alignment[g, a][1] * top_overlap / (top_metric + 1e-9)
    return result


@pytest.mark.parametrize("seed", range(10))
def test_matches_a_reference_loop(seed):
    rng = np.random.RandomState(seed)
    B, A, M, nc = 2, 120, 5, 3
    low = rng.rand(B, M, 2) * 60
    instances = np.concatenate((low, low + rng.rand(B, M, 2) * 60 + 10), 2)
    # every prediction overlaps its instance, so that no metric is 0 and torch.topk has no ties to break
    anchors = rng.rand(A, 2) * 120
    boxes = instances[np.arange(B)[:, None], rng.randint(0, M, (B, A))] + rng.randn(B, A, 4) * 5
    mask, labels = rng.rand(B, M, 1) < 0.8, rng.randint(0, nc, (B, M, 1))
    args = [torch.tensor(x) for x in (rng.rand(B, A, nc), boxes, anchors, labels, instances, mask)]
    topk = 3
    assigner = TaskAlignedAssigner(topk=topk, num_classes=nc, alpha=0.5, beta=6.0)
    got_labels, got_boxes, got_scores, foreground, index = assigner(*args)
    for b in range(B):
        expected = reference_assignment(
            args[0][b], args[1][b], args[2], args[3][b], args[4][b], args[5][b], topk, 0.5, 6.0
        )
        expected = {a: (g, s) for a, (g, s) in expected.items() if s > 0}
        positive = [a for a in foreground[b].nonzero().flatten().tolist() if got_scores[b, a].max() > 0]
        assert positive == sorted(expected)
        for a, (g, score) in expected.items():
            assert index[b, a] == g and got_labels[b, a] == labels[b, g, 0]
            assert torch.equal(got_boxes[b, a], args[4][b, g])
            np.testing.assert_allclose(got_scores[b, a, labels[b, g, 0]], score, rtol=1e-9)
        assert torch.count_nonzero(got_scores[b]) == len(expected)


def test_matches_the_official_package():
    golden = json.loads((GOLDEN / "tal.json").read_text())["values"]
    actual = make.tal_record()
    assert actual.keys() == golden.keys()
    for name, values in golden.items():
        # anchors with target 0 come from ties, which torch.topk breaks arbitrarily; they have no weight
        for record in (actual[name], values):
            record["rows"] = [row for row, score in zip(record["rows"], record["scores"], strict=True) if score]
            record["scores"] = [score for score in record["scores"] if score]
        assert actual[name]["rows"] == values["rows"], name
        np.testing.assert_allclose(actual[name]["scores"], values["scores"], rtol=1e-4)
        np.testing.assert_allclose(actual[name]["total"], values["total"], rtol=1e-5)


def scene(A=4, M=2, nc=3):
    """Anchors in a row, each of which predicts the first instance perfectly."""
    anchors = torch.stack((torch.arange(A) * 10.0 + 5, torch.full((A,), 5.0)), 1)
    instances = torch.tensor([[0.0, 0, 10.0 * A, 10], [100, 100, 120, 120]])[None, :M]
    labels = torch.tensor([[1], [2]])[None, :M]
    mask = torch.ones(1, M, 1, dtype=torch.bool)
    scores = torch.full((1, A, nc), 0.5)
    return [scores, instances[:, :1].expand(1, A, 4).clone(), anchors, labels, instances, mask]


def test_fewer_anchors_than_topk():
    labels, boxes, scores, foreground, index = TaskAlignedAssigner(topk=10, num_classes=3)(*scene())
    assert foreground.all() and labels.tolist() == [[1] * 4] and index.tolist() == [[0] * 4]
    np.testing.assert_allclose(scores[0, :, 1], 1, atol=1e-5)
    assert scores[0, :, [0, 2]].count_nonzero() == 0 and boxes[0, 0].tolist() == [0, 0, 40, 10]


def test_without_instances():
    scores, boxes, anchors, labels, instances, mask = scene()
    for inputs in (
        (scores, boxes, anchors, labels[:, :0], instances[:, :0], mask[:, :0]),
        (scores, boxes, anchors, labels, instances, torch.zeros_like(mask)),
    ):
        labels_out, _, target, foreground, index = TaskAlignedAssigner(num_classes=3)(*inputs)
        assert not foreground.any() and not target.any() and not index.any()
        assert foreground.dtype == torch.bool and index.dtype == labels_out.dtype == torch.long
    assert (
        TaskAlignedAssigner(num_classes=3)(scores, boxes, anchors, labels[:, :0], instances[:, :0], mask[:, :0])[0]
        .eq(3)
        .all()
    )


def test_conflicts_are_resolved_by_iou_even_for_instances_that_did_not_select_the_anchor():
    # the first anchor is inside three instances; the third overlaps it most but selects another anchor
    anchors = torch.tensor([[5.0, 5], [15, 5]])
    instances = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 12], [0, 0, 20, 10]]])
    boxes = torch.tensor([[[0.0, 0, 17, 10], [0, 0, 20, 10]]])
    inputs = [torch.ones(1, 2, 1), boxes, anchors, torch.zeros(1, 3, 1), instances, torch.ones(1, 3, 1)]
    _, _, scores, _, index = TaskAlignedAssigner(topk=1, num_classes=1, alpha=0.5)(*inputs)
    assert index.tolist() == [[2, 2]]
    assert 0 < scores[0, 0, 0] < scores[0, 1, 0] == pytest.approx(1.0, abs=1e-5)


def test_invalid_predictions_do_not_stop_the_assigner():
    inputs = scene()
    inputs[0][0, 0] = float("nan")
    inputs[1][0, 1] = float("inf")
    _, _, scores, foreground, _ = TaskAlignedAssigner(topk=10, num_classes=3)(*inputs)
    assert foreground[0, 2:].all() and scores.shape == (1, 4, 3)


def test_inputs_are_unchanged_and_no_gradient_is_kept():
    inputs = scene()
    inputs[0].requires_grad_()
    before = [x.clone() for x in inputs]
    outputs = TaskAlignedAssigner(topk=2, num_classes=3)(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))
    assert not any(x.requires_grad for x in outputs)
