"""The choice between kernels and PyTorch: automatic, by hand, and with a reason that can be read."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from ultralytics.nn.ops import backends, sample_points, use_backend

CUDA = torch.cuda.is_available()
LAUNCHES = "Triton wants a C compiler and the headers of Python to launch them"
interpreter = pytest.mark.skipif(
    CUDA or backends._missing() != "" or backends._not_interpreted() != "",
    reason="wants Triton and its interpreter in place of a GPU",
)


def _inputs():
    return torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)


def test_a_cpu_takes_pytorch_without_a_word(caplog):
    assert not backends.uses_triton(torch.zeros(1))
    sample_points(*_inputs())
    assert not caplog.records


def test_an_unknown_back_end_is_named():
    with pytest.raises(ValueError, match=r"one of auto, triton, pytorch, not 'cuda'"), use_backend("cuda"):
        pass


def test_the_choice_ends_with_its_block_and_with_an_error():
    with pytest.raises(KeyError), use_backend("pytorch"):
        raise KeyError
    assert backends._Wanted.backend == "auto"


@interpreter
def test_blocks_may_be_nested():
    x = torch.zeros(1)
    with use_backend("triton"):
        assert backends.uses_triton(x)
        with use_backend("pytorch"):
            assert not backends.uses_triton(x)
        assert backends.uses_triton(x)
    assert not backends.uses_triton(x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32])
@interpreter
def test_what_kernels_cannot_compute_is_an_error_when_they_are_asked_for(dtype):
    with use_backend("triton"), pytest.raises(RuntimeError, match=f"not in {str(dtype)[6:]}"):
        backends.uses_triton(torch.zeros(1, dtype=dtype))


class _OnAGpu:
    """As much of a tensor as the choice looks at."""

    is_cuda, dtype, device = True, torch.float32, torch.device("cuda", 0)


@pytest.mark.parametrize(
    "missing, old, says",
    [
        ("", "", None),
        ("Triton is not installed", "", "Triton is not installed"),
        ("", "compute capability (6, 1)", "compute capability (6, 1)"),
    ],
)
def test_a_gpu_that_falls_back_says_so_once(monkeypatch, missing, old, says):
    monkeypatch.setattr(backends, "_missing", lambda: missing)
    monkeypatch.setattr(backends, "_gpu_too_old", lambda index: old)
    backends._warn_once.cache_clear()
    backends._announce_once.cache_clear()
    warnings, told = [], []
    monkeypatch.setattr(backends.LOGGER, "warning", warnings.append)
    monkeypatch.setattr(backends.LOGGER, "info", told.append)
    for _ in range(3):
        assert backends.uses_triton(_OnAGpu()) == (says is None)
    assert [says in text for text in warnings] == ([True] if says else [])
    assert ["Triton kernels; the first steps compile them" in text for text in told] == ([] if says else [True])
    backends._announce_once.cache_clear()


def test_a_traced_graph_holds_plain_operators_on_a_gpu_too(monkeypatch):
    monkeypatch.setattr(backends, "_missing", lambda: "")
    monkeypatch.setattr(backends, "_gpu_too_old", lambda index: "")
    monkeypatch.setattr(backends, "_announce_once", lambda: None)
    monkeypatch.setattr(backends, "_warn_once", pytest.fail)
    chosen = []

    def sampled(x, points):
        chosen.append(backends.uses_triton(_OnAGpu()))
        return sample_points(x, points)

    sampled(*_inputs())
    traced = torch.jit.trace(sampled, _inputs(), check_trace=False)
    assert chosen == [True, False]
    # the kinds alone: the graph's text names source files, whose folder may be called as it likes
    assert {node.kind().split("::")[0] for node in traced.inlined_graph.nodes()} == {"aten", "prim"}
    assert "prim::PythonOp" not in {node.kind() for node in traced.inlined_graph.nodes()}


@interpreter
def test_a_kernel_cannot_be_asked_for_in_a_traced_graph():
    with use_backend("triton"), pytest.raises(RuntimeError, match="traced or exported graph"):
        torch.jit.trace(sample_points, _inputs(), check_trace=False)


@pytest.mark.parametrize("capability, fits", [((7, 5), False), ((8, 0), True), ((8, 9), True), ((9, 0), True)])
def test_gpus_older_than_triton_supports_take_pytorch(capability, fits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    assert (backends._gpu_too_old(0) == "") == fits


def test_the_report_names_the_back_end_and_the_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert backends.report() == "added modules: PyTorch operators (the Triton kernels need a CUDA GPU)"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(backends, "_missing", lambda: "")
    assert backends.report() == "added modules: Triton kernels"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (6, 1))
    assert backends.report().endswith("(the GPU has compute capability (6, 1), and (8, 0) is needed)")


def test_the_environment_may_ask_for_pytorch(monkeypatch):
    monkeypatch.setenv("YOLO_KERNELS", "PyTorch")
    assert backends._load_kernels.__wrapped__() == "the environment variable YOLO_KERNELS asks for PyTorch"


def test_triton_may_be_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert backends._load_kernels.__wrapped__().startswith("Triton is not installed")


def test_a_triton_that_does_not_load_the_kernels_is_no_error(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "ultralytics.nn.ops.kernels", None)  # an import of it fails
    reason = backends._load_kernels.__wrapped__()
    assert reason.startswith("this version of Triton does not load them (ModuleNotFoundError")


def test_a_triton_that_fails_where_it_finds_no_driver_is_no_error(tmp_path):
    (tmp_path / "triton.py").write_text("raise RuntimeError('0 active drivers')")  # as 3.2 at the first kernel
    code = "from ultralytics.nn.ops import backends; print(backends._missing())"
    env = {**_environment(), "YOLO_KERNELS": "auto"}
    env["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{env['PYTHONPATH']}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert "does not load them (RuntimeError: 0 active drivers)" in done.stdout, done.stderr


@pytest.mark.parametrize("trouble", [RuntimeError("no C compiler"), subprocess.CalledProcessError(1, "cc"), None])
def test_a_machine_on_which_triton_launches_nothing_is_no_error(trouble, monkeypatch):
    runtime = pytest.importorskip("triton.runtime")

    class Driver:
        @property
        def active(self):
            if trouble:
                raise trouble
            return SimpleNamespace(utils=None)

    monkeypatch.setattr(runtime, "driver", Driver())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    reason = backends._load_kernels.__wrapped__()
    assert reason == (f"{LAUNCHES} ({type(trouble).__name__}: {trouble})" if trouble else "")


@pytest.mark.parametrize(
    ("lacks", "says"),
    [
        ("INTERPRETED", "on a CPU they need Triton's interpreter .*TRITON_INTERPRET=1 from the start"),
        ("INTERPRETER_RUNS", "this version of Triton's interpreter does not run them, that of 3.4 does"),
    ],
)
@interpreter
def test_a_cpu_without_the_interpreter_has_no_kernels(lacks, says, monkeypatch):
    monkeypatch.setattr(f"ultralytics.nn.ops.kernels.launch.{lacks}", False)
    says = rf"use_backend\('triton'\): the kernels cannot run here, {says}"
    with use_backend("triton"), pytest.raises(RuntimeError, match=says):
        backends.uses_triton(torch.zeros(1))


def test_the_mark_for_dynamo_is_torchs_own():
    marked = torch.compiler.assume_constant_result(lambda: "")
    assert vars(marked) == {"_dynamo_marked_constant": True}
    assert vars(backends._missing) == vars(marked)


def test_importing_the_operators_does_not_load_dynamo_or_triton():
    code = "import sys, ultralytics.nn.ops; print([m for m in ('torch._dynamo', 'triton') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert done.stdout.strip() == "[]", done.stderr


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
