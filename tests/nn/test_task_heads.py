"""Heads of all tasks: against official figures, decoding by hand, dtypes, export, bad arguments."""

import copy
import math

import pytest
import torch

from ultralytics.nn.modules import head as heads
from ultralytics.nn.modules.head import OBB, Classify, Pose, Segment, v10Detect

NUM_HEADS = 6
STRIDES = [8.0, 16.0]


def build(families, i):
    name, args = families.HEADS[i]
    torch.manual_seed(0)
    return getattr(heads, name)(*args, families.CHANNELS)


def ready(head, families):
    """The head in evaluation mode with weights away from their start."""
    families.stir(head)
    head.stride = torch.tensor(STRIDES)
    return head.eval()


def test_table_is_complete(families, families_golden):
    assert len(families.HEADS) == len(families_golden["heads"]) == NUM_HEADS


@pytest.mark.parametrize("i", range(NUM_HEADS))
def test_equals_official(families, families_golden, assert_fingerprint, i):
    head, expected = build(families, i), families_golden["heads"][i]
    assert families.keys_sha256(head) == expected["keys_sha256"]
    # the same random numbers in the same order
    assert sum(p.double().sum().item() for p in head.parameters()) == pytest.approx(expected["start_sum"], abs=1e-5)
    outputs = families.head_outputs(head)
    assert outputs.keys() == expected["outputs"].keys()
    for key, figures in expected["outputs"].items():
        assert len(outputs[key]) == len(figures)
        for output, official in zip(outputs[key], figures, strict=True):
            assert output["shape"] == official["shape"], key
            assert output["mean_abs"] == pytest.approx(official["mean_abs"], rel=1e-5), key
            assert output["samples"] == pytest.approx(official["samples"], rel=1e-4, abs=1e-4), key


def test_classify_equals_official(families, families_golden, assert_fingerprint):
    torch.manual_seed(0)
    head = families.stir(Classify(8, 5))
    assert families.keys_sha256(head) == families_golden["classify"]["keys_sha256"]
    for training, expected in zip((False, True), families_golden["classify"]["outputs"], strict=True):
        assert_fingerprint(head.train(training)(families.image(families.MAP)).detach(), expected)


def test_classify_joins_several_maps():
    head = Classify(8, 3).eval()
    maps = torch.randn(2, 8, 4, 5).split((3, 5), 1)
    torch.testing.assert_close(head(maps), head(torch.cat(maps, 1)))
    torch.testing.assert_close(head(maps).sum(1), torch.ones(2))


@pytest.mark.parametrize("i", range(NUM_HEADS))
def test_input_list_is_not_changed(families, i):
    head = ready(build(families, i), families)
    x = families.levels("square")
    before = list(x)
    for training in (True, False):
        head.train(training)(x)
        assert all(a is b for a, b in zip(x, before, strict=True))


@pytest.mark.parametrize("i", range(NUM_HEADS))
def test_export_returns_what_a_runtime_needs(families, i):
    head = ready(build(families, i), families)
    x = families.levels("rectangular")
    y, raw = head(x)
    head.export = True
    exported = head(x)
    if isinstance(head, Segment):
        exported, prototypes = exported
        torch.testing.assert_close(prototypes, raw[2])
    torch.testing.assert_close(exported, y)


@pytest.mark.parametrize("i", range(NUM_HEADS))
@pytest.mark.parametrize(("dtype", "out"), [(torch.float16, torch.float16), (torch.bfloat16, torch.float32)])
def test_coordinates_of_low_precision_maps(families, i, dtype, out):
    head = ready(build(families, i), families)
    x = families.levels("square")
    expected = head(x)[0]
    y = copy.deepcopy(head).to(dtype)([level.to(dtype) for level in x])[0]
    assert y.dtype == out
    if not isinstance(head, v10Detect):  # the order of detections depends on rounding
        assert (y.float() - expected)[:, :4].abs().max() < 1.5  # pixels; the maps themselves are rounded


@pytest.mark.parametrize("i", range(NUM_HEADS - 1))  # the last one, v10Detect, has the depthwise branch only
def test_published_class_branch(families, i):
    name, args = families.HEADS[i]
    head = getattr(heads, name)(*args, families.CHANNELS, legacy=True)
    assert head.state_dict()["cv3.0.0.conv.weight"].shape == (16, 16, 3, 3)


@pytest.mark.parametrize("i", range(NUM_HEADS))
def test_bias_start(families, i):
    head = build(families, i)
    head.stride = torch.tensor(STRIDES)
    head.bias_init()
    pairs = [(head.cv2, head.cv3)]
    if isinstance(head, v10Detect):
        pairs.append((head.one2one_cv2, head.one2one_cv3))
    for boxes, classes in pairs:
        for box, cls, stride in zip(boxes, classes, STRIDES, strict=True):
            assert box[-1].bias.tolist() == [1.0] * 64
            expected = math.log(5 / head.nc / (640 / stride) ** 2)
            torch.testing.assert_close(cls[-1].bias, torch.full((head.nc,), expected))


