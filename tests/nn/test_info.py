"""Counting: parameters and arithmetic of layers by hand, of the family against the published figures."""

import pytest
import torch
from torch import nn

from ultralytics.nn import info
from ultralytics.nn.Addmodules.acmix import ACmix
from ultralytics.nn.Addmodules.akconv import AKConv
from ultralytics.nn.Addmodules.dlka import DeformConv, deformable_LKA_Attention
from ultralytics.nn.Addmodules.dlka3d import DeformConv3d
from ultralytics.nn.modules import DFL
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

# The official counter adds one and a half multiply-adds a channel of every attention block when the map is one point;
# that is an error of its own and within this.
TOLERANCE = 1.2e-3

# modules, parameters, GFLOPs at 640 pixels; from the official package (YOLOv8: from the published networks)
PUBLISHED = {
    "yolo11n": (319, 2_624_080, 6.612),
    "yolo11s": (319, 9_458_752, 21.714),
    "yolo11m": (409, 20_114_688, 68.520),
    "yolo11l": (631, 25_372_160, 87.606),
    "yolo11x": (631, 56_966_176, 195.947),
    "yolov8n": (225, 3_157_200, 8.855),
    "yolov8s": (225, 11_166_560, 28.812),
    "yolov8m": (295, 25_902_640, 79.314),
    "yolov8l": (365, 43_691_520, 165.735),
    "yolov8x": (365, 68_229_648, 258.537),
}
# the YOLOv8 files with the class branch of YOLO11, as 8.3.0 builds them
NOT_LEGACY = {
    "yolov8n": (249, 2_724_448, 7.114),
    "yolov8n-p2": (309, 2_850_944, 12.092),
    "yolov8n-p6": (327, 4_380_512, 7.094),
    "yolov8n-ghost": (427, 1_432_564, 4.062),
}


def build(name, **changes):
    from ultralytics.nn.tasks import yaml_model_load

    with torch.device("meta"):  # shapes without memory: the largest take half a second
        return DetectionModel(yaml_model_load(f"{name}.yaml") | changes, verbose=False)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    layers, parameters, gradients, gflops = build(name).info(verbose=False)
    assert (layers, parameters, gradients) == (*PUBLISHED[name][:2], PUBLISHED[name][1] - 16)
    assert gflops == pytest.approx(PUBLISHED[name][2], abs=TOLERANCE)


@pytest.mark.parametrize("name", NOT_LEGACY)
def test_sizes_without_legacy_branch(name):
    layers, parameters, _, gflops = build(name, legacy=False).info(verbose=False)
    assert (layers, parameters) == NOT_LEGACY[name][:2]
    assert gflops == pytest.approx(NOT_LEGACY[name][2], abs=TOLERANCE)


def test_fused_size():
    model = DetectionModel("yolo11n.yaml", verbose=False).fuse(verbose=False)
    layers, parameters, _, gflops = model.info(verbose=False)
    assert (layers, parameters) == (238, 2_616_248)
    assert gflops == pytest.approx(6.481, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("layer", "shape", "multiply_adds"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (1, 4, 32, 32), 32 * 32 * 6 * 2 * 9),
        (nn.ConvTranspose2d(4, 6, 2, 2), (1, 4, 32, 32), 32 * 32 * 4 * 6 * 4),  # every input value meets 6 * 4 weights
        (nn.BatchNorm2d(4), (1, 4, 32, 32), 4 * 4 * 32 * 32),
        (nn.Linear(32, 5), (1, 4, 32, 32), 4 * 32 * 32 * 5),
        (nn.Sequential(nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1)), (1, 4, 32, 32), 32 * 32 * 16 + 32 * 32 * 4 + 4),
        (nn.Sequential(nn.Conv2d(4, 4, 1), nn.SiLU(), nn.MaxPool2d(2)), (1, 4, 32, 32), 32 * 32 * 16),
    ],
)
def test_arithmetic_of_layers(layer, shape, multiply_adds):
    layer.yaml = {"ch": shape[1]}
    assert info.get_flops(layer, shape[-1]) == pytest.approx(2e-9 * multiply_adds)


def test_dfl_counts_as_a_convolution():
    net = nn.Sequential(nn.Conv2d(1, 64, 1, bias=False), nn.Flatten(2), DFL(16))
    assert info.get_flops(net, 32) == pytest.approx(2e-9 * 32 * 32 * (64 + 4 * 16))


