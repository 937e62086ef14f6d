"""What the added modules cost against the code in circulation: time and memory of both sides in one run, as ratios.

    python benchmarks/addmodules.py                        the three blocks and the three networks, float32
    python benchmarks/addmodules.py --device cuda --dtype bfloat16
    python benchmarks/addmodules.py --only dlka --repeat 9

The other side is written here from the papers' formulas in the way people compute them today: AKConv with four gathers,
ACmix with unfolded windows, D-LKA on torchvision.ops.deform_conv2d. Both sides share weights and inputs and take turns;
a figure is the median. Memory is the peak over the inputs of one forward and backward pass, on a CPU measured as
resident memory in a process of its own. `--clock cpu` counts processor time, for a machine that others use too.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ultralytics.nn.Addmodules.acmix import ACmix
from ultralytics.nn.Addmodules.akconv import AKConv
from ultralytics.nn.Addmodules.dlka import DeformConv, deformable_LKA_Attention

# ---- the literal side ----------------------------------------------------------------------------


class LiteralAKConv(nn.Module):
    """AKConv with an index, a gather and a weight for each of the four neighbours."""

    def __init__(self, m: AKConv) -> None:
        super().__init__()
        self.p_conv, self.conv, self.n, self.stride, self.shape = m.p_conv, m.conv, m.num_param, m.stride, m.shape

    def forward(self, x: Tensor) -> Tensor:
        offset = self.p_conv(x)
        B, _, h, w = offset.shape
        H, W = x.shape[2:]
        start = torch.tensor(self.shape, device=x.device, dtype=offset.dtype).t()[..., None, None]  # (2, N, 1, 1)
        row = torch.arange(0, h * self.stride, self.stride, device=x.device, dtype=offset.dtype).view(1, h, 1)
        column = torch.arange(0, w * self.stride, self.stride, device=x.device, dtype=offset.dtype).view(1, 1, w)
        py = (offset[:, : self.n] + start[0] + row).clamp(0, H - 1)  # (B, N, h, w)
        px = (offset[:, self.n :] + start[1] + column).clamp(0, W - 1)
        top, left = py.detach().floor(), px.detach().floor()
        bottom, right = (top + 1).clamp(max=H - 1), (left + 1).clamp(max=W - 1)
        fy, fx = py - top, px - left
        samples = (
            ((1 - fy) * (1 - fx)).unsqueeze(1) * self._gather(x, top, left)
            + (fy * fx).unsqueeze(1) * self._gather(x, bottom, right)
            + ((1 - fy) * fx).unsqueeze(1) * self._gather(x, top, right)
            + (fy * (1 - fx)).unsqueeze(1) * self._gather(x, bottom, left)
        )  # (B, C, N, h, w)
        stacked = samples.permute(0, 1, 3, 2, 4).reshape(B, x.shape[1], h * self.n, w)
        return self.conv(stacked)

    @staticmethod
    def _gather(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
        B, C, _, W = x.shape
        index = (row * W + column).long().view(B, 1, -1).expand(-1, C, -1).contiguous()
        return x.flatten(2).gather(2, index).view(B, C, *row.shape[1:])


class LiteralACmix(nn.Module):
    """ACmix with k, v and the position map unfolded to their windows."""

    def __init__(self, m: ACmix) -> None:
        super().__init__()
        self.m = m

    def forward(self, x: Tensor) -> Tensor:
        m = self.m
        B, _, H, W = x.shape
        d, taps, radius = m.head_dim, m.kernel_att**2, m.kernel_att // 2
        q, k, v = m.conv1(x), m.conv2(x), m.conv3(x)
        across = torch.linspace(-1, 1, W, device=x.device, dtype=x.dtype).expand(H, W)
        down = torch.linspace(-1, 1, H, device=x.device, dtype=x.dtype).unsqueeze(1).expand(H, W)
        pe = m.conv_p(torch.stack((across, down)).unsqueeze(0))

        def windows(z: Tensor) -> Tensor:
            padded = F.pad(z, (radius,) * 4, mode="reflect")
            return F.unfold(padded, m.kernel_att).view(z.shape[0], d, taps, H, W)

        queries = q.view(B * m.head, d, H, W) * d**-0.5
        keys, values = windows(k.view(B * m.head, d, H, W)), windows(v.view(B * m.head, d, H, W))
        scores = (queries.unsqueeze(2) * (keys + pe.unsqueeze(2) - windows(pe))).sum(1)
        attention = (scores.softmax(1).unsqueeze(1) * values).sum(2).view(B, m.head * d, H, W)
        stacked = torch.cat([z.view(B, m.head, d, H * W) for z in (q, k, v)], 1)
        maps = m.fc(stacked).permute(0, 2, 1, 3).reshape(B, -1, H, W)
        return m.rate1 * attention + m.rate2 * m.dep_conv(maps)


class LiteralDeformConv(nn.Module):
    """DeformConv on torchvision's operator."""

    def __init__(self, m: DeformConv) -> None:
        super().__init__()
        self.m = m

    def forward(self, x: Tensor) -> Tensor:
        from torchvision.ops import deform_conv2d

        m = self.m
        return deform_conv2d(x, m.offset_net(x), m.deform_conv.weight, None, m.stride, m.padding, m.dilation)


