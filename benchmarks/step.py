"""Training step and inference on the CPU: this package and the official package 8.3.0, measured in one run.

    python benchmarks/step.py --official path/to/official/python [--threads 2] [--rounds 7]

`make official` makes that environment. Each package runs in a process of its own; the two take turns, burst by burst,
so that changes of the machine's speed affect both. Both use the same number of threads (by default the official package
uses one thread fewer than there are cores, which would be an unfair comparison). Printed: medians, ranges, and the
median of the rounds' ratios. The official package has no AKConv: there the baseline AKConv replaces the same
convolutions, as tutorials do it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

THIS, OFFICIAL = "this package", "ultralytics 8.3.0"
STEPS = {"train": 3, "akconv": 3, "predict": 15, "network": 20}
MEANING = {
    "train": "training step of yolo11n, 320 px, batch 8: forward, loss, backward, clip, optimizer, EMA",
    "akconv": "the same for yolov8n-AKConv; in 8.3.0 with the baseline AKConv, four gathers",
    "predict": "YOLO.predict on one 320x320 array: letterbox to Results",
    "network": "the network alone as predict prepares it (fused), batch 1, 320x320",
}


def worker(package: str, threads: int) -> None:
    """Wait for the name of a case on stdin, run a burst of it, answer with the seconds of each step."""
    import torch

    out, sys.stdout = sys.stdout, sys.stderr  # only answers may reach the pipe
    from ultralytics.utils.torch_utils import init_seeds

    init_seeds(0)
    if package == THIS:
        from ultralytics.utils.torch_utils import keep_freed_memory

        keep_freed_memory()  # as the trainer and the predictor do
    cases = {"train": training_step(package, "yolo11n.yaml"), "akconv": training_step(package, "yolov8n-AKConv.yaml")}
    cases |= inference(package, "yolo11n.yaml")
    for line in sys.stdin:
        case = line.strip()
        torch.set_num_threads(threads)
        # the default of training in both packages
        torch.use_deterministic_algorithms(case in ("train", "akconv"), warn_only=True)
        seconds = []
        for _ in range(STEPS[case]):
            start = time.perf_counter()
            cases[case]()
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), file=out, flush=True)


def training_step(package: str, yaml: str) -> Callable[[], None]:
    """One step of a new network on a random batch, as the package's trainer runs it."""
    import torch

    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils.torch_utils import ModelEMA

    if package == THIS:
        from ultralytics.cfg import get_cfg
        from ultralytics.engine.optimizer import build_optimizer

        model = DetectionModel(yaml, verbose=False).to(memory_format=torch.channels_last)
        model.args = get_cfg()
        optimizer = build_optimizer(model, "AdamW", 1e-3, 0.9, 5e-4)
    else:
        from ultralytics.engine.trainer import BaseTrainer
        from ultralytics.utils import DEFAULT_CFG

        model = DetectionModel(yaml.replace("-AKConv", ""), verbose=False)
        if "-AKConv" in yaml:
            put_baseline_akconv(model)
        model.args = DEFAULT_CFG
        optimizer = BaseTrainer.build_optimizer(None, model, "AdamW", 1e-3, 0.9, 5e-4)
    model.train()
    ema = ModelEMA(model)
    images = random_images()
    generator = torch.Generator().manual_seed(0)
    batch = {
        "cls": torch.randint(0, 80, (64, 1), generator=generator).float(),
        "bboxes": torch.rand(64, 4, generator=generator) * 0.4 + 0.2,
        "batch_idx": torch.arange(64).div(8, rounding_mode="floor").float(),
    }

    def step() -> None:
        if package == THIS:
            x = images.to(dtype=torch.float32, memory_format=torch.channels_last).div_(255)
        else:
            x = images.float() / 255
        loss, _ = model(batch | {"img": x})
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=10.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model)

    return step


