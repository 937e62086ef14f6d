"""Fixed inputs for the comparison with the official package; make.py and the tests build the same ones from here.

Only NumPy's frozen generator RandomState is used, so that the numbers are the same with every version.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

STRIDES = (8, 16, 32)


class Head(nn.Module):
    """What a criterion reads of a detection head."""

    def __init__(self, nc, reg_max=16):
        super().__init__()
        self.nc, self.reg_max, self.no = nc, reg_max, nc + 4 * reg_max
        self.stride = torch.tensor(STRIDES, dtype=torch.float32)
        self.weight = nn.Parameter(torch.zeros(1))


class Net(nn.Module):
    """What a criterion reads of a network."""

    def __init__(self, nc):
        super().__init__()
        self.model = nn.ModuleList([Head(nc)])
        self.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)


def wave_maps(b=2, nc=3, sizes=(8, 4, 2)):
    """The maps of the specification's golden case."""
    maps = []
    for level, n in enumerate(sizes):
        i, c, y, x = np.meshgrid(np.arange(b), np.arange(64 + nc), np.arange(n), np.arange(n), indexing="ij")
        maps.append(torch.tensor(np.sin(0.37 * i + 0.11 * c + 0.23 * y + 0.31 * x + 0.7 * level), dtype=torch.float32))
    return maps


def wave_batch():
    """Three objects on the first picture, one on the second."""
    boxes = [(0.4, 0.5, 0.5, 0.4), (0.6, 0.45, 0.4, 0.5), (0.25, 0.3, 0.12, 0.1), (0.5, 0.5, 0.7, 0.6)]
    return batch([0, 0, 0, 1], [0, 2, 1, 1], boxes)


def batch(image, cls, boxes):
    """A batch as the loader gives it, reduced to what the criterion reads."""
    return {
        "batch_idx": torch.tensor(image, dtype=torch.float32),
        "cls": torch.tensor(cls, dtype=torch.float32).view(-1, 1),
        "bboxes": torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 4)),
    }


