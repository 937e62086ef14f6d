"""The one-time self-test of the Triton kernels: what it finds, what it keeps, and when it does not run."""

import json
import re
import threading
from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ultralytics.nn.ops import backends, self_test
from ultralytics.nn.ops.self_test import OPERATORS, Case, Operator, Verdicts, wave
from ultralytics.nn.ops.tracing import is_tracing

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
interpreter = pytest.mark.skipif(
    torch.cuda.is_available() or (backends.load_kernels() or backends.interpreter_missing()) != "",
    reason="needs Triton and its interpreter instead of a GPU",
)


def _operator(kernel):
    """A product of two maps, computed by `kernel`, and one case of it."""
    cases = [Case((wave(2, 3, 4), wave(2, 3, 4, step=1.1)))]
    return Operator("fake", ("x", "weight"), kernel, lambda x, weight: x * weight, lambda: cases)


class _Counted:
    """A correct kernel that counts its calls."""

    calls = 0

    def __call__(self, x, weight):
        self.calls += 1
        return x * weight


@pytest.fixture
def verdicts(tmp_path, monkeypatch):
    """Outcomes in a file of this test, which `backends` uses too; and no outcome known yet."""
    result = Verdicts(tmp_path / "settings" / self_test.FILE_NAME)
    monkeypatch.setattr(self_test, "VERDICTS", result)
    for function in (self_test.key_of, self_test.environment, backends.log_once):
        function.cache_clear()
    yield result
    for function in (self_test.key_of, self_test.environment, backends.log_once):
        function.cache_clear()


@pytest.fixture
def fake(monkeypatch):
    """Function that puts an operator with this kernel into the table that `backends` reads."""
    pytest.importorskip("triton", reason="Triton is not installed")

    def add(kernel):
        monkeypatch.setitem(OPERATORS, "fake", _operator(kernel))

    return add


def _ask(dtype=torch.float32):
    return backends.self_test_failure("fake", dtype, "cpu", 0, is_tracing())


def _raise(error):
    def kernel(x, weight):
        raise error

    return kernel


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_correct_kernel_passes(dtype, verdicts):
    assert self_test.run(_operator(lambda x, weight: x * weight), dtype, CPU, verdicts) == ""


def _half_gradient(x, weight):
    return x.detach() * weight + 0 * x


def _far_off(x, weight):
    out = x * weight
    return out + torch.zeros_like(out).index_fill_(0, torch.tensor([1]), 0.5)  # one image of the batch


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (_far_off, r"output in case 1 differs from PyTorch's by 0\.5, more than 0\.000"),
        (_half_gradient, "gradient of x in case 1 differs"),
        (lambda x, weight: x * weight * float("nan"), "output in case 1 contains NaN or Inf"),
        (lambda x, weight: (x * weight)[:1], r"output in case 1 has the shape \(1, 3, 4\), not \(2, 3, 4\)"),
        (_raise(RuntimeError("Triton Error [CUDA]:\n invalid argument")), "RuntimeError: Triton Error .*invalid arg"),
        (_raise(SyntaxError("at 1:0: cannot compile")), "SyntaxError: at 1:0: cannot compile"),
    ],
)
def test_a_broken_kernel_is_replaced_with_one_warning_that_names_it(kernel, reason, verdicts, fake, monkeypatch):
    fake(kernel)
    warnings = []
    monkeypatch.setattr(backends.LOGGER, "log", lambda level, text: warnings.append(text))
    failures = {_ask() for _ in range(3)}
    assert len(failures) == 1
    (failure,) = failures
    assert re.search(reason, failure)
    assert warnings == [
        "the Triton kernel of fake in float32 on cpu failed its self-test, PyTorch's operators are used instead: "
        + failure
    ]


def test_an_outcome_is_kept_for_later_processes(verdicts, fake, monkeypatch):
    kernel = _Counted()
    fake(kernel)
    assert [_ask(), _ask()] == ["", ""]
    assert kernel.calls == 1
    monkeypatch.setattr(self_test, "VERDICTS", Verdicts(verdicts.file))  # as in a new process
    assert _ask() == ""
    assert kernel.calls == 1
    assert _ask(torch.float16) == ""
    assert kernel.calls == 2, "each dtype has a test of its own"
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert _ask() == ""
    finally:
        torch.use_deterministic_algorithms(False)
    assert kernel.calls == 3, "deterministic algorithms use other kernels"


def test_another_version_is_tested_again(verdicts, fake, monkeypatch):
    kernel = _Counted()
    fake(kernel)
    _ask()
    monkeypatch.setattr(self_test, "FULL_VERSION", "9")
    self_test.environment.cache_clear()
    self_test.key_of.cache_clear()
    assert _ask() == ""
    assert kernel.calls == 2
    assert len(json.loads(verdicts.file.read_text())["outcomes"]) == 2


def test_the_key_names_all_that_decides_which_code_runs(monkeypatch, verdicts):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "test GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    key = json.loads(self_test.key_of("fake", torch.float16, torch.device("cuda", 0), True))
    assert key[:2] == ["test GPU", "9.0"] and key[3] == torch.__version__
    assert key[5:] == [self_test.FULL_VERSION, "fake", "float16", "deterministic"]
    assert "CUDA" in key[2] or "NVRM" in key[2]


