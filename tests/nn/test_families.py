"""Networks of all families and tasks: structure of every model file, outputs of one network per family and task."""

import pytest
import torch
from torch import nn

from ultralytics.nn import fuse
from ultralytics.nn.model_file import read_activation, yaml_model_load
from ultralytics.nn.parser import parse_model

# parameters that 8.3.0 and its documentation report for the published checkpoints
PUBLISHED = {
    "yolov3": 103_754_144,
    "yolov5n": 2_654_816,
    "yolov5s": 9_153_152,
    "yolov8n": 3_157_200,
    "yolov8x": 68_229_648,
    "yolov8n-seg": 3_409_968,
    "yolov8n-pose": 3_295_470,
    "yolov9t": 2_128_720,
    "yolov9c": 25_590_912,
    "yolov9e": 58_206_592,
    "yolov9c-seg": 27_897_120,
    "yolov10n": 2_775_520,
    "yolo11n-seg": 2_876_848,
}
# relative to the largest value of a tensor: sums are in another order
TOLERANCE = {"eval": 1e-4, "train": 1e-6}


class Network(nn.Module):
    """The layers of a model file, with what the classes of nn/tasks.py set on them."""

    def __init__(self, content, strides):
        super().__init__()
        self.model, self.save = parse_model(content, 3, verbose=False)
        if "Classify" not in content["head"][-1]:
            fuse.initialize_weights(self)  # 8.3.0 does not do so for classification
            self.model[-1].stride = torch.tensor(strides)
        activation = read_activation(content)
        if activation is not None:
            fuse.set_activation(self.model, activation)

    def forward(self, x):
        outputs = []
        for m in self.model:
            if m.f != -1:
                x = outputs[m.f] if isinstance(m.f, int) else [x if j == -1 else outputs[j] for j in m.f]
            x = m(x)
            outputs.append(x if m.i in self.save else None)
        return x


def layers_of(name, **changes):
    with torch.device("meta"):  # names and shapes only
        return parse_model(yaml_model_load(f"{name}.yaml") | changes, 3, verbose=False)[0]


def test_golden_file_is_complete(families, families_golden):
    assert list(families_golden["structure"]) == families.file_names()
    assert list(families_golden["outputs"]) == list(families.RUN)


@pytest.mark.parametrize("small", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_structure_equals_official(families, families_golden, small):
    different = {}
    for name in selected(families, small):
        expected = families_golden["structure"][name]
        layers = families.structure(layers_of(name, legacy=False))
        if layers != {key: value for key, value in expected.items() if key != "published"}:
            different[name] = (layers, expected)
    assert not different


@pytest.mark.parametrize("small", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_class_branch_is_the_published_one(families, families_golden, small):
    """Without `legacy` in the file: YOLO11 and YOLOv10 have the depthwise branch, older families the plain one."""
    different = {}
    for name in selected(families, small):
        expected = families_golden["structure"][name]
        layers = families.structure(layers_of(name))
        if layers != expected.get("published", expected):
            different[name] = (layers, expected)
    assert not different


def selected(families, small):
    """The smallest network of every model file, or all others."""
    larger = {f"{family}{letter}" for family in ("yolov5", "yolov6", "yolov8", "yolo11") for letter in "smlx"}
    return [name for name in families.file_names() if (name.split("-")[0] in larger) != small]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    assert sum(p.numel() for p in layers_of(name).parameters()) == PUBLISHED[name]


def test_outputs_equal_official(families, families_golden):
    for name in families.RUN:
        check_outputs(name, families, families_golden["outputs"][name])


def check_outputs(name, families, expected):
    network = Network(yaml_model_load(f"{name}.yaml") | {"legacy": False}, expected["stride"])
    assert network.save == expected["save"]
    families.stir(network.model)
    for key, outputs in families.network_outputs(network).items():
        tolerance = TOLERANCE[key.split()[0]]
        for i, (output, figures) in enumerate(zip(outputs, expected[key], strict=True)):
            assert_close(output, figures, tolerance, f"{name} {key} output {i}")


def assert_close(output, expected, tolerance, where):
    assert output["shape"] == expected["shape"], where
    largest = max(map(abs, expected["samples"]))
    assert output["mean_abs"] == pytest.approx(expected["mean_abs"], rel=tolerance), where
    assert output["samples"] == pytest.approx(expected["samples"], rel=tolerance, abs=tolerance * largest), where


def test_fused_networks_compute_the_same(families):
    """Merging RepConv, RepVGGDW and normalizations leaves the output as it was."""
    for name in ("yolov9t", "yolov10s", "yolov6n"):
        network = Network(yaml_model_load(f"{name}.yaml"), [8.0, 16.0, 32.0])
        families.stir(network.model)
        network.double()
        x = families.image((1, 3, 64, 96)).double()
        with torch.no_grad():
            expected = network(x)[0]
            fuse.fuse_layers(network.model)
            assert fuse.is_fused(network.model)
            # the merged weights were computed in float32
            assert (network(x)[0] - expected).abs().max() < 1e-4 * expected.abs().max(), name
