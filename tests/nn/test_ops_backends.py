"""The choice between Triton kernels and PyTorch: automatic, by the one switch, and with a reason that can be read."""

import importlib.util
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from ultralytics.nn.ops import backends, sample_points, self_test, use_backend

CUDA = torch.cuda.is_available()
OPERATOR = "sample_points"
GPU = torch.device("cuda", 0)
LAUNCHES = "Triton needs a C compiler and the headers of Python to launch them"
interpreter = pytest.mark.skipif(
    CUDA or (backends.load_kernels() or backends.interpreter_missing()) != "",
    reason="needs Triton and its interpreter instead of a GPU",
)


def _inputs():
    return torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)


class _OnGpu:
    """As much of a CUDA tensor as the choice reads."""

    is_cuda, dtype, device = True, torch.float32, GPU


@pytest.fixture
def logged(monkeypatch):
    """Messages as (level, text); each is logged once per process, so this starts from none."""
    messages = []
    monkeypatch.setattr(backends.LOGGER, "log", lambda level, text: messages.append((level, text)))
    backends.log_once.cache_clear()
    yield messages
    backends.log_once.cache_clear()


@pytest.fixture
def load():
    """The kernels are loaded anew in this test, and once more after it."""
    backends.loading_problem.cache_clear()
    yield backends.load_kernels
    backends.loading_problem.cache_clear()


@pytest.fixture
def fake_gpu(monkeypatch, tmp_path):
    """A CUDA device of compute capability 9.0 on which no self-test has run; function (capability) to change it."""
    pytest.importorskip("triton", reason="Triton is not installed")

    def change(capability):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)

    backends.load_kernels()  # before torch says that there is a GPU, which Triton would look for
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "test GPU")
    monkeypatch.setattr(self_test, "VERDICTS", self_test.Verdicts(tmp_path / self_test.FILE_NAME))
    change((9, 0))
    for function in (self_test.key_of, self_test.environment):
        function.cache_clear()
    yield change
    for function in (self_test.key_of, self_test.environment):
        function.cache_clear()


def _outcome(name, dtype, reason, deterministic=False):
    self_test.VERDICTS.put(self_test.key_of(name, dtype, GPU, deterministic), reason)


# ---- the switch ------------------------------------------------------------------------------------------------------


def test_a_cpu_uses_pytorch_without_a_message(logged):
    assert not backends.uses_triton(torch.zeros(1), OPERATOR)
    sample_points(*_inputs())
    assert not logged


def test_an_unknown_backend_is_an_error(monkeypatch):
    with pytest.raises(ValueError, match=r"one of auto, triton, pytorch, not 'cuda'"), use_backend("cuda"):
        pass
    monkeypatch.setenv("YOLO_KERNELS", "cuda")
    with pytest.raises(ValueError, match=r"variable YOLO_KERNELS: .* one of auto, triton, pytorch, not 'cuda'"):
        sample_points(*_inputs())
    assert "YOLO_KERNELS" in backends.report()


def test_the_selection_ends_with_its_block_and_with_an_error():
    with pytest.raises(KeyError), use_backend("pytorch"):
        assert backends.requested_backend() == "pytorch"
        raise KeyError
    assert backends.requested_backend() == "auto"


@pytest.mark.parametrize(
    ("variable", "expected"), [("PyTorch", "pytorch"), ("triton", "triton"), (" auto ", "auto"), ("", "auto")]
)
def test_the_environment_selects_a_backend_and_a_block_takes_precedence(variable, expected, monkeypatch):
    monkeypatch.setenv("YOLO_KERNELS", variable)
    assert backends.requested_backend() == expected
    with use_backend("auto"):
        assert backends.requested_backend() == "auto"


@interpreter
def test_blocks_may_be_nested():
    x = torch.zeros(1)
    with use_backend("triton"):
        assert backends.uses_triton(x, OPERATOR)
        with use_backend("pytorch"):
            assert not backends.uses_triton(x, OPERATOR)
        assert backends.uses_triton(x, OPERATOR)
    assert not backends.uses_triton(x, OPERATOR)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32])
