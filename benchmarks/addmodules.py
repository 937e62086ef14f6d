"""Time and memory of the added modules against baselines from published code, all measured in one run.

    python benchmarks/addmodules.py                        the three blocks and the three networks, float32, on the CPU
    python benchmarks/addmodules.py --only dlka --repeat 9
    python benchmarks/addmodules.py --roofline             also: lower bounds from the machine's rates
    python benchmarks/addmodules.py --device cuda --roofline   also the operators alone and training steps
    python benchmarks/addmodules.py --device cuda --tables operators --dtype bfloat16 --shapes n --only dlka
    python benchmarks/addmodules.py --tables blocks operators steps --shapes tiny --repeat 1     does it all run here?

Tables: "blocks", whole modules and networks against their baselines; "operators", the three operators at YOLO's shapes
(P3–P5 of 640 px, batch 16) against alternatives with the same result; "steps", training steps of networks against plain
yolov8n. The baselines (baselines.py) are written from the papers' formulas in the way of published code.
All implementations use the same weights and inputs and take turns; a figure is the median. torch.compile takes by far
the longest of the operators, since it compiles for every shape: `--implementations` can leave it out. In "blocks",
memory is the peak beyond the inputs of one forward and backward pass, on a CPU the resident memory of a new process.
`--clock cpu` measures processor time, for a machine that is shared.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import logging
import platform
import statistics
import subprocess
import sys
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import roofline
import table
import torch
import training
from baselines import baseline
from implementations import IMPLEMENTATIONS
from measure import Timer, determinism, gpu_peak, one_line, resident_peak, spread
from torch import Tensor, nn

from ultralytics.nn.Addmodules.acmix import ACmix
from ultralytics.nn.Addmodules.akconv import AKConv
from ultralytics.nn.Addmodules.dlka import deformable_LKA_Attention
from ultralytics.nn.ops import backends
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

BLOCKS = {
    "akconv": (lambda: AKConv(64, 128, 5), (4, 64, 80, 80), "AKConv 64→128, N=5, (4, 64, 80, 80)"),
    "acmix": (lambda: ACmix(64, 64), (4, 64, 80, 80), "ACmix 64→64, (4, 64, 80, 80)"),
    "dlka": (lambda: deformable_LKA_Attention(32), (4, 32, 80, 80), "D-LKA attention, (4, 32, 80, 80)"),
}
NETS = {net: (yaml, training.BASE) for net, yaml in training.NETS.items()}
NET_SHAPE = (8, 3, 320, 320)
TARGETS = {  # ratios baseline / module of forward, forward + backward, memory; on two cores in float32
    "akconv": (6, 4, 3),
    "acmix": (12, 8, 10),
    "dlka": (6, 12, 3),
    "net-dlka": (None, 8, None),
    "net-acmix": (None, 3, None),
    "net-akconv": (None, 2, None),
}
TABLES = {"cpu": ["blocks"], "cuda": ["blocks", "operators", "steps"]}
DTYPES = {"cpu": ["float32"], "cuda": ["float32", "bfloat16", "float16"]}
REPEAT = {"cpu": 5, "cuda": 20}
TINY_MAP, TINY_IMAGE = 6, 64


def make(case: str, variant: str, args: argparse.Namespace) -> tuple[nn.Module, Tensor]:
    """Module and input of one variant: "module", its "baseline", or "plain", the network without the added module."""
    torch.manual_seed(0)
    if case in BLOCKS:
        build, shape, _ = BLOCKS[case]
        m = build()
        if isinstance(m, AKConv):
            nn.init.normal_(m.p_conv.weight, std=0.02)  # offsets differ from pixel to pixel, as after training
    else:
        shape = NET_SHAPE
        m = DetectionModel(NETS[case][variant == "plain"], verbose=False)
    if args.tiny:
        size = TINY_MAP if case in BLOCKS else TINY_IMAGE
        shape = (1, shape[1], size, size)
    m = m.to(args.device).train()
    x = torch.randn(shape, device=args.device)
    if variant == "baseline":  # in contiguous memory, as published code runs
        return baseline(m), x
    return m.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)


def step(m: nn.Module, x: Tensor, dtype: torch.dtype, backward: bool) -> None:
    x.grad = None
    with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32), torch.set_grad_enabled(backward):
        y = m(x)
    if backward:
        parts = y if isinstance(y, (list, tuple)) else [y]
        # gradients in the memory format of the output, as a next layer would pass them
        torch.autograd.backward(parts, [p.detach() for p in parts])
        m.zero_grad(set_to_none=True)


def peak_bytes(case: str, variant: str, dtype: torch.dtype, args: argparse.Namespace) -> int:
    """Peak memory of one training step in bytes, beyond inputs and weights."""
    m, x = make(case, variant, args)
    x.requires_grad_()
    size = 16 if case in BLOCKS else 64
    if args.device == "cuda":
        step(m, x, dtype, True)  # kernels are autotuned for this size, which allocates memory
        return gpu_peak(lambda: step(m, x, dtype, True))
    small = x[:1, :, :size, :size].detach().clone().requires_grad_()
    step(copy.deepcopy(m), small, dtype, True)  # loads libraries before the measurement
    return resident_peak(lambda: step(m, x, dtype, True))


def peak_in_processes(case: str, variant: str, dtype: torch.dtype, args: argparse.Namespace) -> float:
    """Median over new processes, since the memory that libraries and the heap keep varies by tens of megabytes."""
    command = [sys.executable, __file__, "--peak", case, variant, "--threads", str(args.threads)]
    command += ["--dtype", roofline.name(dtype), *(["--shapes", "tiny"] if args.tiny else [])]
    runs = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(args.repeat))
    return statistics.median(int(run.stdout.split()[-1]) for run in runs)


def report(case: str, dtype: torch.dtype, timer: Timer, rates: roofline.Rates | None, args: argparse.Namespace) -> None:
    """Print the figures of one block or network for all variants."""
    variants, on_cpu = ("module", "baseline", *(["plain"] if case in NETS else [])), args.device == "cpu"
    pairs = {variant: make(case, variant, args) for variant in variants}
    print(f"\n{BLOCKS[case][2] if case in BLOCKS else f'{NETS[case][0]}, one training step, {NET_SHAPE}'}")
    for title, backward, target in (
        ("forward", False, TARGETS[case][0]),
        ("forward + backward", True, TARGETS[case][1]),
    ):
        if case in NETS and not backward:
            continue
        for _, x in pairs.values():
            x.requires_grad_(backward)
        works = {variant: partial(step, m, x, dtype, backward) for variant, (m, x) in pairs.items()}
        times = timer.in_turns(works, args.repeat)
        if args.tiny:
            print(f"  {title:20}{', '.join(times)}: {table.RAN}")
            continue
        ms = {variant: 1e3 * statistics.median(t) for variant, t in times.items()}
        text = f"  {title:20}module {ms['module']:9.1f} ms   baseline {ms['baseline']:9.1f} ms   "
        text += f"{ms['baseline'] / ms['module']:6.1f}×  ({f'target {target}×; ' if on_cpu else ''}"
        text += f"spread ±{100 * max(map(spread, times.values())):.0f} %)"
        print(text + (f"   plain {ms['plain']:.1f} ms: {ms['module'] / ms['plain']:.2f}×" if "plain" in ms else ""))
        if rates and case in BLOCKS:
            print(_lower_bound(*pairs["module"], dtype, backward, ms["module"], rates))
    if case in BLOCKS:
        peak = peak_in_processes if on_cpu else peak_bytes
        mb = {variant: peak(case, variant, dtype, args) / 2**20 for variant in variants}
        if args.tiny:
            print(f"  {'peak memory':20}{', '.join(mb)}: {table.RAN}")
            return
        text = f"  {'peak memory':20}module {mb['module']:9.1f} MB   baseline {mb['baseline']:9.1f} MB   "
        print(text + f"1/{mb['baseline'] / mb['module']:.1f}" + (f"  (target 1/{TARGETS[case][2]})" if on_cpu else ""))


def _lower_bound(m: nn.Module, x: Tensor, dtype: torch.dtype, backward: bool, ms: float, rates: roofline.Rates) -> str:
    B, C, H, W = x.shape
    work = roofline.total(roofline.block(m, (B, C, H, W)), dtype.itemsize, backward)
    seconds, limit = rates.least(work, dtype)
    text = f"  {'':20}work: {roofline.describe(work)}; at least {1e3 * seconds:.1f} ms ({limit}); "
    return text + f"the module reaches {1e3 * seconds / ms:.0%} of that"


def heading(dtype: torch.dtype, args: argparse.Namespace) -> str:
    """Device, versions, precision, repetitions, date, and the backend of this package's operators."""
    cuda = args.device == "cuda"
    name = torch.cuda.get_device_name() if cuda else f"{platform.processor() or platform.machine()} CPU"
    text = f"{name}, {args.threads} threads, PyTorch {torch.__version__}, {dtype}, {args.clock} clock, "
    text += f"median of {args.repeat}{', deterministic algorithms' if args.deterministic else ''}\n"
    text += ", ".join(f"{package} {_version(package)}" for package in ("torchvision", "triton", "natten"))
    if cuda:
        tf32 = f"TF32 products {torch.backends.cuda.matmul.allow_tf32}, convolutions {torch.backends.cudnn.allow_tf32}"
        text += f", CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, {tf32}"
    return f"{text}, Python {platform.python_version()}, {datetime.date.today().isoformat()}\n{backends.report()}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def options() -> argparse.Namespace:
    """The command line, with the defaults of the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", nargs="+", choices=["float32", "bfloat16", "float16"], help="on a GPU all three")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, help="5, on a GPU 20")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"])
    parser.add_argument("--only", nargs="*", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--tables", nargs="+", choices=TABLES["cuda"], help="blocks, on a GPU all three")
    parser.add_argument("--shapes", nargs="+", choices=["n", "s", "tiny"], default=["n", "s"], help="widths of YOLO")
    parser.add_argument(
        "--implementations",
        nargs="+",
        choices=IMPLEMENTATIONS,
        default=list(IMPLEMENTATIONS),
        help="in operators, steps",
    )
    parser.add_argument("--deterministic", action="store_true", help="algorithms; steps are measured with and without")
    parser.add_argument("--roofline", action="store_true", help="lower bounds, and the share of them that is reached")
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "VARIANT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no usable GPU here; leave it out to measure the CPU")
    if args.device == "cuda" and args.clock == "cpu":
        parser.error("--clock cpu: processor time says nothing about a GPU")
    args.tiny = "tiny" in args.shapes
    if args.tiny and len(args.shapes) > 1:
        parser.error("--shapes tiny: tests only whether everything runs, and prints no figures; give it alone")
    args.dtype = [getattr(torch, name) for name in args.dtype or DTYPES[args.device]]
    args.repeat = args.repeat or REPEAT[args.device]
    args.tables = args.tables or TABLES[args.device]
    return args


def main() -> None:
    run(options())


def run(args: argparse.Namespace) -> None:
    """Measure and print the selected tables."""
    LOGGER.setLevel(logging.WARNING)  # each new network and optimizer logs a line
    torch.set_num_threads(args.threads)
    if args.peak:
        case, variant = args.peak
        print(peak_bytes(case, variant, args.dtype[0], args))
        return
    timer = Timer(args.device, args.clock)
    rates = roofline.measure_rates(timer, args.dtype, args.repeat, args.tiny) if args.roofline else None
    plan = table.Plan(timer, args.repeat, args.implementations, args.only, args.tiny)
    for dtype in args.dtype:
        print(heading(dtype, args), flush=True)
        if rates and not args.tiny:
            print(f"at best: {rates}")
        with determinism(args.deterministic):
            if "blocks" in args.tables:
                for case in args.only:
                    try:
                        report(case, dtype, timer, rates, args)
                    except Exception as e:  # noqa: BLE001  such as a baseline that runs out of memory
                        print(f"  {case} failed: {one_line(e)}", flush=True)
            if "operators" in args.tables:
                table.report(args.shapes, dtype, plan, rates)
        print()
    if "operators" in args.tables:
        print(table.LEGEND)
    if "steps" in args.tables:
        training.report(plan)


if __name__ == "__main__":
    main()
