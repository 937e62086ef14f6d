"""The benchmark script runs to the end, prints a row per implementation, and no figure for what was not measured."""

import mmap
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import addmodules
import baselines
import implementations
import measure
import operators
import pytest
import roofline
import torch
import training
from torch.overrides import TorchFunctionMode

ROOT = Path(__file__).resolve().parents[2]
TIME = re.compile(r"\d ±\d|\.\d+×|\d ms|1/\d|\d ?%")  # how the tables write what was measured
HEADING = re.compile(r"(GPU|CPU|test), \d+ threads, PyTorch \d.*, torch\.\w+, wall clock, median of \d+")


def _script(*options):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "addmodules.py"),
        "--repeat",
        "1",
        "--shapes",
        "tiny",
        *options,
    ]
    done = subprocess.run(command, env=env, capture_output=True, text=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def _cells(text, start):
    """Cells of the table lines that begin with `start`."""
    return [[c.strip() for c in line.strip("| ").split("|")] for line in text.splitlines() if line.startswith(start)]


def test_everything_runs_on_a_cpu_and_claims_no_time():
    text = _script(
        *"--tables operators steps --roofline --only dlka acmix akconv net-akconv".split(),  # noqa: SIM905
        *"--implementations kernel pytorch sdpa natten baseline".split(),  # noqa: SIM905
    )
    assert HEADING.search(text)
    assert re.search(r"torchvision \S+, triton .*, Python 3\.\d+\.\d+, \d{4}-\d\d-\d\d", text)
    assert not TIME.search(text.partition("× is how many")[0]), "tiny shapes have no figures"
    rows = _cells(text, "| tiny ")
    found = {(row[0], row[1]): row[2:] for row in rows if not row[1].startswith("forward")}
    deform, attention, sampling = map(str, operators.cases("tiny"))
    assert [name for case, name in found if case == deform] == ["Triton kernel", "PyTorch", "torchvision"]
    assert [name for case, name in found if case == sampling] == ["Triton kernel", "PyTorch", "four gathers"]
    of_attention = [name for case, name in found if case == attention]
    assert of_attention == ["Triton kernel", "PyTorch", "SDPA, whole map", "NATTEN", "unfold"]
    for (_, name), cells in found.items():
        if name in ("Triton kernel", "NATTEN"):  # there or not: never a figure
            assert cells[0] == "ran" or cells[0].startswith("not available: ")
        else:
            assert cells[:6] == ["ran"] * 6 and float(cells[6]) < 1e-4
    must = [row for row in rows if row[1].startswith("forward")]
    assert [row[2] for row in must if row[0] == deform] == [
        "0.0048 MB, 0.0075 M multiply-adds",  # (1060 + 75 + 60) * 4 bytes, 5 * 75 * 20
        "0.014 MB, 0.022 M multiply-adds",
    ]
    assert all(row[3] == "ran" and row[5] == "ran" for row in must) and len(must) == 6
    steps = _cells(text, "| yolov8n")
    assert [row[:3] for row in steps] == [
        [net, way, deterministic]
        for deterministic in ("yes", "no")
        for net, way in (("yolov8n.yaml", ""), ("yolov8n-AKConv.yaml", "kernel"), ("yolov8n-AKConv.yaml", "pytorch"))
    ]
    assert all(row[3].startswith("not available: on a CPU") if row[1] == "kernel" else row[3] == "ran" for row in steps)


def test_blocks_and_networks_on_a_cpu(monkeypatch, capsys):
    """Real figures, of sizes for which they mean nothing."""
    block = (lambda: addmodules.AKConv(3, 4, 5), (1, 3, 6, 6), "AKConv of a test")
    monkeypatch.setattr(addmodules, "BLOCKS", {"akconv": block})
    monkeypatch.setattr(addmodules, "NET_SHAPE", (1, 3, 64, 64))
    processes = []

    def process(command, **_):
        monkeypatch.setattr(sys, "argv", command[1:])
        args = addmodules.options()
        processes.append(args.peak)
        assert abs(addmodules.peak_bytes(*args.peak, args.dtype[0], args)) < 1 << 30
        return SimpleNamespace(stdout=f"{(2 if args.peak[1] == 'module' else 5) << 20}\n")

    monkeypatch.setattr(addmodules, "subprocess", SimpleNamespace(run=process))
    monkeypatch.setattr(sys, "argv", ["", "--only", "akconv", "net-akconv", "--repeat", "1", "--roofline"])
    addmodules.main()
    text = capsys.readouterr().out
    assert processes == [["akconv", "module"], ["akconv", "baseline"]]
    time = r" +module +\d+\.\d ms   baseline +\d+\.\d ms +\d+\.\d×  \(target \w+×; spread ±\d+ %\)"
    block, _, net = text[text.index("\nAKConv of") :].partition(
        "\nyolov8n-AKConv.yaml, one training step, (1, 3, 64, 64)\n"
    )
    assert re.search(rf"  forward{time}\n +work: .*\n  forward \+ backward{time}\n +work: ", block)
    assert re.search(
        r"work: 0\.0\d+ MB, 0\.0\d+ M multiply-adds; at least \d+\.\d ms \(\w+\); the module reaches \d+% of", block
    )
    assert "  peak memory         module       2.0 MB   baseline       5.0 MB   1/2.5  (target 1/3)" in block
    assert re.search(rf"^  forward \+ backward{time}   plain \d+\.\d ms: \d+\.\d\d×\n", net)


@pytest.mark.slow
def test_torch_compile_runs_on_a_cpu():
    rows = _cells(_script("--tables", "operators", "--implementations", "compiled", "baseline"), "| tiny ")
    compiled = [row[2:] for row in rows if row[1] == "torch.compile"]
    assert len(compiled) == 3
    assert all(row[:6] == ["ran"] * 6 and float(row[6]) < 1e-4 for row in compiled)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clock", "cpu", "--device", "cuda"], "says nothing about a GPU"),
        (["--shapes", "tiny", "n"], "give it alone"),
        (["--dtype", "float64"], "invalid choice"),
    ],
)
def test_options_that_contradict_each_other(options, message, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", ["addmodules.py", *options])
    with pytest.raises(SystemExit):
        addmodules.options()
    assert message in capsys.readouterr().err


def test_without_a_gpu_cuda_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["addmodules.py", "--device", "cuda"])
    with pytest.raises(SystemExit):
        addmodules.options()
    assert "finds no usable GPU" in capsys.readouterr().err


