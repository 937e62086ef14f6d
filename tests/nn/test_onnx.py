"""ONNX: the added modules and their model files, run by onnxruntime on sizes that the export has not seen."""

import inspect
import re
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import ultralytics
from ultralytics.nn.Addmodules.acmix import ACmix
from ultralytics.nn.Addmodules.akconv import AKConv
from ultralytics.nn.Addmodules.dlka import DeformConv, deformable_LKA_Attention
from ultralytics.nn.Addmodules.dlka3d import deformable_LKA_Attention3d
from ultralytics.nn.ops import onnx_sampling
from ultralytics.nn.tasks import DetectionModel

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install ultralytics[export]")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install ultralytics[export]")

OPSET = 17  # dynamo's exporter begins at 18
MODULES = {
    "akconv": lambda: AKConv(4, 6, 5),
    "akconv, stride": lambda: AKConv(4, 6, 3, 2, shape="cross", offset_lr=0.1),
    "akconv, published": lambda: AKConv(4, 6, 5, 2, compat="published"),
    "acmix": lambda: ACmix(4, 8),
    "acmix, stride": lambda: ACmix(4, 4, 5, 2, stride=2, dilation=2),
    "dlka": lambda: deformable_LKA_Attention(4),
    "deform, stride": lambda: DeformConv(4, 4, (3, 5), padding=4, stride=2, dilation=2),
}
SAMPLED = [name for name in MODULES if "acmix" not in name and "published" not in name]
SIZES = [(2, 4, 11, 17), (1, 4, 6, 9), (3, 4, 20, 33), (1, 4, 5, 3)]
SMALL = [(1, 4, 1, 1), (2, 4, 2, 3), (1, 4, 1, 6)]
ADDED = Path(ultralytics.__file__).parent / "cfg" / "models" / "add"
FILES = [re.sub(r"^yolo(v8|11)", r"yolo\1n", p.name) for p in sorted(ADDED.glob("*.yaml"))]
NEWER = (  # dynamo's exporter takes longer: one file per module and border case
    "yolov8n-AKConv.yaml",
    "yolo11n-AKConv.yaml",
    "yolov8n-ACmix.yaml",
    "yolov8n-ACmix-P5.yaml",
    "yolov8n-C2f-DLKA.yaml",
    "yolov8n-DLKA.yaml",
)


def _ready(m):
    """In evaluation mode, with offsets of about a pixel."""
    torch.manual_seed(0)
    for name, p in m.named_parameters():
        if "p_conv" in name or "offset_net" in name:
            nn.init.normal_(p, 0, 0.2 / p[0].numel() ** 0.5)
            if name.endswith("bias"):
                nn.init.uniform_(p, -1, 1)
    return m.eval()


def _export(m, x, path, dynamo=False, unit=1):
    """Export with batch, rows and columns left open; the last two are multiples of `unit`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every size that Python reads
        if dynamo:
            B, H, W = (torch.export.Dim(name, min=1, max=64) for name in ("batch", "height", "width"))
            open_sizes = {0: B, 2: unit * H, 3: unit * W}
            torch.onnx.export(m, (x,), path, dynamo=True, opset_version=18, dynamic_shapes=(open_sizes,), verbose=False)
            return
        # torch before 2.5 has no argument `dynamo` that would mean this exporter
        options = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
        axes = {0: "batch", **{i: f"size{i}" for i in range(2, x.dim())}}
        torch.onnx.export(m, (x,), path, opset_version=OPSET, input_names=["x"], dynamic_axes={"x": axes}, **options)


def _check(m, path, sizes):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in sizes:
        x = torch.rand(size)
        result = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
        with torch.no_grad():
            torch.testing.assert_close(result, m(x), rtol=1e-4, atol=1e-4)


def _operators(path):
    graph = onnx.load(path).graph
    assert {node.domain for node in graph.node} == {""}, "standard operators only"
    return {node.op_type for node in graph.node}


@pytest.mark.parametrize("name", MODULES)
def test_module_runs_on_any_size(name, tmp_path):
    m, path = _ready(MODULES[name]()), str(tmp_path / "module.onnx")
    _export(m, torch.rand(2, 4, 11, 17), path)
    assert "GridSample" not in _operators(path)
    _check(m, path, SIZES + SMALL)


@pytest.mark.parametrize("name", SAMPLED)
def test_grid_sample_is_exported_when_selected(name, tmp_path):
    m, path = _ready(MODULES[name]()), str(tmp_path / "module.onnx")
    with onnx_sampling("grid_sample"):
        expected = m(torch.ones(1, 4, 5, 6))  # outside of an export the switch changes nothing
        _export(m, torch.rand(2, 4, 11, 17), path)
    operators = _operators(path)
    assert "GridSample" in operators
    assert "GatherElements" not in operators
    _check(m, path, SIZES + SMALL)
    torch.testing.assert_close(m(torch.ones(1, 4, 5, 6)), expected, rtol=0, atol=0)


def test_form_that_does_not_exist():
    with pytest.raises(ValueError, match="one of gather, grid_sample, not 'grid'"), onnx_sampling("grid"):
        pass


def test_volumes(tmp_path):
    m, path = _ready(deformable_LKA_Attention3d(2)), str(tmp_path / "module.onnx")
    _export(m, torch.rand(1, 2, 3, 4, 5), path)
    _check(m, path, [(1, 2, 3, 4, 5), (2, 2, 2, 6, 3), (1, 2, 1, 1, 2)])


def test_network_of_three_modules(tiny, put_in, tmp_path):
    for row in ([-1, 1, "ACmix", []], [-1, 1, "deformable_LKA_Attention", []], [-1, 1, "AKConv", [16, 3]]):
        tiny = put_in(tiny, 3, row)
    m, path = _ready(DetectionModel(tiny, verbose=False)), str(tmp_path / "network.onnx")
    m.model[-1].export = True
    _export(m, torch.rand(2, 3, 32, 64), path)
    assert "GridSample" not in _operators(path)
    _check(m, path, [(1, 3, 32, 64), (3, 3, 64, 32), (1, 3, 16, 80)])


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_model_file_runs_on_any_rectangle(file, tmp_path):
    _check_file(file, str(tmp_path / "network.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("file", NEWER)
def test_model_file_runs_on_any_rectangle_from_the_newer_exporter(file, tmp_path):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed; pip install ultralytics[export]")
    _check_file(file, str(tmp_path / "network.onnx"), dynamo=True)


def _check_file(file, path, dynamo=False):
    m = _ready(DetectionModel(file, verbose=False))
    m.model[-1].export = True
    _export(m, torch.rand(2, 3, 64, 96), path, dynamo, unit=32)
    _operators(path)
    _check(m, path, [(2, 3, 64, 96), (1, 3, 96, 64), (3, 3, 32, 160), (1, 3, 32, 32), (1, 3, 320, 64)])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["akconv", "akconv, stride", "acmix", "acmix, stride", "dlka"])
def test_module_runs_on_any_size_from_the_newer_exporter(name, tmp_path):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed; pip install ultralytics[export]")
    m, path = _ready(MODULES[name]()), str(tmp_path / "module.onnx")
    _export(m, torch.rand(2, 4, 11, 17), path, dynamo=True)
    _check(m, path, SIZES + SMALL)
