"""Losses of segmentation, pose, oriented boxes and classification on fixed inputs, from the installed `ultralytics`.

    python make_losses.py    # in an environment with ultralytics==8.3.0: writes losses.json beside it

The tests call `records` with this project's package and compare with that file. Inputs come from formulas and from
NumPy's frozen generator RandomState, so they are the same with every version.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

STRIDES = (8, 16, 32)
NC = 4


class Head(nn.Module):
    """What a criterion reads of a head."""

    def __init__(self, kpt_shape=None):
        super().__init__()
        self.nc, self.reg_max, self.no = NC, 16, NC + 64
        self.stride = torch.tensor(STRIDES, dtype=torch.float32)
        self.weight = nn.Parameter(torch.zeros(1))
        self.kpt_shape = kpt_shape


class Net(nn.Module):
    """What a criterion reads of a network."""

    def __init__(self, kpt_shape=None, overlap=True):
        super().__init__()
        self.model = nn.ModuleList([Head(kpt_shape)])
        self.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, pose=12.0, kobj=1.0, overlap_mask=overlap)


def maps(seed, b, height, width):
    """Maps with peaked distances, as a network in training has them."""
    rng = np.random.RandomState(seed)
    levels = []
    for stride in STRIDES:
        feat = rng.randn(b, 64 + NC, height // stride, width // stride)
        feat[:, :64] *= 2
        feat[:, 64:] = feat[:, 64:] * 2 - 3
        levels.append(torch.tensor(feat, dtype=torch.float32))
    return levels


def cases():
    """Name, images, height, width, image of each instance."""
    yield "square", 2, 64, 64, [0, 0, 1]
    yield "wide", 3, 64, 96, [2, 0, 2, 2, 0]  # nothing on image 1
    yield "one", 1, 96, 64, [0]
    yield "none", 2, 64, 64, []


def instances(seed, image):
    """Boxes that are not small, classes."""
    rng = np.random.RandomState(seed)
    n = len(image)
    boxes = np.concatenate((0.25 + 0.5 * rng.rand(n, 2), 0.15 + 0.35 * rng.rand(n, 2)), 1)
    return {
        "batch_idx": torch.tensor(image, dtype=torch.float32),
        "cls": torch.tensor(rng.randint(0, NC, (n, 1)), dtype=torch.float32),
        "bboxes": torch.tensor(boxes.reshape(-1, 4), dtype=torch.float32),
    }


def anchors(height, width):
    """Anchors of all levels."""
    return sum((height // s) * (width // s) for s in STRIDES)


def leaves(*tensors):
    """Tensors that want a gradient."""
    return [tensor.requires_grad_() for tensor in tensors]


def outcome(pair, inputs):
    """Total, parts and gradients of a loss."""
    total, parts = pair
    grads = torch.autograd.grad(total, inputs, allow_unused=True)
    shown = [np.zeros(1) if g is None else g.double().numpy() for g in grads]
    return {
        "total": plain(total),
        "items": plain(parts),
        "abs": [plain(np.abs(g).sum()) for g in shown],
        "some": [plain(g.flatten()[:: max(g.size // 11, 1)]) for g in shown],
    }


def masks_of(batch, height, width, overlap):
    """Rectangles a little smaller than the boxes, at a quarter of the size."""
    h, w = height // 4, width // 4
    n = len(batch["cls"])
    binary = torch.zeros(n, h, w)
    for k, (x, y, bw, bh) in enumerate(batch["bboxes"].tolist()):
        rows = slice(round((y - bh / 2.5) * h), round((y + bh / 2.5) * h))
        binary[k, rows, round((x - bw / 2.5) * w) : round((x + bw / 2.5) * w)] = 1
    if not overlap:
        return binary
    images = int(batch["batch_idx"].max()) + 1 if n else 1
    merged = torch.zeros(max(images, 3), h, w)
    number = [0] * len(merged)
    for k, image in enumerate(batch["batch_idx"].int().tolist()):
        number[image] += 1
        merged[image][binary[k] > 0] = number[image]
    return merged


def segment(loss):
    """Both forms of masks. 8.3.0 drops images when there are fewer masks than images: such cases are left out."""
    values = {}
    for overlap in (True, False):
        for seed, (name, b, height, width, image) in enumerate(cases()):
            if not overlap and len(image) < b:
                continue
            rng = np.random.RandomState(50 + seed)
            batch = instances(seed, image)
            batch["masks"] = masks_of(batch, height, width, overlap)[: b if overlap else None]
            feats = maps(seed, b, height, width)
            extra = torch.tensor(rng.randn(b, 32, anchors(height, width)) * 0.3, dtype=torch.float32)
            proto = torch.tensor(rng.randn(b, 32, height // 4, width // 4), dtype=torch.float32)
            inputs = leaves(*feats, extra, proto)
            pair = loss.v8SegmentationLoss(Net(overlap=overlap))((feats, extra, proto), batch)
            values[f"{name}_{'overlap' if overlap else 'each'}"] = outcome(pair, inputs)
    return values


def pose(loss):
    """COCO's keypoints and others, with and without visibility."""
    values = {}
    for shape in ([17, 3], [5, 3], [4, 2]):
        for seed, (name, b, height, width, image) in enumerate(cases()):
            rng = np.random.RandomState(70 + seed)
            batch = instances(seed, image)
            n = len(image)
            keypoints = rng.rand(n, shape[0], 3)
            keypoints[..., 2] = rng.randint(0, 3, (n, shape[0]))
            batch["keypoints"] = torch.tensor(keypoints[..., : shape[1]], dtype=torch.float32)
            feats = maps(seed, b, height, width)
            raw = torch.tensor(rng.randn(b, shape[0] * shape[1], anchors(height, width)), dtype=torch.float32)
            inputs = leaves(*feats, raw)
            pair = loss.v8PoseLoss(Net(kpt_shape=shape))((feats, raw), batch)
            values[f"{name}_{shape[0]}_{shape[1]}"] = outcome(pair, inputs)
    return values


