"""Results of box operations, NMS, assigner, losses and metrics on fixed inputs, from the installed `ultralytics`.

    python make.py    # in an environment with ultralytics==8.3.0: writes {ops,nms,tal,loss,metrics}.json next to it

The tests call the same functions with this package and compare the results with those files. Inputs are computed from
formulas and from NumPy's generator RandomState, so they are the same with every version.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from torch import nn

import ultralytics
from ultralytics.utils import loss, metrics, ops, tal

STRIDES = (8, 16, 32)


class Head(nn.Module):
    """The attributes of a detection head that a criterion reads."""

    def __init__(self, nc, reg_max=16):
        super().__init__()
        self.nc, self.reg_max, self.no = nc, reg_max, nc + 4 * reg_max
        self.stride = torch.tensor(STRIDES, dtype=torch.float32)
        self.weight = nn.Parameter(torch.zeros(1))


class Net(nn.Module):
    """The attributes of a model that a criterion reads."""

    def __init__(self, nc):
        super().__init__()
        self.model = nn.ModuleList([Head(nc)])
        self.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)


def wave_maps(b=2, nc=3, sizes=(8, 4, 2)):
    """The feature maps of the golden case in the specification."""
    maps = []
    for level, n in enumerate(sizes):
        i, c, y, x = np.meshgrid(np.arange(b), np.arange(64 + nc), np.arange(n), np.arange(n), indexing="ij")
        maps.append(torch.tensor(np.sin(0.37 * i + 0.11 * c + 0.23 * y + 0.31 * x + 0.7 * level), dtype=torch.float32))
    return maps


def wave_batch():
    """Three instances in the first image, one in the second."""
    boxes = [(0.4, 0.5, 0.5, 0.4), (0.6, 0.45, 0.4, 0.5), (0.25, 0.3, 0.12, 0.1), (0.5, 0.5, 0.7, 0.6)]
    return batch([0, 0, 0, 1], [0, 2, 1, 1], boxes)


def batch(image, cls, boxes):
    """A batch as collated by the loader, reduced to what the criterion reads."""
    return {
        "batch_idx": torch.tensor(image, dtype=torch.float32),
        "cls": torch.tensor(cls, dtype=torch.float32).view(-1, 1),
        "bboxes": torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 4)),
    }


def random_maps(seed, b, nc, height, width):
    """Feature maps with peaked distance distributions, as those of a model during training."""
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
    yield "many", nms_case(3, 1, 20, 1200, spread=2000.0), {"conf_thres": 0.001, "iou_thres": 0.7, "multi_label": True}
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
    """tp (n, 10), conf, predicted classes (n,), target classes (m,) of a synthetic validation."""
    rng = np.random.RandomState(seed)
    conf = rng.rand(n)
    depth = np.floor((conf + 0.4 * rng.randn(n)) * (thresholds + 2)).clip(0, thresholds)
    tp = np.arange(thresholds)[None] < depth[:, None]
    pred, target = rng.randint(0, nc, n), rng.randint(0, nc, m)
    if rare is not None:  # a class that is predicted with low confidence only
        conf[pred == rare] *= 0.02
        tp[pred == rare] = False
    return tp, conf, pred.astype(np.float64), target.astype(np.float64)


def ap_cases():
    """Name, (tp, conf, predicted, target classes)."""
    yield "five_classes", detections(0, 5, 400, 150)
    yield "one_class", detections(1, 1, 100, 60)
    yield "few", detections(2, 3, 6, 5)
    yield "unpredicted", (lambda d: (d[0], d[1], d[2] % 3, d[3]))(detections(3, 4, 90, 40))
    yield "twenty", detections(4, 20, 900, 400)
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


def image_case(seed, n, m, nc):
    """Detections (n, 6) and instances (m, 5) class, corners of an image; most detections are close to an instance."""
    rng = np.random.RandomState(seed)
    low = rng.rand(m, 2) * 100
    instances = np.concatenate((rng.randint(0, nc, (m, 1)), low, low + 10 + rng.rand(m, 2) * 40), 1)
    detected = np.concatenate((rng.rand(n, 2) * 100, rng.rand(n, 2) * 40 + 100, rng.rand(n, 2)), 1)
    detected[:, 5] = rng.randint(0, nc, n)
    if m:
        near = rng.randint(0, m, n)
        close = rng.rand(n) < 0.7
        detected[close, :4] = (instances[near, 1:] + rng.randn(n, 4) * 4)[close]
        detected[close, 5] = instances[near, 0][close]
    detected = detected[np.argsort(-detected[:, 4])]
    return torch.tensor(detected, dtype=torch.float32), torch.tensor(instances, dtype=torch.float32)


def tal_cases():
    """Name, arguments of the assigner: scores, boxes, anchors, labels, instances, mask."""
    for seed, (b, a, m, nc, noise) in enumerate(
        ((1, 40, 2, 3, 3.0), (3, 150, 6, 4, 6.0), (2, 100, 12, 2, 9.0), (2, 12, 3, 2, 6.0))
    ):
        rng = np.random.RandomState(40 + seed)
        low = rng.rand(b, m, 2) * 80
        instances = np.concatenate((low, low + rng.rand(b, m, 2) * 50 + 4), 2)
        anchors, near = rng.rand(a, 2) * 100, rng.randint(0, m, (b, a))
        boxes = instances[np.arange(b)[:, None], near] + rng.randn(b, a, 4) * noise
        mask = rng.rand(b, m, 1) < 0.8
        labels = rng.randint(0, nc, (b, m, 1)) * mask
        floats = (torch.tensor(x, dtype=torch.float32) for x in (rng.rand(b, a, nc), boxes, anchors))
        yield str(seed), (*floats, torch.tensor(labels), torch.tensor(instances * mask).float(), torch.tensor(mask))


def ops_record():
    """Conversion and scaling of boxes, polygons."""
    out = {}
    boxes = np.random.RandomState(1).rand(6, 4).astype(np.float32) * 100
    for array_type, array in (("numpy", boxes), ("torch", torch.tensor(boxes)), ("int", torch.tensor(boxes).long())):
        for name in ("xyxy2xywh", "xywh2xyxy", "xywh2ltwh", "xyxy2ltwh", "ltwh2xywh", "ltwh2xyxy"):
            out[f"{array_type} {name}"] = plain(getattr(ops, name)(copy(array)))
        out[f"{array_type} xywhn2xyxy"] = plain(ops.xywhn2xyxy(copy(array), 333, 500, 7, 9))
        out[f"{array_type} xyxy2xywhn"] = plain(ops.xyxy2xywhn(copy(array), 50, 70, clip=True, eps=1e-3))
        out[f"{array_type} clip_boxes"] = plain(ops.clip_boxes(copy(array), (50, 70)))
    for name, options in (
        ("plain", {}),
        ("given", {"ratio_pad": ((0.5, 0.5), (3.0, 11.0))}),
        ("unpadded", {"padding": False}),
        ("xywh", {"xywh": True}),
    ):
        for array_type, array in (("numpy", boxes), ("torch", torch.tensor(boxes))):
            # smaller ones for "xywh": 8.3.0 clips centers and sizes to the image as if they were corners
            scaled = copy(array) if name != "xywh" else copy(array) * 0.3 + 20
            out[f"{array_type} scale {name}"] = plain(ops.scale_boxes((64, 96), scaled, (50, 70), **options))
    polygons = [np.random.RandomState(k).rand(k, 2).astype(np.float32) * 100 for k in (3, 7, 20)]
    out["segments2boxes"] = plain(ops.segments2boxes([copy(x) for x in polygons]))
    out["segment2box"] = [plain(ops.segment2box(copy(x), 50, 60)) for x in polygons]
    out["resample"] = [plain(x) for x in ops.resample_segments([copy(x) for x in polygons], n=9)]
    return out


def nms_record():
    """Number of rows, sums of the columns and the first rows, per image."""
    with mock.patch("time.time", return_value=0.0):  # 8.3.0 skips images if the machine is slow
        return {
            name: [
                {"n": len(rows), "sums": plain(rows.double().sum(0)), "first": plain(rows[:4])}
                for rows in ops.non_max_suppression(pred.clone(), **options)
            ]
            for name, pred, options in nms_cases()
        }


def tal_record():
    """Positives as image, anchor, instance, class; their scores and boxes."""
    out = {}
    for name, inputs in tal_cases():
        nc = inputs[0].shape[2]
        assigner = tal.TaskAlignedAssigner(topk=10, num_classes=nc, alpha=0.5, beta=6.0)
        labels, boxes, scores, foreground, index = assigner(*inputs)
        image, anchor = foreground.nonzero(as_tuple=True)
        rows = torch.stack((image, anchor, index[image, anchor], labels[image, anchor]), 1)
        out[name] = {
            "rows": rows.tolist(),
            "scores": plain(scores.amax(2)[image, anchor]),
            "total": plain(scores.sum()),
            "boxes": plain(boxes.sum((0, 1))),
        }
    return out


def loss_record(dtype=torch.float32):
    """Total, terms, and for each level's gradient: sum of magnitudes, a weighted sum, some elements."""
    out = {}
    for name, maps, instances, nc in loss_cases():
        leaves = [feat.clone().to(dtype).requires_grad_() for feat in maps]
        total, items = loss.v8DetectionLoss(Net(nc))(leaves, instances)
        total.sum().backward()
        grads = []
        for leaf in leaves:
            grad = leaf.grad.double().flatten()
            weights = torch.cos(torch.arange(len(grad)) * 0.37)
            picked = grad[:: len(grad) // 12]
            grads.append(
                {"abs": plain(grad.abs().sum()), "weighted": plain(grad @ weights.double()), "some": plain(picked)}
            )
        out[name] = {"total": plain(total.sum()), "items": plain(items), "grads": grads}
    return out


def metrics_record():
    """Average precision, IoU with gradients, matching, confusion matrices."""
    out = {"ap": {}, "iou": {}, "match": {}, "confusion": {}}
    for name, data in ap_cases():
        values = list(metrics.ap_per_class(*data))[:10]
        curves = [plain(curve[:, ::111]) for curve in values[7:]]
        out["ap"][name] = [plain(x) for x in values[:7]] + curves
    first, second = (torch.tensor(x) for x in box_pair(0, 8, 8))
    for variant in ("", "GIoU", "DIoU", "CIoU"):
        for xywh in (True, False):
            a, b = first.clone().requires_grad_(), second.clone().requires_grad_()
            iou = metrics.bbox_iou(a, b, xywh=xywh, **({variant: True} if variant else {}))
            iou.sum().backward()
            out["iou"][f"{variant} {xywh}"] = [plain(x) for x in (iou, a.grad, b.grad)]
    out["iou"]["pairwise"] = plain(metrics.box_iou(first, second))
    out["iou"]["over area"] = plain(metrics.bbox_ioa(first.numpy(), second.numpy()))
    for seed in range(6):
        detected, instances = image_case(seed, 25, 2 + 2 * seed, 3)
        iou = metrics.box_iou(instances[:, 1:], detected[:, :4])
        out["match"][str(seed)] = match(detected[:, 5], instances[:, 0], iou).int().sum(1).tolist()
        matrix = metrics.ConfusionMatrix(3)
        matrix.process_batch(detected, instances[:, 1:], instances[:, 0])
        out["confusion"][str(seed)] = matrix.matrix.astype(int).tolist()
    return out


def match(pred_classes, true_classes, iou):
    """True positives (n, 10); a method of the validator in the official package."""
    levels = torch.linspace(0.5, 0.95, 10)
    if hasattr(metrics, "match_predictions"):
        return metrics.match_predictions(pred_classes, true_classes, iou, levels)
    from ultralytics.engine.validator import BaseValidator

    return BaseValidator.match_predictions(SimpleNamespace(iouv=levels), pred_classes, true_classes, iou)


def copy(array):
    """A copy, because the official conversions may write into their input."""
    return array.copy() if isinstance(array, np.ndarray) else array.clone()


def plain(values):
    """Values rounded to 7 significant digits, as nested lists."""
    if hasattr(values, "detach"):
        values = values.detach().numpy()
    values = np.asarray(values, dtype=np.float64)
    return np.array([float(f"{x:.7g}") for x in values.flatten()]).reshape(values.shape).tolist()


RECORDS = {"ops": ops_record, "nms": nms_record, "tal": tal_record, "loss": loss_record, "metrics": metrics_record}


def main() -> None:
    """Writes the files."""
    made_by = {
        "ultralytics": ultralytics.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "command": "python tests/utils/golden/make.py",
    }
    for name, record in RECORDS.items():
        path = Path(__file__).with_name(f"{name}.json")
        path.write_text(json.dumps({"made_by": made_by, "values": record()}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