def literal(m: nn.Module) -> nn.Module:
    """`m` with every added module in it replaced by its literal twin; weights are shared."""
    twins = {AKConv: LiteralAKConv, ACmix: LiteralACmix, DeformConv: LiteralDeformConv}
    if type(m) in twins:
        twin = twins[type(m)](m)
        for name in ("i", "f", "type", "np"):  # what a network notes at its layers
            if hasattr(m, name):
                setattr(twin, name, getattr(m, name))
        return twin
    for name, child in m.named_children():
        setattr(m, name, literal(child))
    return m


# ---- cases ----------------------------------------------------------------------------

BLOCKS = {
    "akconv": (lambda: AKConv(64, 128, 5), (4, 64, 80, 80), "AKConv 64→128, N=5, (4, 64, 80, 80)"),
    "acmix": (lambda: ACmix(64, 64), (4, 64, 80, 80), "ACmix 64→64, (4, 64, 80, 80)"),
    "dlka": (lambda: deformable_LKA_Attention(32), (4, 32, 80, 80), "D-LKA attention, (4, 32, 80, 80)"),
}
NETS = {
    "net-dlka": ("yolov8n-DLKA.yaml", "yolov8n.yaml"),
    "net-acmix": ("yolov8n-ACmix.yaml", "yolov8n.yaml"),
    "net-akconv": ("yolov8n-AKConv.yaml", "yolov8n.yaml"),
}
NET_SHAPE = (8, 3, 320, 320)
ASKED = {  # forward, forward + backward, memory: how many times less than the literal side
    "akconv": (6, 4, 3),
    "acmix": (12, 8, 10),
    "dlka": (6, 12, 3),
    "net-dlka": (None, 8, None),
    "net-acmix": (None, 3, None),
    "net-akconv": (None, 2, None),
}


def make(case: str, side: str, args: argparse.Namespace) -> tuple[nn.Module, Tensor]:
    """Module and input of one side: "ours", "literal", or "base", the network without the added module."""
    torch.manual_seed(0)
    if case in BLOCKS:
        build, shape, _ = BLOCKS[case]
        m = build()
        if isinstance(m, AKConv):
            nn.init.normal_(m.p_conv.weight, std=0.02)  # offsets differ from pixel to pixel, as after training
    else:
        from ultralytics.nn.tasks import DetectionModel

        shape = NET_SHAPE
        m = DetectionModel(NETS[case][side == "base"], verbose=False)
    m = m.to(args.device).train()
    x = torch.randn(shape, device=args.device)
    if side == "literal":  # as it is used: in the memory format that PyTorch starts with
        return literal(m), x
    return m.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)