def test_masks_have_a_coefficient_per_prototype(families):
    head = ready(Segment(2, 3, 8, families.CHANNELS), families)
    x = families.levels("rectangular")
    y, (_, coefficients, prototypes) = head(x)
    assert coefficients.shape == (2, 3, 6 * 10 + 3 * 5)
    assert prototypes.shape == (2, 3, 12, 20)
    torch.testing.assert_close(y[:, -3:], coefficients)


def test_keypoints_by_hand(families):
    head = ready(Pose(1, (2, 3), families.CHANNELS), families)
    y, (_, raw) = head(families.levels("rectangular"))
    cells = [(row, column, 8) for row in range(6) for column in range(10)]
    cells += [(row, column, 16) for row in range(3) for column in range(5)]
    for anchor, (row, column, stride) in enumerate(cells):
        for keypoint in range(2):
            raw_x, raw_y, visibility = raw[0, 3 * keypoint : 3 * keypoint + 3, anchor]
            expected = torch.stack([(2 * raw_x + column) * stride, (2 * raw_y + row) * stride, visibility.sigmoid()])
            torch.testing.assert_close(y[0, 5 + 3 * keypoint : 8 + 3 * keypoint, anchor], expected)


def test_keypoints_in_cells_for_the_loss(families):
    head = Pose(1, (2, 2), families.CHANNELS)
    raw = torch.randn(1, 4, 3)
    anchors = torch.tensor([[0.5, 1.5, 2.5], [0.5, 0.5, 3.5]])
    expected = raw.reshape(2, 2, 3) * 2 + anchors - 0.5
    torch.testing.assert_close(head.kpts_decode(raw, anchors), expected.reshape(1, 4, 3))


@pytest.mark.parametrize("kpt_shape", [[17], [0, 3], [5, 4], [5, 1]])
def test_keypoint_shape_is_checked(kpt_shape):
    with pytest.raises(ValueError, match=r"kpt_shape must be \[number of keypoints, 2 or 3\]"):
        Pose(1, kpt_shape, (16,))


def test_oriented_boxes_by_hand(families):
    """The center lies beside the anchor by the half difference of the distances, along the axes of the turned box."""
    head = ready(OBB(2, 1, families.CHANNELS), families)
    y, (maps, angle) = head(families.levels("rectangular"))
    assert angle.min() > -math.pi / 4 and angle.max() < 3 * math.pi / 4
    torch.testing.assert_close(y[:, -1:], angle)
    bins, anchor = torch.arange(16.0), 0
    for level, stride in zip(maps, (8, 16), strict=True):
        for row in range(level.shape[2]):
            for column in range(level.shape[3]):
                sides = level[0, :64, row, column].reshape(4, 16).softmax(1) @ bins
                theta = angle[0, 0, anchor]
                along, across = (sides[2] - sides[0]) / 2, (sides[3] - sides[1]) / 2
                center_x = column + 0.5 + along * theta.cos() - across * theta.sin()
                center_y = row + 0.5 + along * theta.sin() + across * theta.cos()
                expected = torch.stack([center_x, center_y, sides[0] + sides[2], sides[1] + sides[3]]) * stride
                torch.testing.assert_close(y[0, :4, anchor], expected, rtol=1e-4, atol=1e-4)
                anchor += 1


def test_one_to_one_branch_gives_no_gradient_to_the_network(families):
    head = v10Detect(5, families.CHANNELS)
    x = [level.requires_grad_() for level in families.levels("square")]
    out = head(x)
    sum(level.sum() for level in out["one2one"]).backward()
    assert all(level.grad is None for level in x)
    assert head.one2one_cv2[0][0].conv.weight.grad.any()
    sum(level.sum() for level in head(x)["one2many"]).backward()
    assert all(level.grad.any() for level in x)


def test_one_to_one_branch_starts_as_a_copy(families):
    state = v10Detect(5, families.CHANNELS).state_dict()
    for key, value in state.items():
        if key.startswith("one2one_"):
            assert torch.equal(value, state[key.removeprefix("one2one_")])


def test_best_detections_by_hand():
    boxes = torch.arange(12.0).reshape(1, 3, 4)
    scores = torch.tensor([[[0.1, 0.9], [0.8, 0.7], [0.2, 0.3]]])
    found = v10Detect.postprocess(torch.cat((boxes, scores), 2), max_det=2, nc=2)
    torch.testing.assert_close(found, torch.tensor([[[0.0, 1, 2, 3, 0.9, 1], [4, 5, 6, 7, 0.8, 0]]]))
    found = v10Detect.postprocess(torch.cat((boxes, scores), 2), max_det=300, nc=2)
    assert found[0, :, 4:].tolist() == [[pytest.approx(0.9), 1], [pytest.approx(0.8), 0], [pytest.approx(0.7), 1]]