def oriented(loss):
    """Angles of every size."""
    values = {}
    for seed, (name, b, height, width, image) in enumerate(cases()):
        rng = np.random.RandomState(90 + seed)
        batch = instances(seed, image)
        turn = torch.tensor(rng.uniform(-0.7, 2.3, (len(image), 1)), dtype=torch.float32)
        batch["bboxes"] = torch.cat((batch["bboxes"], turn), 1)
        feats = maps(seed, b, height, width)
        raw = torch.tensor(rng.randn(b, 1, anchors(height, width)), dtype=torch.float32)
        inputs = leaves(*feats, raw)
        angle = (raw.sigmoid() - 0.25) * np.pi
        values[name] = outcome(loss.v8OBBLoss(Net())((feats, angle), batch), inputs)
    return values


def classify(loss):
    """Cross-entropy, focal and varifocal loss."""
    rng = np.random.RandomState(3)
    logits = torch.tensor(rng.randn(5, NC), dtype=torch.float32)
    scores, flags = torch.tensor(rng.rand(5, NC), dtype=torch.float32), torch.tensor(rng.randint(0, 2, (5, NC))).float()
    values = {}
    for name, call in (
        ("cross_entropy", lambda x: loss.v8ClassificationLoss()(x, {"cls": torch.tensor([0, 3, 1, 1, 2])})),
        ("focal", lambda x: (loss.FocalLoss()(x, flags),) * 2),
        ("focal_plain", lambda x: (loss.FocalLoss()(x, flags, 2.0, 0.0),) * 2),
        ("varifocal", lambda x: (loss.VarifocalLoss()(x, scores, flags),) * 2),
    ):
        (x,) = leaves(logits.clone())
        total, parts = call(x)
        values[name] = outcome((total, parts.detach()), [x])
    return values


def plain(values):
    """Numbers with 6 significant digits, as nested lists."""
    if hasattr(values, "detach"):
        values = values.detach().numpy()
    values = np.asarray(values, dtype=np.float64)
    return np.array([float(f"{x:.6g}") for x in values.flatten()]).reshape(values.shape).tolist()


def records(loss):
    """All values; `loss` is the module ultralytics.utils.loss."""
    return {"segment": segment(loss), "pose": pose(loss), "oriented": oriented(loss), "classify": classify(loss)}


def main():
    """Writes the file."""
    import ultralytics
    from ultralytics.utils import loss

    made_by = {
        "ultralytics": ultralytics.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "command": "python tests/utils/golden/make_losses.py",
    }
    text = json.dumps({"made_by": made_by, "values": records(loss)}, separators=(",", ":"))
    Path(__file__).with_name("losses.json").write_text(text + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
