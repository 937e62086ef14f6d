"""A training step of the networks with an added module against the plain network, as the trainer runs it.

Forward, loss, backward, optimizer step; on a GPU in mixed precision with scaled gradients. Measured with deterministic
algorithms, which is the trainer's default, and without.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import implementations
import torch
from measure import Timer, determinism, gpu_peak, milliseconds, one_line
from table import RAN, Plan

from ultralytics.cfg import get_cfg
from ultralytics.engine.optimizer import build_optimizer
from ultralytics.nn.ops.backends import Backend
from ultralytics.nn.tasks import DetectionModel

BASE = "yolov8n.yaml"
NETS = {"net-dlka": "yolov8n-DLKA.yaml", "net-acmix": "yolov8n-ACmix.yaml", "net-akconv": "yolov8n-AKConv.yaml"}
TARGETS = {"net-dlka": 1.5, "net-acmix": 1.3, "net-akconv": 1.15}  # ratio to the plain network's step
SIZE, BATCH = 640, 16
TINY_SIZE, TINY_BATCH = 64, 1
INSTANCES = 8  # per image
KERNEL_BACKENDS: dict[str, Backend] = {"kernel": "triton", "pytorch": "pytorch"}


def make_step(yaml: str, device: str, size: int, batch: int) -> Callable[[], None]:
    """One training step of a new network on a random batch."""
    torch.manual_seed(0)
    model = DetectionModel(yaml, verbose=False)
    model.args = get_cfg()
    model = model.to(device).to(memory_format=torch.channels_last).train()
    amp = device == "cuda"
    scaler = torch.amp.GradScaler("cuda", enabled=amp)
    optimizer = build_optimizer(model, "SGD", 0.01, 0.937, 5e-4)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8).to(device)
    targets = {
        "cls": torch.randint(0, 80, (INSTANCES * batch, 1)).float(),
        "bboxes": torch.rand(INSTANCES * batch, 4) * 0.4 + 0.2,
        "batch_idx": torch.arange(batch).repeat_interleave(INSTANCES).float(),
    }
    targets = {key: value.to(device) for key, value in targets.items()}

    def step() -> None:
        with torch.autocast(device, enabled=amp):
            x = images.to(dtype=torch.float32, memory_format=torch.channels_last).div_(255)
            loss, _ = model({**targets, "img": x})
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def why_no_kernel(device: str) -> str:
    """Why whole networks cannot use the kernels here; "" if they can."""
    if device == "cpu":
        return "on a CPU it runs only in Triton's interpreter, which is for single operators"
    return implementations.why_no_kernel(torch.zeros(1, device=device))


def report(plan: Plan) -> None:
    """Print one table for all selected networks."""
    nets = [key for key in plan.only if key in NETS]
    operators = [name for name in plan.implementations if name in KERNEL_BACKENDS]
    if not nets:
        return
    size, batch = (TINY_SIZE, TINY_BATCH) if plan.tiny else (SIZE, BATCH)
    precision = "mixed precision" if plan.device == "cuda" else "float32"
    print(f"\nTraining step, {size} px, batch {batch}, {precision}\n")
    print("| network | operators | deterministic | step, ms | ratio to the plain step | target | peak, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    timer = Timer(plan.device, flush=False)
    for enabled in (True, False):
        with determinism(enabled):
            print("\n".join(_rows(nets, operators, size, batch, timer, plan, "yes" if enabled else "no")), flush=True)


def _rows(
    nets: list[str], operators: list[str], size: int, batch: int, timer: Timer, plan: Plan, deterministic: str
) -> list[str]:
    steps: dict[str, Callable[[], None]] = {}
    reasons: dict[str, str] = {}
    names = {"base": (BASE, "")} | {
        f"{net} {operator}": (NETS[net], operator) for net in nets for operator in operators
    }
    for name, (yaml, operator) in names.items():
        if operator == "kernel" and (reason := why_no_kernel(plan.device)):
            reasons[name] = f"not available: {reason}"
            continue
        try:
            step = make_step(yaml, plan.device, size, batch)
            steps[name] = implementations.with_backend(step, KERNEL_BACKENDS[operator]) if operator else step
            steps[name]()
        except Exception as e:  # noqa: BLE001  one network's failure, such as out of memory, is a table row
            reasons[name] = f"failed: {one_line(e)}"
            steps.pop(name, None)
    times = timer.in_turns(steps, plan.repeat, reasons)
    lines = []
    for name, (yaml, operator) in names.items():
        head = f"| {yaml} | {operator} | {deterministic} |"
        if name in reasons:
            lines.append(f"{head} {reasons[name]} | | | |")
            continue
        cells = [RAN if plan.tiny else milliseconds(times[name]), "", ""]
        if operator:
            plain = [] if plan.tiny or "base" in reasons else times["base"]
            ratio = f"{statistics.median(times[name]) / statistics.median(plain):.2f}" if plain else "–"
            cells[1:] = ratio, str(TARGETS[name.split()[0]])
        lines.append(f"{head} {' | '.join((*cells, _peak(steps[name], plan)))} |")
    return lines


def _peak(step: Callable[[], None], plan: Plan) -> str:
    return f"{gpu_peak(step) / 2**20:.0f}" if plan.device == "cuda" else "–"