# Multiply-adds of the added modules on maps of H × W, by hand from the formulas of their papers.
ADDED = {
    # offsets 9 * 4 -> 10 maps, 4 a sample of 5 points and 4 channels, 20 -> 6 mixed, 4 a normalized value
    "AKConv": (AKConv(4, 6, 5), lambda H, W: H * W * (36 * 10 + 4 * 20 + 20 * 6 + 4 * 6)),
    "AKConv, stride": (AKConv(4, 6, 3, 2), lambda H, W: (H * W // 4) * (36 * 6 + 4 * 12 + 12 * 6 + 4 * 6)),
    "AKConv, published": (AKConv(4, 2, 1, compat="published"), lambda H, W: H * W * (36 * 2 + 16 + 8 + 8)),
    # three projections 4 -> 8, fc 12 -> 9 on each of 2 channels a head, position 2 -> 2;
    # dep_conv 9 maps of 3 × 3 taps a value, scores and sum of 49 pixels a value
    "ACmix": (ACmix(4, 8), lambda H, W: H * W * (3 * 32 + 12 * 9 * 2 + 2 * 2 + 8 * 81 + 2 * 49 * 8)),
    "ACmix, stride": (
        ACmix(4, 8, 5, 2, stride=2),
        lambda H, W: H * W * (3 * 32 + 6 * 9 * 4 + 2 * 4) + (H * W // 4) * (8 * 81 + 2 * 25 * 8),
    ),
    # offsets 9 * 4 -> 18 maps, 4 a sample of 9 taps and 4 channels, 1 a tap and channel
    "DeformConv": (DeformConv(4, 4), lambda H, W: H * W * (36 * 18 + 4 * 36 + 36)),
    "DeformConv, groups": (DeformConv(4, 2, stride=2), lambda H, W: (H * W // 4) * (36 * 18 + 4 * 36 + 72)),
    # three 1×1 convolutions, and 25 and 49 taps
    "D-LKA": (
        deformable_LKA_Attention(4),
        lambda H, W: H * W * (3 * 16 + sum(4 * t * 2 * t + 4 * 4 * t + 4 * t for t in (25, 49))),
    ),
}


@pytest.mark.parametrize("name", ADDED)
def test_added_modules_count_by_formula(name):
    layer, by_hand = nn.Sequential(ADDED[name][0]), ADDED[name][1]
    layer.yaml = {"ch": 4}
    for H, W in ((32, 32), (64, 96)):
        assert info.get_flops(layer, (H, W)) == pytest.approx(2e-9 * by_hand(H, W), rel=1e-12)


def test_volumes_count_by_formula():
    m = DeformConv3d(2)
    x = torch.zeros(2, 2, 3, 4, 5)
    voxels = 2 * 3 * 4 * 5
    # offsets 27 * 2 -> 81 volumes, 8 a sample of 27 taps and 2 channels, 1 a tap and channel
    assert m.multiply_adds(tuple(x.shape), tuple(m(x).shape)) == voxels * (54 * 81 + 8 * 54 + 54)


def test_a_module_with_its_own_count_is_counted_once():
    added, conv = AKConv(4, 4, 3), nn.Conv2d(4, 4, 1)
    alone, plain = (info.get_flops(nn.Sequential(m), 32) for m in (added, conv))
    assert info.get_flops(nn.Sequential(conv, nn.Sequential(added), conv), 32) == pytest.approx(alone + 2 * plain)


def test_networks_with_added_modules_count_their_parts():
    base, added = (DetectionModel(f"{name}.yaml", verbose=False) for name in ("yolov8n", "yolov8n-ACmix-P5"))
    m = added.model[22]  # on the coarsest map, 20 × 20 of 640 pixels
    extra = m.multiply_adds((1, 256, 20, 20), (1, 256, 20, 20))
    difference = added.info(verbose=False)[3] - base.info(verbose=False)[3]
    assert difference == pytest.approx(2e-9 * extra, rel=1e-6)


def test_rectangles_and_modules_that_need_a_large_map():
    conv = nn.Conv2d(3, 1, 1)
    assert info.get_flops(conv, (320, 640)) == pytest.approx(2e-9 * 320 * 640 * 3)
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReflectionPad2d(40))
    assert info.get_flops(net, 64) == pytest.approx(2e-9 * 64 * 64 * 3)


def test_counting_changes_nothing(tiny):
    model = DetectionModel(tiny, verbose=False).train()
    model.model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    info.get_flops(model)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [m.training for m in model.model][:3] == [True, False, True]
    assert not any(m._forward_hooks for m in model.modules())


def test_counts_and_frozen_parameters():
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    net[0].requires_grad_(False)
    assert (info.get_num_params(net), info.get_num_gradients(net)) == (14, 6)


def test_log(tiny, monkeypatch):
    texts = []
    monkeypatch.setattr(LOGGER, "info", texts.append)
    model = DetectionModel(tiny | {"yaml_file": "yolo-custom.yaml"}, verbose=False)
    layers, parameters, gradients, _ = model.info(detailed=True)
    assert texts[-1].startswith(
        f"YOLO-custom summary: {layers} layers, {parameters:,} parameters, {gradients:,} gradients, "
    )
    assert len(texts[0].splitlines()) == 1 + len(list(model.parameters()))
    row = next(line for line in texts[0].splitlines() if "7.dfl.conv.weight" in line)
    assert row.split()[2:] == ["False", "16", "[1,", "16,", "1,", "1]", "7.5", "4.61"]
    texts.clear()
    assert model.info(verbose=False)[0] == layers
    assert texts == []