def inference(package: str, yaml: str) -> dict[str, Callable[[], Any]]:
    """`predict`, and the network alone."""
    import torch

    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    yolo, network = YOLO(yaml), DetectionModel(yaml, verbose=False)
    x = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(0))
    array = random_images()[0].permute(1, 2, 0).contiguous().numpy()
    if package == THIS:
        from ultralytics.nn.inference.inference_model import get_inference_model

        network = get_inference_model(network, torch.device("cpu"), half=False)
        x = x.contiguous(memory_format=torch.channels_last)
    else:
        network = network.eval().fuse(verbose=False)
    return {
        "predict": lambda: yolo.predict(array, imgsz=320, verbose=False, device="cpu"),
        "network": lambda: torch.inference_mode()(network)(x),
    }


def random_images() -> Any:
    """uint8 (8, 3, 320, 320)."""
    import torch

    return torch.randint(0, 256, (8, 3, 320, 320), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def put_baseline_akconv(model: Any) -> None:
    """Replace convolutions of an official yolov8 by baseline AKConvs where this package's model file has AKConv."""
    from baselines import BaselineAKConv
    from torch import nn

    N = 3  # taps, as in yolov8-AKConv.yaml, which replaces every downsampling convolution except the first
    for i, plain in enumerate(model.model):
        if i == 0 or type(plain).__name__ != "Conv" or plain.conv.stride[0] != 2:
            continue
        c1, c2, stride = plain.conv.in_channels, plain.conv.out_channels, plain.conv.stride[0]
        parts = SimpleNamespace(
            p_conv=nn.Conv2d(c1, 2 * N, 3, stride, 1),
            conv=nn.Sequential(nn.Conv2d(c1, c2, (N, 1), (N, 1), bias=False), plain.bn, plain.act),
            stride=stride,
            shape=[divmod(n, round(N**0.5)) for n in range(N)],
        )
        nn.init.zeros_(parts.p_conv.weight)
        model.model[i] = BaselineAKConv(parts)
        model.model[i].i, model.model[i].f = plain.i, plain.f


def start(python: str, package: str, threads: int) -> subprocess.Popen:
    env = {**os.environ, "YOLO_VERBOSE": "false", "YOLO_OFFLINE": "true", "PYTHONPATH": ""}
    if package == THIS:
        env["PYTHONPATH"] = os.path.dirname(
            os.path.dirname(os.path.abspath(__file__))
        )  # this checkout, installed or not
    command = [python, os.path.abspath(__file__), "--worker", package, "--threads", str(threads)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd="/")


def burst(process: subprocess.Popen, case: str) -> list[float]:
    process.stdin.write(case + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a process ended early; its error is printed above")
    return json.loads(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--official",
        type=os.path.abspath,
        default=".cache/official/bin/python",
        help="python that has ultralytics==8.3.0",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", choices=(THIS, OFFICIAL), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.threads)
        return
    processes = {
        THIS: start(sys.executable, THIS, args.threads),
        OFFICIAL: start(args.official, OFFICIAL, args.threads),
    }
    times: dict[tuple[str, str], list[float]] = {(case, package): [] for case in STEPS for package in processes}
    for case in STEPS:
        for process in processes.values():
            burst(process, case)  # warm-up
        for _ in range(args.rounds):
            for package, process in processes.items():
                times[case, package].append(statistics.median(burst(process, case)))
    for process in processes.values():
        process.stdin.close()
        process.wait()
    import torch

    print(
        f"torch {torch.__version__}, CPU, {args.threads} threads, {args.rounds} rounds in turns; "
        "milliseconds, median (min-max)"
    )
    print(f"{'case':<10}{THIS:>26}{OFFICIAL:>26}{'speedup':>15}")
    for case in STEPS:
        cells = []
        for package in processes:
            ms = [t * 1e3 for t in times[case, package]]
            cells.append(f"{statistics.median(ms):.1f} ({min(ms):.1f}-{max(ms):.1f})")
        # a ratio per round, so that a slow period of the machine affects both packages
        ratio = statistics.median(b / a for a, b in zip(times[case, THIS], times[case, OFFICIAL], strict=True))
        print(f"{case:<10}{cells[0]:>26}{cells[1]:>26}{ratio:>15.2f}")
    for case in STEPS:
        print(f"{case}: {MEANING[case]}")


if __name__ == "__main__":
    main()
