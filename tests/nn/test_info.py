"""Counting: parameters and arithmetic of layers by hand, of the family against the published figures."""

import pytest
import torch
from torch import nn

from ultralytics.nn import info
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
    model = DetectionModel(tiny | {"yaml_file": "yolo-mine.yaml"}, verbose=False)
    layers, parameters, gradients, _ = model.info(detailed=True)
    assert texts[-1].startswith(
        f"YOLO-mine summary: {layers} layers, {parameters:,} parameters, {gradients:,} gradients, "
    )
    assert len(texts[0].splitlines()) == 1 + len(list(model.parameters()))
    row = next(line for line in texts[0].splitlines() if "7.dfl.conv.weight" in line)
    assert row.split()[2:] == ["False", "16", "[1,", "16,", "1,", "1]", "7.5", "4.61"]
    texts.clear()
    assert model.info(verbose=False)[0] == layers
    assert texts == []
