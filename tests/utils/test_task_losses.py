"""Losses of the other tasks: values and gradients of 8.3.0 (golden/losses.json), and what it gets wrong."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ultralytics.utils import loss
from ultralytics.utils.losses.segmentation import v8SegmentationLoss

GOLDEN = Path(__file__).parent / "golden"
_spec = importlib.util.spec_from_file_location("golden_make_losses", GOLDEN / "make_losses.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


@pytest.mark.parametrize("task", ["segment", "pose", "oriented", "classify"])
def test_equals_the_official_package(task):
    golden = json.loads((GOLDEN / "losses.json").read_text())["values"][task]
    ours = getattr(make, task)(loss)
    assert ours.keys() == golden.keys()
    for name, expected in golden.items():
        got = ours[name]
        np.testing.assert_allclose(got["total"], expected["total"], rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(got["items"], expected["items"], rtol=1e-4, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(got["abs"], expected["abs"], rtol=5e-4, atol=1e-6, err_msg=name)
        for a, b in zip(got["some"], expected["some"], strict=True):
            if len(b) == 1 != len(a):  # no gradient there; here the branch takes part with zeros
                assert not np.any(a) and not np.any(b), name
                continue
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-3 * max(np.abs(b).max(), 1e-6), err_msg=name)


def segmentation_case(overlap):
    batch = make.instances(1, [2, 0])
    batch["masks"] = make.masks_of(batch, 64, 64, overlap)
    rng = np.random.RandomState(4)
    feats = make.maps(1, 3, 64, 64)
    extra = torch.tensor(rng.randn(3, 32, make.anchors(64, 64)) * 0.3, dtype=torch.float32)
    proto = torch.tensor(rng.randn(3, 32, 16, 16), dtype=torch.float32)
    return v8SegmentationLoss(make.Net(overlap=overlap))((feats, extra, proto), batch)


def test_no_image_loses_its_masks_when_there_are_fewer_masks_than_images():
    """8.3.0 leaves out the last images then; both forms of the same masks must give the same loss."""
    one_map, each = segmentation_case(True), segmentation_case(False)
    np.testing.assert_allclose(one_map[1], each[1], rtol=1e-6)
    assert one_map[1][1] > 0


def test_boxes_without_masks_are_an_error_that_says_what_to_do():
    with pytest.raises(TypeError, match="label lines are polygons"):
        criterion = v8SegmentationLoss(make.Net())
        criterion((make.maps(0, 1, 64, 64), torch.zeros(1, 32, 84), torch.zeros(1, 32, 16, 16)), make.instances(0, [0]))


@pytest.mark.parametrize("image", [[], [0, 1]], ids=["nothing", "something"])
def test_every_branch_takes_part_in_every_batch(image):
    """Else a distributed run waits for gradients that never come."""
    feats, extra = make.maps(0, 2, 64, 64), torch.zeros(2, 32, 84, requires_grad=True)
    proto, angle = torch.zeros(2, 32, 16, 16, requires_grad=True), torch.zeros(2, 1, 84, requires_grad=True)
    keypoints = torch.zeros(2, 15, 84, requires_grad=True)
    batch = make.instances(0, image)
    batch["masks"] = make.masks_of(batch, 64, 64, True)[:2]
    batch["keypoints"] = torch.zeros(len(image), 5, 3)
    total = loss.v8SegmentationLoss(make.Net())((feats, extra, proto), batch)[0]
    total = total + loss.v8PoseLoss(make.Net(kpt_shape=[5, 3]))((feats, keypoints), batch)[0]
    batch["bboxes"] = torch.cat((batch["bboxes"], torch.zeros(len(image), 1)), 1)
    total = total + loss.v8OBBLoss(make.Net())((feats, angle), batch)[0]
    assert all(
        g is not None and g.isfinite().all() for g in torch.autograd.grad(total, [extra, proto, angle, keypoints])
    )


def test_boxes_below_two_pixels_do_not_count_whatever_the_shape_of_the_image():
    """Width against width: 8.3.0 multiplies the width by the image's height."""
    batch = make.instances(0, [0, 0])
    batch["bboxes"] = torch.tensor([[0.5, 0.5, 0.018, 0.5, 0.1], [0.4, 0.4, 0.5, 0.5, 0.2]])
    criterion = loss.v8OBBLoss(make.Net())
    wide = criterion.build_targets(batch, 1, torch.tensor([64.0, 128.0]))  # 0.018 * 128 = 2.3 pixels
    high = criterion.build_targets(batch, 1, torch.tensor([128.0, 64.0]))  # 1.2 pixels
    assert wide.boxes.shape[1] == 2
    assert high.boxes.shape[1] == 1
    assert high.rows.tolist() == [[1]]


def test_the_loss_of_a_classifier_in_evaluation_is_that_of_its_logits():
    logits, cls = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
    trained = loss.v8ClassificationLoss()(logits, {"cls": cls})[0]
    measured = loss.v8ClassificationLoss()(logits.softmax(1), {"cls": cls}, probabilities=True)[0]
    torch.testing.assert_close(measured, trained)


def test_both_branches_of_an_end_to_end_head_count():
    net = make.Net()
    many, one = make.maps(0, 2, 64, 64), make.maps(1, 2, 64, 64)
    batch = make.instances(0, [0, 1])
    total, items = loss.E2EDetectLoss(net)({"one2many": many, "one2one": one}, batch)
    alone = loss.v8DetectionLoss(net, tal_topk=10)(many, batch), loss.v8DetectionLoss(net, tal_topk=1)(one, batch)
    torch.testing.assert_close(total, alone[0][0] + alone[1][0])
    torch.testing.assert_close(items, alone[0][1] + alone[1][1])