@interpreter
def test_a_dtype_without_kernels_is_an_error_when_triton_is_selected(dtype):
    with use_backend("triton"), pytest.raises(RuntimeError, match=f"not in {str(dtype)[6:]}"):
        backends.uses_triton(torch.zeros(1, dtype=dtype), OPERATOR)


# ---- a GPU -----------------------------------------------------------------------------------------------------------


def test_a_gpu_uses_kernels_that_passed_their_self_test(fake_gpu, logged):
    _outcome(OPERATOR, torch.float32, "")
    assert [backends.uses_triton(_OnGpu(), OPERATOR) for _ in range(3)] == [True] * 3
    assert [level for level, _ in logged] == [logging.INFO]
    assert "Triton kernels; the first steps compile them" in logged[0][1]


def test_a_failed_self_test_falls_back_unless_triton_is_selected(fake_gpu, logged):
    _outcome(OPERATOR, torch.float32, "output in case 1 differs from PyTorch's by 3")
    assert [backends.uses_triton(_OnGpu(), OPERATOR) for _ in range(3)] == [False] * 3
    assert logged == [
        (
            logging.WARNING,
            "the Triton kernel of sample_points in float32 on test GPU failed its self-test, PyTorch's operators are "
            "used instead: output in case 1 differs from PyTorch's by 3",
        )
    ]
    with use_backend("triton"):
        assert backends.uses_triton(_OnGpu(), OPERATOR)


def test_an_old_gpu_falls_back_with_one_warning(fake_gpu, logged):
    fake_gpu((6, 1))
    assert [backends.uses_triton(_OnGpu(), OPERATOR) for _ in range(3)] == [False] * 3
    assert len(logged) == 1 and logged[0][0] == logging.WARNING
    assert "not on the Triton kernels: the GPU has compute capability (6, 1), and (8, 0) is needed" in logged[0][1]


@pytest.mark.parametrize(("capability", "fits"), [((7, 5), False), ((8, 0), True), ((8, 9), True), ((9, 0), True)])
def test_gpus_older_than_triton_supports_use_pytorch(capability, fits, fake_gpu):
    fake_gpu(capability)
    assert (backends.gpu_too_old(0) == "") == fits


def test_a_traced_graph_holds_plain_operators_on_a_gpu_too(fake_gpu, logged):
    _outcome(OPERATOR, torch.float32, "")
    chosen = []

    def sampled(x, points):
        chosen.append(backends.uses_triton(_OnGpu(), OPERATOR))
        return sample_points(x, points)

    sampled(*_inputs())
    traced = torch.jit.trace(sampled, _inputs(), check_trace=False)
    assert chosen == [True, False]
    # the types of nodes alone: the graph's text contains names of source files
    assert {node.kind().split("::")[0] for node in traced.inlined_graph.nodes()} == {"aten", "prim"}
    assert "prim::PythonOp" not in {node.kind() for node in traced.inlined_graph.nodes()}
    assert [level for level, _ in logged] == [logging.INFO], "tracing is no reason to warn"


@interpreter
def test_a_kernel_cannot_be_selected_in_a_traced_graph():
    with use_backend("triton"), pytest.raises(RuntimeError, match="traced or exported graph"):
        torch.jit.trace(sample_points, _inputs(), check_trace=False)


# ---- the report ------------------------------------------------------------------------------------------------------


def test_the_report_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert backends.report() == "added modules: PyTorch operators (the Triton kernels need a CUDA GPU)"
    monkeypatch.setenv("YOLO_KERNELS", "pytorch")
    assert backends.report() == "added modules: PyTorch operators (YOLO_KERNELS=pytorch)"