def step(m: nn.Module, x: Tensor, dtype: torch.dtype, backward: bool) -> None:
    with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32), torch.set_grad_enabled(backward):
        y = m(x)
    if backward:
        parts = y if isinstance(y, (list, tuple)) else [y]
        # gradients as a next layer would hand them over, in the memory format of the output
        torch.autograd.backward(parts, [p.detach() for p in parts])
        m.zero_grad(set_to_none=True)


# ---- measuring ----------------------------------------------------------------------------


def seconds(pairs: dict[str, tuple[nn.Module, Tensor]], args: argparse.Namespace, backward: bool) -> dict[str, list]:
    """Times of every side, which take turns, so that a slow minute of the machine falls on all of them."""
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    taken: dict[str, list[float]] = {side: [] for side in pairs}
    for turn in range(args.repeat + 1):
        for side, (m, x) in pairs.items():
            x.requires_grad_(backward)
            x.grad = None
            start = clock()
            step(m, x, args.dtype, backward)
            if args.device == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first turn warms up
                taken[side].append(clock() - start)
    return taken


def peak_bytes(case: str, side: str, args: argparse.Namespace) -> int:
    """Peak of one training step over what inputs and weights take."""
    m, x = make(case, side, args)
    x.requires_grad_()
    if args.device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(m, x, args.dtype, True)
        return torch.cuda.max_memory_allocated() - before
    small = x[:1, :, :16, :16].detach() if case in BLOCKS else x[:1, :, :64, :64].detach()
    step(copy.deepcopy(m), small.clone().requires_grad_(), args.dtype, True)  # libraries load here, not below
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    step(m, x, args.dtype, True)
    return _status("VmHWM") - before


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(f"/proc/self/status has no {key}; memory on a CPU is measured on Linux only")


def peak_in_a_process(case: str, side: str, args: argparse.Namespace) -> int:
    command = [sys.executable, __file__, "--peak", case, side, "--threads", str(args.threads), "--device", args.device]
    command += ["--dtype", str(args.dtype).removeprefix("torch.")]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def report(case: str, args: argparse.Namespace) -> None:
    sides = ("ours", "literal", "base") if case in NETS else ("ours", "literal")
    pairs = {side: make(case, side, args) for side in sides}
    print(f"\n{BLOCKS[case][2] if case in BLOCKS else f'{NETS[case][0]}, one training step, {NET_SHAPE}'}")
    for title, backward, asked in (("forward", False, ASKED[case][0]), ("forward + backward", True, ASKED[case][1])):
        if case in NETS and not backward:
            continue
        taken = seconds(pairs, args, backward)
        ms = {side: 1e3 * statistics.median(t) for side, t in taken.items()}
        spread = max(max(t) / min(t) - 1 for t in taken.values())
        text = f"  {title:20}ours {ms['ours']:9.1f} ms   literal {ms['literal']:9.1f} ms   "
        text += f"{ms['literal'] / ms['ours']:6.1f}×  (asked {asked}×; spread ±{50 * spread:.0f} %)"
        print(text + (f"   plain base {ms['base']:.1f} ms: {ms['ours'] / ms['base']:.2f}×" if "base" in ms else ""))
    if case in BLOCKS:
        mb = {side: peak_in_a_process(case, side, args) / 2**20 for side in sides}
        text = f"  {'peak memory':20}ours {mb['ours']:9.1f} MB   literal {mb['literal']:9.1f} MB   "
        print(text + f"1/{mb['literal'] / mb['ours']:.1f}  (asked 1/{ASKED[case][2]})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"])
    parser.add_argument("--only", nargs="*", choices=list(ASKED), default=list(ASKED))
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.dtype = getattr(torch, args.dtype)
    torch.set_num_threads(args.threads)
    if args.peak:
        print(peak_bytes(*args.peak, args))
        return
    name = (
        torch.cuda.get_device_name() if args.device == "cuda" else f"{platform.processor() or platform.machine()} CPU"
    )
    print(f"{name}, {args.threads} threads, PyTorch {torch.__version__}, {args.dtype}, {args.clock} clock, ", end="")
    print(f"median of {args.repeat}")
    for case in args.only:
        report(case, args)


if __name__ == "__main__":
    main()