def test_a_full_memory_says_nothing_about_the_kernel(verdicts):
    error = torch.OutOfMemoryError("CUDA out of memory")
    assert "OutOfMemoryError" in self_test.run(_operator(_raise(error)), torch.float32, CPU, verdicts, "key")
    assert "OutOfMemoryError" in verdicts.get("key"), "not tried again and again in this process"
    assert Verdicts(verdicts.file).get("key") is None


DAMAGED = [
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"[]",
    b'{"format": 2, "outcomes": {"key": ""}}',
    b'{"format": 1, "outcomes": ["key"]}',
    b'{"format": 1, "outcomes": {"key": 1}}',
    b'{"someone": "else"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_or_foreign_file_is_ignored(content, verdicts):
    verdicts.file.parent.mkdir()
    verdicts.file.write_bytes(content)
    assert verdicts.get("key") is None
    verdicts.put("key", "slow")
    assert Verdicts(verdicts.file).get("key") == "slow"


def test_a_file_that_cannot_be_written_is_no_error(verdicts):
    verdicts.file.mkdir(parents=True)
    verdicts.put("key", "")
    assert verdicts.get("key") == ""


def test_the_file_does_not_grow_without_bound(verdicts):
    verdicts.file.parent.mkdir()
    outcomes = {f"key {i}": "" for i in range(600)}
    verdicts.file.write_text(json.dumps({"format": 1, "outcomes": outcomes}))
    verdicts.put("new", "")
    kept = list(json.loads(verdicts.file.read_text())["outcomes"])
    assert len(kept) == 512 and kept[-2:] == ["key 599", "new"]


def test_several_writers_leave_a_whole_file(verdicts):
    def write(number):
        for i in range(10):
            Verdicts(verdicts.file).put(f"{number} {i}", "")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert json.loads(verdicts.file.read_text())["format"] == 1
    assert list(verdicts.file.parent.iterdir()) == [verdicts.file], "no temporary file is left"


def test_it_runs_in_any_mode_and_leaves_the_random_state_alone(verdicts):
    operator = _operator(lambda x, weight: x * weight)
    before = torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert self_test.run(operator, torch.float32, CPU, verdicts, "inference") == ""
    with torch.no_grad(), torch.device("meta"):
        assert self_test.run(operator, torch.float32, CPU, verdicts, "no_grad") == ""
    assert torch.equal(torch.get_rng_state(), before)


def test_a_graph_that_is_recorded_has_no_self_test(verdicts, fake):
    kernel = _Counted()
    fake(kernel)

    def doubled_without_kernel(x):
        return x * 2 if backends.self_test_failure("fake", x.dtype, "cpu", 0, is_tracing()) else x

    compiled = torch.compile(doubled_without_kernel, fullgraph=True, backend="eager")
    assert compiled(torch.ones(1)).item() == 2
    traced = torch.jit.trace(doubled_without_kernel, torch.ones(1), check_trace=False)
    assert traced(torch.ones(1)).item() == 2
    assert kernel.calls == 0 and not verdicts.file.exists()
    assert _ask() == "" and kernel.calls == 1
    torch.compiler.reset()
    assert compiled(torch.ones(1)).item() == 1, "an outcome that is known is used in a graph"


def test_modes_in_which_it_cannot_run(monkeypatch):
    assert self_test.can_run(CPU)
    with FakeTensorMode():
        assert not self_test.can_run(CPU)
    in_vmap = []
    torch.vmap(lambda x: in_vmap.append(self_test.can_run(CPU)) or x)(torch.zeros(2))
    assert in_vmap == [False]
    for capturing in (True, False):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda c=capturing: c)
        assert self_test.can_run(torch.device("cuda", 0)) is not capturing


# ---- the operators' own cases ----------------------------------------------------------------------------------------


SLOW = {"window_attention"}  # in the interpreter, whose time is that of the loops' iterations


@interpreter
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of the pixels of a tile that are outside the map
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in OPERATORS])
def test_the_kernels_pass(name):
    assert self_test.compare(OPERATORS[name], torch.float32, CPU) == ""


@interpreter
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_the_kernels_pass_in_half_precision_and_with_deterministic_algorithms(name, dtype):
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert self_test.compare(OPERATORS[name], dtype, CPU) == ""
    finally:
        torch.use_deterministic_algorithms(False)


def _without_backward(function):
    return lambda *inputs: (
        function(*(t.detach() if isinstance(t, torch.Tensor) else t for t in inputs))
        + sum(0 * t.nan_to_num(0, 0, 0).sum() for t in inputs if isinstance(t, torch.Tensor))
    )


def _swapped_coordinates(x, points, *rest):
    return OPERATORS["sample_points"].pytorch(x, torch.cat(points.chunk(2, 1)[::-1], 1))


@pytest.mark.parametrize("name", OPERATORS)
def test_the_cases_of_each_operator_find_faults(name):
    operator = OPERATORS[name]
    assert self_test.compare(replace(operator, kernel=operator.pytorch), torch.float32, CPU) == ""
    scaled = replace(operator, kernel=lambda *inputs: operator.pytorch(*inputs) * 1.01)
    assert "output in case 1 differs" in self_test.compare(scaled, torch.float32, CPU)
    constant = replace(operator, kernel=_without_backward(operator.pytorch))
    assert "gradient of" in self_test.compare(constant, torch.float32, CPU)


def test_the_cases_find_rows_and_columns_exchanged():
    transposed = replace(OPERATORS["sample_points"], kernel=_swapped_coordinates)
    assert "differs" in self_test.compare(transposed, torch.bfloat16, CPU)