def test_the_report_names_the_state_of_each_operator_and_dtype(fake_gpu, monkeypatch):
    _outcome("sample_conv", torch.float32, "")
    _outcome("sample_conv", torch.float32, "", deterministic=True)
    _outcome("sample_conv", torch.float16, "", deterministic=True)
    _outcome("window_attention", torch.bfloat16, "")
    _outcome("window_attention", torch.bfloat16, "RuntimeError: no", deterministic=True)
    lines = backends.report().splitlines()
    assert lines[0] == "added modules: Triton kernels where their self-test on test GPU passes"
    assert sorted(lines[1:]) == [
        "  deform_conv2d_depthwise: float32 not tested yet, float16 not tested yet, bfloat16 not tested yet",
        "  sample_conv: float32 passed, float16 passed, bfloat16 not tested yet",
        "  sample_points: float32 not tested yet, float16 not tested yet, bfloat16 not tested yet",
        "  window_attention: float32 not tested yet, float16 not tested yet, bfloat16 failed (RuntimeError: no)",
    ]
    monkeypatch.setenv("YOLO_KERNELS", "triton")
    assert backends.report() == "added modules: Triton kernels, without self-tests (YOLO_KERNELS=triton)"
    monkeypatch.delenv("YOLO_KERNELS")
    fake_gpu((6, 1))
    assert backends.report().endswith("(the GPU has compute capability (6, 1), and (8, 0) is needed)")


# ---- machines without kernels ----------------------------------------------------------------------------------------


def test_triton_may_be_missing(monkeypatch, load):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert load().startswith("Triton is not installed")


def test_a_triton_that_does_not_load_the_kernels_is_no_error(monkeypatch, load):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "ultralytics.nn.ops.kernels", None)  # importing it raises an error
    assert load().startswith("this version of Triton does not load them (ModuleNotFoundError")


def test_a_triton_that_finds_no_driver_is_no_error(tmp_path):
    (tmp_path / "triton.py").write_text("raise RuntimeError('0 active drivers')")  # as 3.2 at the first kernel
    code = "from ultralytics.nn.ops import backends; print(backends.load_kernels())"
    env = _environment()
    env["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{env['PYTHONPATH']}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert "does not load them (RuntimeError: 0 active drivers)" in done.stdout, done.stderr


@pytest.mark.parametrize("error", [RuntimeError("no C compiler"), subprocess.CalledProcessError(1, "cc"), None])
def test_a_machine_on_which_triton_launches_nothing_is_no_error(error, monkeypatch, load):
    runtime = pytest.importorskip("triton.runtime")

    class Driver:
        @property
        def active(self):
            if error:
                raise error
            return SimpleNamespace(utils=None)

    monkeypatch.setattr(runtime, "driver", Driver())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert load() == (f"{LAUNCHES} ({type(error).__name__}: {error})" if error else "")


@pytest.mark.parametrize(
    ("constant", "reason"),
    [
        ("INTERPRETED", "on a CPU they need Triton's interpreter .*TRITON_INTERPRET=1 before Python starts"),
        ("INTERPRETER_RUNS", "the interpreter of this version of Triton does not run them, 3.4 or later does"),
    ],
)
@interpreter
def test_a_cpu_without_the_interpreter_has_no_kernels(constant, reason, monkeypatch):
    monkeypatch.setattr(f"ultralytics.nn.ops.kernels.launch.{constant}", False)
    message = rf"the backend 'triton' is selected, but the kernels cannot run here: {reason}"
    with use_backend("triton"), pytest.raises(RuntimeError, match=message):
        backends.uses_triton(torch.zeros(1), OPERATOR)


def test_the_mark_for_dynamo_is_the_one_that_torch_sets():
    marked = torch.compiler.assume_constant_result(lambda: "")
    assert vars(marked) == {"_dynamo_marked_constant": True}
    assert vars(backends.load_kernels) == vars(marked)


def test_importing_the_operators_loads_neither_dynamo_nor_triton():
    code = "import sys, ultralytics.nn.ops; print([m for m in ('torch._dynamo', 'triton') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert done.stdout.strip() == "[]", done.stderr


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
