"""Whole networks with the kernels: a training step equals PyTorch's in each precision, and compute-sanitizer."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ultralytics.nn.ops import backends, use_backend
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import IterableSimpleNamespace

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
NOT_RUN = backends.load_kernels() or ("" if CUDA else backends.interpreter_missing())
pytestmark = [pytest.mark.slow, pytest.mark.skipif(NOT_RUN != "", reason=NOT_RUN)]
SMALL = {
    "nc": 2,
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "AKConv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "ACmix", []],
    ],
    "head": [[-1, 1, "C2f_DLKA", [16, True]], [[4], 1, "Detect", ["nc"]]],
}
ADDED = ["yolov8n-AKConv", "yolo11n-AKConv", "yolov8n-ACmix", "yolov8n-ACmix-P5", "yolov8n-C2f-DLKA", "yolov8n-DLKA"]


def _step(content, size, dtype, backend):
    """Loss and gradients of one training step on two images with three objects."""
    torch.manual_seed(0)
    network = DetectionModel(content, verbose=False).to(DEVICE).train()
    network.args = IterableSimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    for name, p in network.named_parameters():
        if "p_conv" in name or "offset_net" in name:
            torch.nn.init.normal_(p, std=0.05)  # points between pixels, as after training
    batch = {
        "img": torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1)).to(DEVICE),
        "cls": torch.tensor([[0.0], [1.0], [1.0]], device=DEVICE),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.6], [0.3, 0.3, 0.2, 0.2], [0.6, 0.5, 0.7, 0.5]], device=DEVICE),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0], device=DEVICE),
    }
    with use_backend(backend), torch.autocast(DEVICE, dtype, enabled=dtype != torch.float32):
        loss, _ = network(batch)
    with use_backend(backend):
        loss.backward()
    return loss.detach(), {name: p.grad for name, p in network.named_parameters() if p.requires_grad}


def _compare(content, size, dtype):
    loss, grads = _step(content, size, dtype, "triton")
    expected, wanted = _step(content, size, dtype, "pytorch")
    tolerance = 1e-3 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(loss, expected, rtol=tolerance, atol=0)
    size_of_all = torch.stack([g.float().norm() for g in wanted.values()]).norm()
    for name, grad in grads.items():
        assert grad is not None, f"{name} has no gradient"
        error = (grad - wanted[name]).float().norm()
        assert error <= tolerance * (wanted[name].float().norm() + 0.02 * size_of_all), name


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)], ids=str)
def test_a_training_step_equals_pytorchs(dtype):
    _compare(SMALL, 32, dtype)


def test_evaluation_equals_pytorchs():
    torch.manual_seed(0)
    network = DetectionModel(SMALL, verbose=False).to(DEVICE).eval()
    x = torch.rand(2, 3, 32, 64, device=DEVICE)
    outputs = {}
    for fused in (False, True):
        if fused:
            network.fuse(verbose=False)
        for backend in ("triton", "pytorch"):
            with use_backend(backend), torch.no_grad():
                outputs[fused, backend] = network(x)[0]
    for result in outputs.values():
        torch.testing.assert_close(result, outputs[False, "pytorch"], rtol=1e-4, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ADDED)
def test_each_added_network_trains_a_step(name, dtype):
    _compare(f"{name}.yaml", 256, dtype)


@pytest.mark.gpu
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer_finds_nothing(tool):
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed (it comes with the CUDA toolkit)")
    tests = sorted(str(path) for path in Path(__file__).parent.glob("test_kernel_*.py"))
    # torch's caching allocator would hide reads past the end of a tensor
    command = ["env", "PYTORCH_NO_CUDA_MEMORY_CACHING=1", sanitizer, "--tool", tool, "--error-exitcode", "9"]
    if (
        tool == "memcheck"
    ):  # calls that fail and are dealt with, as when PyTorch looks for things, are no fault of a kernel
        command[-2:-2] = ["--report-api-errors", "no"]
    command += [sys.executable, "-m", "pytest", "-x", "-k", "not compile", *tests]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