# ---- a GPU run, on a GPU that is a fake -----------------------------------------------------------------------------


class _OnCpu(TorchFunctionMode):
    """Tensors that are target for on "cuda" are made on the CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def here(value):
            return torch.device("cpu") if str(value).startswith("cuda") else value

        args = [here(a) if isinstance(a, str | torch.device) else a for a in args]
        kwargs = {k: here(v) if k == "device" else v for k, v in (kwargs or {}).items()}
        return func(*args, **kwargs)


class _Event:
    now = 0.0  # milliseconds that the fake GPU has worked

    def __init__(self, enable_timing):
        assert enable_timing
        self.at = None

    def record(self):
        _Event.now += 0.5
        self.at = _Event.now

    def synchronize(self):
        assert self.at is not None

    def elapsed_time(self, end):
        return end.at - self.at


@pytest.fixture
def fake_gpu(monkeypatch):
    """torch.cuda of a GPU on which everything takes half a millisecond and three megabytes."""
    import torch._dynamo  # an optimiser loads it, and in torch 2.4 it looks what kind of class Event is

    for name, value in {
        "is_available": lambda: True,
        "get_device_name": lambda: "test",
        "Event": _Event,
        "synchronize": lambda: None,
        "reset_peak_memory_stats": lambda: None,
        "memory_allocated": lambda: 1 << 20,
        "max_memory_allocated": lambda: 4 << 20,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(training.torch.amp, "GradScaler", lambda *_, **__: _NoScaler())
    monkeypatch.setattr(measure, "FLUSH_BYTES", 1)
    monkeypatch.setitem(measure.WARM_UP, "cuda", 1)
    monkeypatch.setitem(roofline.SIZES, "cuda", (1 << 10, 16))
    for name, value in {"BATCH": 1, "LEVELS": {"P5": 5}, "WIDTHS": {"n": (4,)}, "LARGE": ((5, 1),)}.items():
        monkeypatch.setattr(operators, name, value)
    monkeypatch.setattr(training, "SIZE", 64)
    monkeypatch.setattr(training, "BATCH", 1)
    monkeypatch.setattr(addmodules, "BLOCKS", {"akconv": (lambda: addmodules.AKConv(3, 4, 5), (1, 3, 6, 6), "AKConv")})


class _NoScaler:
    def scale(self, loss):
        return loss

    def step(self, optimizer):
        optimizer.step()

    def update(self):
        pass


def _gpu_run(monkeypatch, capsys, options):
    monkeypatch.setattr(sys, "argv", ["addmodules.py", "--device", "cuda", *options.split()])
    args = addmodules.options()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # torch itself must not look for the GPU
    with _OnCpu():
        addmodules.run(args)
    return capsys.readouterr().out


def test_blocks_and_operators_of_a_gpu_run(fake_gpu, monkeypatch, capsys):
    monkeypatch.setattr(implementations, "why_no_kernel", lambda x: "there is none")
    text = _gpu_run(
        monkeypatch,
        capsys,
        "--roofline --only akconv --shapes n --dtype float32 bfloat16 --implementations kernel pytorch baseline",
    )
    assert len(HEADING.findall(text)) == 2 and "TF32 products False" in text and "at best: copy " in text
    assert text.count("forward             module       0.5 ms   baseline       0.5 ms      1.0×  (spread ±0 %)") == 2
    assert text.count("peak memory         module       3.0 MB   baseline       3.0 MB   1/1.0") == 2
    assert text.count("work: ") == 4
    case = "n P5 1×2×10×10 → 4, N=3, stride 2"
    assert text.count(f"| {case} | Triton kernel | not available: there is none | | | | | | |") == 2
    assert text.count(f"| {case} | PyTorch | 0.500 ±0 % | 1.00× | 0.500 ±0 % | 1.00× | 3.0 | 1/1.0 | ") == 2
    assert text.count("measured: nothing") == 2
    assert "Training step" not in text  # no network was target for


@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")  # so says autocast
def test_steps_of_a_gpu_run(fake_gpu, monkeypatch, capsys):
    monkeypatch.setattr(training, "why_no_kernel", lambda device: "there is none")
    text = _gpu_run(monkeypatch, capsys, "--tables steps --only net-akconv --repeat 1 --implementations kernel pytorch")
    steps = {tuple(row[:3]): row[3:] for row in _cells(text, "| yolov8n")}
    assert len(steps) == 6 and "64 px, batch 1, mixed precision" in text
    assert steps["yolov8n.yaml", "", "yes"] == ["0.500 ±0 %", "", "", "3"]
    assert steps["yolov8n-AKConv.yaml", "pytorch", "no"] == ["0.500 ±0 %", "1.00", "1.15", "3"]
    assert steps["yolov8n-AKConv.yaml", "kernel", "no"][0] == "not available: there is none"


NO_MEMORY = "failed: OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB"
SMALL_RUN = "--shapes n --dtype float32 --repeat 1 --implementations pytorch baseline"


def _too_large(*_):
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


def test_an_implementation_that_does_not_fit_into_memory_does_not_end_a_gpu_run(fake_gpu, monkeypatch, capsys):
    monkeypatch.setattr(baselines, "four_gathers", _too_large)
    monkeypatch.setattr(operators, "four_gathers", _too_large)
    text = _gpu_run(monkeypatch, capsys, f"{SMALL_RUN} --only akconv --tables blocks operators")
    assert f"AKConv\n  akconv {NO_MEMORY}\n" in text
    pytorch, gathers = _cells(text, "| n P5 1×2×10×10 → 4")
    assert gathers[1:3] == ["four gathers", NO_MEMORY]
    assert pytorch[1:] == ["PyTorch", "0.500 ±0 %", "–", "0.500 ±0 %", "–", "3.0", "–", "–"]


def test_an_implementation_that_does_not_fit_beside_the_others_does_not_end_a_gpu_run(fake_gpu, monkeypatch, capsys):
    calls, unfolded = [], operators.unfolded_attention

    def fits_alone(*given):
        calls.append(given)
        return unfolded(*given) if len(calls) <= 4 else _too_large()

    monkeypatch.setattr(operators, "unfolded_attention", fits_alone)
    text = _gpu_run(monkeypatch, capsys, f"{SMALL_RUN} --only acmix --tables operators")
    pytorch, unfold = _cells(text, "| n P5 1×4×5×5 ")
    assert len(calls) == 5 and unfold[1:3] == ["unfold", NO_MEMORY]
    assert pytorch[2:8] == ["0.500 ±0 %", "–", "0.500 ±0 %", "–", "3.0", "–"] and float(pytorch[8]) < 1e-4


@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")  # so says autocast
def test_a_network_that_does_not_fit_does_not_end_a_gpu_run(fake_gpu, monkeypatch, capsys):
    make_step = training.make_step
    monkeypatch.setattr(
        training, "make_step", lambda net, *a: (_too_large if net == training.BASE else make_step)(net, *a)
    )
    steps = _cells(_gpu_run(monkeypatch, capsys, f"{SMALL_RUN} --only net-akconv --tables steps"), "| yolov8n")
    assert [row[3:] for row in steps] == [[NO_MEMORY], ["0.500 ±0 %", "–", "1.15", "3"]] * 2


def test_the_timer_overwrites_the_cache_before_it_starts(fake_gpu, monkeypatch):
    order = []
    monkeypatch.setattr(_Event, "record", lambda self: order.append("event") or setattr(self, "at", len(order)))
    with _OnCpu():
        timer = measure.Timer("cuda")
    timer._buffer = SimpleNamespace(zero_=lambda: order.append("flush"))
    assert timer(lambda: order.append("work")) == pytest.approx(0.002)  # two things after the first event
    assert order == ["flush", "event", "work", "event"]


@pytest.mark.parametrize("enabled", [True, False])
def test_determinism_lasts_for_the_block(enabled, monkeypatch):
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)

    def now():
        filled = torch.utils.deterministic.fill_uninitialized_memory
        return torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic, filled

    before = now()
    with pytest.raises(KeyError), measure.determinism(enabled):
        assert now() == (enabled, enabled, False)  # as in the trainer
        raise KeyError
    assert now() == before


def test_calls_take_turns_after_a_warm_up():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "ab"}
    taken = measure.Timer("cpu", clock="cpu").in_turns(works, 2)
    assert order == list("ab" * 3)
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 2, "b": 2}


def test_peak_of_resident_memory_is_that_of_the_call():
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc, which is Linux's")
    size = 64 << 20

    def touch():
        with mmap.mmap(-1, size) as pages:  # new pages: the heap may hold memory that earlier tests left
            for page in range(0, size, mmap.PAGESIZE):
                pages[page] = 1

    peak = measure.resident_peak(touch)
    assert 0.9 * size < peak < 1.5 * size
