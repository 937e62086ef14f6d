"""YOLOv8 and YOLO11 at every scale: keys, shapes, dtypes and outputs equal those of 8.3.0; also YOLOv8 as published."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from ultralytics.nn.tasks import DetectionModel, yaml_model_load

HERE = Path(__file__).resolve().parent
# relative to the largest value; sums differ in their order. 8.3.0 fuses normalization in float32 for every dtype.
TOLERANCE = {"float64": 1e-5, "float32": 1e-4}
PUBLISHED = {
    "yolov8n": 3_157_200,
    "yolov8s": 11_166_560,
    "yolov8m": 25_902_640,
    "yolov8l": 43_691_520,
    "yolov8x": 68_229_648,
}


def by_size(names):
    """The names; all except scale n are marked slow."""
    return [name if name[-1] == "n" else pytest.param(name, marks=pytest.mark.slow) for name in names]


def build(name, legacy=False):
    torch.manual_seed(0)
    content = yaml_model_load(f"{name}.yaml")
    return DetectionModel(content | {"legacy": legacy} if "v8" in name else content, verbose=False)


@pytest.fixture(scope="module")
def golden():
    return json.loads((HERE / "golden" / "scales.json").read_text(encoding="utf-8"))


def test_golden_file_says_where_it_comes_from(golden, recipe):
    assert golden["made_by"]["ultralytics"] == "8.3.0"
    assert golden["made_by"].keys() >= {"command", "torch", "numpy", "python"}
    assert list(golden["networks"]) == recipe.SCALES


@pytest.mark.parametrize("name", by_size([f"{family}{x}" for family in ("yolov8", "yolo11") for x in "nsmlx"]))
def test_equals_official(name, golden, recipe):
    expected = golden["networks"][name]
    found = recipe.describe(build(name), lambda m: m.fuse(verbose=False))
    for key in ("keys", "tensors", "parameters", "stride"):
        assert found[key] == expected[key]
    for dtype, tolerance in TOLERANCE.items():
        assert found[dtype].keys() == expected[dtype].keys()
        for output, figures in expected[dtype].items():
            close(found[dtype][output], figures, tolerance, f"{name} {dtype} {output}")


def close(found, expected, tolerance, what):
    assert found["shape"] == expected["shape"], what
    largest = max(map(abs, expected["samples"]))
    assert found["mean_abs"] == pytest.approx(expected["mean_abs"], rel=tolerance), what
    assert found["weighted"] == pytest.approx(expected["weighted"], abs=tolerance * largest), what
    assert found["samples"] == pytest.approx(expected["samples"], rel=tolerance, abs=tolerance * largest), what


# ---- YOLOv8 with its published classification branch -----------------------------------------------------------------


@pytest.mark.parametrize("name", by_size(PUBLISHED))
def test_published_sizes(name):
    model = DetectionModel(f"{name}.yaml", verbose=False)
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]


def test_published_keys_of_the_class_branch():
    branch = {k.split(".cv3.")[1] for k in DetectionModel("yolov8n.yaml", verbose=False).state_dict() if ".cv3." in k}
    parts = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked")
    expected = {f"{level}.{i}.{part}" for level in range(3) for i in range(2) for part in parts}
    assert branch == expected | {f"{level}.2.{part}" for level in range(3) for part in ("weight", "bias")}


def test_published_class_branch_by_hand(recipe):
    """Two 3x3 convolutions with normalization and SiLU, then a 1x1 convolution, computed with torch functions."""
    model = recipe.stir(DetectionModel("yolov8n.yaml", verbose=False)).double()
    head, state, inputs = model.model[-1], model.state_dict(), []
    head.register_forward_pre_hook(lambda _, x: inputs.extend(x[0]))
    with torch.no_grad():
        y, maps = model(recipe.image((1, 3, 64, 96)).double())
    for level, (x, found) in enumerate(zip(inputs, maps, strict=True)):
        for i in range(2):
            at = f"model.22.cv3.{level}.{i}."
            x = nn.functional.conv2d(x, state[f"{at}conv.weight"], padding=1)
            moments = (
                state[f"{at}bn.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
            )
            mean, var, weight, bias = moments
            x = (x - mean) / torch.sqrt(var + 1e-3) * weight + bias
            x = x / (1 + torch.exp(-x))
        x = nn.functional.conv2d(x, state[f"model.22.cv3.{level}.2.weight"], state[f"model.22.cv3.{level}.2.bias"])
        torch.testing.assert_close(found[:, 64:], x)
    scores = torch.cat([m[:, 64:].flatten(2) for m in maps], 2)
    torch.testing.assert_close(y[:, 4:], 1 / (1 + torch.exp(-scores)))


def test_only_the_class_branch_differs(recipe):
    """All other tensors have the keys and shapes of the network that 8.3.0 builds, and the boxes are equal."""
    published, built = DetectionModel("yolov8n.yaml", verbose=False), build("yolov8n")
    shapes = [{k: v.shape for k, v in m.state_dict().items() if ".cv3." not in k} for m in (published, built)]
    assert shapes[0] == shapes[1]
    recipe.stir(built)
    published.eval().load_state_dict({k: v for k, v in built.state_dict().items() if ".cv3." not in k}, strict=False)
    x = recipe.image((1, 3, 64, 64))
    with torch.no_grad():
        assert torch.equal(published(x)[0][:, :4], built(x)[0][:, :4])
    assert math.prod(built(x)[0].shape) == 84 * 84