def random_maps(seed, b, nc, height, width):
    """Maps with peaked distances, as a network in training has them."""
    rng = np.random.RandomState(seed)
    maps = []
    for stride in STRIDES:
        feat = rng.randn(b, 64 + nc, height // stride, width // stride)
        feat[:, :64] *= 2
        feat[:, 64:] = feat[:, 64:] * 2 - 3
        maps.append(torch.tensor(feat, dtype=torch.float32))
    return maps


def loss_cases():
    """Name, maps, batch, number of classes."""
    yield "waves", wave_maps(), wave_batch(), 3
    yield "none", wave_maps(), batch([], [], []), 3
    for name, boxes, image in (
        ("one", [(0.5, 0.4, 0.6, 0.5)], [1]),
        ("overlapping", [(0.5, 0.5, 0.5 - 0.02 * k, 0.4 + 0.03 * k) for k in range(8)], [0] * 6 + [1, 1]),
        ("same_twice", [(0.5, 0.5, 0.4, 0.4)] * 2, [0, 0]),
        ("tiny", [(0.1 + 0.09 * k, 0.8 - 0.07 * k, 0.015, 0.02) for k in range(9)], [k % 2 for k in range(9)]),
        ("outside", [(-0.1, 0.5, 0.4, 0.3), (1.2, 1.1, 0.2, 0.2), (0.95, 0.9, 0.4, 0.5)], [0, 0, 1]),
        ("no_size", [(0.5, 0.5, 0.0, 0.0), (0.3, 0.3, 0.2, 0.3)], [0, 0]),
    ):
        yield name, random_maps(len(name), 2, 4, 64, 96), batch(image, [k % 4 for k in range(len(boxes))], boxes), 4
    for seed, (b, nc, height, width, n) in enumerate(
        ((1, 1, 64, 64, 3), (3, 2, 96, 64, 12), (2, 80, 64, 64, 9), (4, 5, 128, 96, 60))
    ):
        rng = np.random.RandomState(100 + seed)
        boxes = np.concatenate((rng.rand(n, 2), rng.rand(n, 2) ** 2 * 0.7 + 0.01), 1)
        image, cls = rng.randint(0, b, n), rng.randint(0, nc, n)
        yield f"many_{seed}", random_maps(seed, b, nc, height, width), batch(image, cls, boxes), nc


def nms_case(seed, b, nc, n, extra=0, spread=200.0, ties=False, nan=False):
    """A raw prediction (b, 4 + nc + extra, n)."""
    rng = np.random.RandomState(seed)
    pred = rng.rand(b, 4 + nc + extra, n).astype(np.float32)
    pred[:, :2] *= spread
    pred[:, 2:4] = pred[:, 2:4] * 60 + 5
    pred[:, 4 : 4 + nc] **= 3
    if ties:
        pred[:, 4 : 4 + nc] = np.round(pred[:, 4 : 4 + nc], 1)
    if nan:
        pred[:, 4 : 4 + nc][rng.rand(b, nc, n) < 0.1] = np.nan
    return torch.tensor(pred)


def nms_cases():
    """Name, prediction, keyword arguments."""
    yield "default", nms_case(0, 2, 3, 300), {}
    yield "single_class", nms_case(1, 1, 1, 300), {"conf_thres": 0.1}
    yield "single_class_multi", nms_case(1, 1, 1, 300), {"conf_thres": 0.1, "multi_label": True}
    yield "validation", nms_case(2, 3, 5, 400), {"conf_thres": 0.001, "iou_thres": 0.7, "multi_label": True}
    yield "many", nms_case(3, 1, 20, 3000, spread=4000.0), {"conf_thres": 0.001, "iou_thres": 0.7, "multi_label": True}
    yield "agnostic", nms_case(4, 2, 3, 300), {"agnostic": True}
    yield "classes", nms_case(5, 2, 6, 300), {"classes": [1, 4]}
    yield "max_det", nms_case(6, 2, 3, 300, spread=900.0), {"max_det": 7, "conf_thres": 0.05}
    yield "extras", nms_case(7, 2, 3, 200, extra=5), {"nc": 3, "conf_thres": 0.1}
    yield "ties", nms_case(8, 2, 3, 12, ties=True), {"conf_thres": 0.05, "iou_thres": 0.3}
    yield "nan", nms_case(9, 2, 3, 200, nan=True), {"conf_thres": 0.1}
    yield "nothing", nms_case(10, 2, 3, 50) * 0.1, {"conf_thres": 0.5}
    labels = [torch.tensor([[1.0, 50, 60, 20, 30]]), torch.zeros(0, 5)]
    yield "labels", nms_case(11, 2, 3, 100), {"labels": labels, "multi_label": True}


def detections(seed, nc, n, m, thresholds=10, rare=None):
    """tp (n, 10), conf, predicted classes (n,), target classes (m,) of a made-up run."""
    rng = np.random.RandomState(seed)
    conf = rng.rand(n)
    depth = np.floor((conf + 0.4 * rng.randn(n)) * (thresholds + 2)).clip(0, thresholds)
    tp = np.arange(thresholds)[None] < depth[:, None]
    pred, target = rng.randint(0, nc, n), rng.randint(0, nc, m)
    if rare is not None:  # a class that is only predicted with little confidence
        conf[pred == rare] *= 0.02
        tp[pred == rare] = False
    return tp, conf, pred.astype(np.float64), target.astype(np.float64)


def ap_cases():
    """Name, (tp, conf, predicted, target classes)."""
    yield "five_classes", detections(0, 5, 400, 150)
    yield "one_class", detections(1, 1, 100, 60)
    yield "few", detections(2, 3, 6, 5)
    yield "unpredicted", (lambda d: (d[0], d[1], d[2] % 3, d[3]))(detections(3, 4, 90, 40))
    yield "eighty", detections(4, 80, 2000, 900)
    yield "unconfident", detections(5, 4, 200, 80, rare=2)


def box_pair(seed, n, m, size=100.0):
    """Corner boxes (n, 4) and (m, 4), the second partly shifted copies of the first."""
    rng = np.random.RandomState(seed)

    def make(k):
        low = rng.rand(k, 2) * size
        return np.concatenate((low, low + rng.rand(k, 2) * size / 2 + 1), 1)

    first, second = make(n), make(m)
    k = min(n, m) // 2
    second[:k] = first[:k] + rng.randn(k, 4) * size * 0.03
    return first.astype(np.float32), second.astype(np.float32)


def picture(seed, n, m, nc):
    """Detections (n, 6) and objects (m, 5) class, corners of one picture; most detections sit near an object."""
    rng = np.random.RandomState(seed)
    low = rng.rand(m, 2) * 100
    objects = np.concatenate((rng.randint(0, nc, (m, 1)), low, low + 10 + rng.rand(m, 2) * 40), 1)
    found = np.concatenate((rng.rand(n, 2) * 100, rng.rand(n, 2) * 40 + 100, rng.rand(n, 2)), 1)
    found[:, 5] = rng.randint(0, nc, n)
    if m:
        near = rng.randint(0, m, n)
        close = rng.rand(n) < 0.7
        found[close, :4] = (objects[near, 1:] + rng.randn(n, 4) * 4)[close]
        found[close, 5] = objects[near, 0][close]
    found = found[np.argsort(-found[:, 4])]
    return torch.tensor(found, dtype=torch.float32), torch.tensor(objects, dtype=torch.float32)
