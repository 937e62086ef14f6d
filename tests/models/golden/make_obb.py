"""Results and metrics of oriented boxes on fixed outputs of a network, from whichever package is installed.

    python make_obb.py    # in an environment with ultralytics==8.3.0: writes obb.json beside it

The test calls `record` with this project's package and compares with that file. Inputs come from NumPy's frozen
generator RandomState. Centers lie in the image and sides are shorter than it, since 8.3.0 clips the others.
"""

from __future__ import annotations

import json
import math
import platform
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

import ultralytics
from ultralytics.models.yolo.obb import OBBPredictor, OBBValidator

H, W, NC = 96, 128, 3
SHAPES = ((96, 128), (70, 100), (192, 250))  # of the original images
NAMES = {0: "a", 1: "b", 2: "c"}


def labels(seed, n=8):
    """(n, 6) class, xywhr in pixels of the network's input."""
    rng = np.random.RandomState(seed)
    boxes = [rng.uniform(20, W - 20, n), rng.uniform(20, H - 20, n), rng.uniform(10, 40, n), rng.uniform(6, 20, n)]
    return np.stack([rng.randint(0, NC, n), *boxes, rng.uniform(0, math.pi / 2, n)], 1)


def output(seed, per_label=12):
    """(4 + NC + 1, A) output for an image: shifted copies of its labels with scores."""
    rng = np.random.RandomState(seed + 100)
    rows = labels(seed).repeat(per_label, 0)
    boxes = rows[:, 1:5] * np.exp(rng.normal(0, 0.08, (len(rows), 4)))
    angles = rows[:, 5] + rng.normal(0, 0.15, len(rows))
    scores = rng.uniform(0, 0.4, (len(rows), NC))
    scores[np.arange(len(rows)), rows[:, 0].astype(int)] += rng.uniform(0, 0.6, len(rows))
    return np.concatenate([boxes, scores, angles[:, None]], 1).T


def outputs():
    """(B, 4 + NC + 1, A) float32."""
    return torch.tensor(np.stack([output(i) for i in range(len(SHAPES))]), dtype=torch.float32)


def batch():
    """The labels as a loader gives them."""
    rows = np.concatenate([labels(i) for i in range(len(SHAPES))])
    gains = [min(H / h, W / w) for h, w in SHAPES]
    pads = [((W - w * g) / 2, (H - h * g) / 2) for (h, w), g in zip(SHAPES, gains, strict=True)]
    return {
        "img": torch.zeros(len(SHAPES), 3, H, W),
        "batch_idx": torch.arange(len(SHAPES)).repeat_interleave(8).float(),
        "cls": torch.tensor(rows[:, :1], dtype=torch.float32),
        "bboxes": torch.tensor(rows[:, 1:] / (W, H, W, H, 1), dtype=torch.float32),
        "im_file": tuple(f"{i}.jpg" for i in range(len(SHAPES))),
        "ori_shape": list(SHAPES),
        "ratio_pad": [((g, g), pad) for g, pad in zip(gains, pads, strict=True)],
    }


def validation(folder, conf):
    """Metrics, average precision of each class and level, confusion matrix."""
    v = OBBValidator(save_dir=Path(folder), args={"mode": "val", "plots": True, "task": "obb", "conf": conf})
    v.training, v.device, v.data = False, torch.device("cpu"), {"val": "images"}
    v.init_metrics(SimpleNamespace(names=NAMES))
    v.update_metrics(v.postprocess((outputs(), None)), batch())
    stats = v.get_stats()
    return {
        "metrics": {key: plain(value) for key, value in sorted(stats.items())},
        "ap": plain(v.metrics.box.all_ap),
        "confusion": plain(v.confusion_matrix.matrix),
    }


def prediction(**options):
    """(n, 7) data of the result of each image."""
    p = OBBPredictor(overrides={"mode": "predict", "task": "obb", "imgsz": [H, W], "conf": 0.25, "iou": 0.7, **options})
    p.model = SimpleNamespace(names=NAMES)
    p.batch = [f"{i}.jpg" for i in range(len(SHAPES))], [], []
    images = [np.zeros((*shape, 3), np.uint8) for shape in SHAPES]
    return [plain(r.obb.data) for r in p.postprocess((outputs(), None), torch.zeros(len(SHAPES), 3, H, W), images)]


def record():
    """Everything."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            "validation": validation(folder, 0.05),
            # one class per box is above this threshold; of two with equal overlap 8.3.0 matches any
            "confident": validation(folder, 0.45),
            "prediction": prediction(),
            "agnostic": prediction(agnostic_nms=True, iou=0.3),
            "limited": prediction(max_det=4, classes=[0, 2]),
        }


def plain(values):
    """Values rounded to 7 significant digits, as nested lists."""
    if hasattr(values, "detach"):
        values = values.detach().numpy()
    values = np.asarray(values, dtype=np.float64)
    return np.array([float(f"{x:.7g}") for x in values.flatten()]).reshape(values.shape).tolist()


if __name__ == "__main__":
    torch.set_num_threads(1)
    made_by = {
        "ultralytics": ultralytics.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "command": "python tests/models/golden/make_obb.py",
    }
    content = {"made_by": made_by, "values": record()}
    Path(__file__).with_name("obb.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")
