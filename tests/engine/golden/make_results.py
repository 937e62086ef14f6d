"""What `Results` makes of fixed inputs, from whichever `ultralytics` is installed.

    YOLO_AUTOINSTALL=false python make_results.py    # in an environment with ultralytics==8.3.0: writes results.json

The test calls `describe` with this project's package and compares with that file. Inputs come from formulas and from
NumPy's frozen generator RandomState, so they are the same with every version.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch

SHAPE = (90, 120)  # height, width of the original image
NAMES = {i: f"class{i}" for i in range(7)}


def boxes(rng, n, tracked):
    """(n, 6) or (n, 7) rows, highest confidence first."""
    low = rng.uniform(0, 1, (n, 2)) * [60, 45]
    size = rng.uniform(3, 40, (n, 2))
    return np.concatenate([low, low + size, _tail(rng, n, tracked)], 1).astype(np.float32)


def oriented(rng, n, tracked):
    """(n, 7) or (n, 8) rows; some corners lie outside of the image."""
    xywh = rng.uniform([0, 0, 10, 4], [120, 90, 60, 30], (n, 4))
    return np.concatenate([xywh, rng.uniform(0, np.pi, (n, 1)), _tail(rng, n, tracked)], 1).astype(np.float32)


def masks(rng, n):
    """(n, 96, 128) ellipses in the size of a letterboxed input; from the third one on with a second, smaller part."""
    y, x = np.mgrid[:96, :128]
    made = []
    for i in range(n):
        cx, cy, a, b = rng.uniform([30, 25, 5, 5], [100, 70, 25, 20])
        mask = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
        if i >= 2:
            mask |= ((x - 8) / 5) ** 2 + ((y - 80) / 4) ** 2 < 1
        made.append(mask)
    return np.array(made, np.float32).reshape(n, 96, 128)


def keypoints(rng, n, dims):
    """(n, 5, 2 | 3); confidences are at least 0.5, below which 8.3.0 sets coordinates to zero and this package not."""
    points = rng.uniform(1, 89, (n, 5, 2))
    return np.concatenate([points, rng.uniform(0.5, 1, (n, 5, dims - 2))], 2).astype(np.float32)


def _tail(rng, n, tracked):
    conf = -np.sort(-rng.uniform(0.1, 1, (n, 1)), 0)
    ids = np.arange(n)[:, None] + 1
    return np.concatenate([*([ids] if tracked else []), conf, rng.randint(0, 7, (n, 1))], 1)


def components(task, n, tracked=False):
    """Keyword arguments of `Results`."""
    rng = np.random.RandomState(n + 10 * tracked)
    if task == "obb":
        return {"obb": oriented(rng, n, tracked)}
    if task == "classify":
        values = rng.uniform(0, 1, n)
        return {"probs": (values / values.sum()).astype(np.float32)}
    made = {"boxes": boxes(rng, n, tracked)}
    if task == "segment":
        made["masks"] = masks(rng, n)
    if task.startswith("pose"):
        made["keypoints"] = keypoints(rng, n, 3 if task == "pose" else 2)
    return made


CASES = [
    (task, n, tracked)
    for task in ("detect", "segment", "pose", "pose2", "obb")
    for n, tracked in ((0, False), (1, False), (6, False), (4, True))
    if not (task == "segment" and n == 0)  # 8.3.0 has no masks where it has no detections
] + [("classify", 2, False), ("classify", 7, False)]
PROPERTIES = {
    "boxes": ("xyxy", "xywh", "xyxyn", "xywhn", "conf", "cls", "id"),
    "masks": ("xy", "xyn"),
    "keypoints": ("xy", "xyn", "conf", "has_visible"),
    "obb": ("xywhr", "xyxyxyxy", "xyxyxyxyn", "xyxy", "conf", "cls", "id"),
    "probs": ("top1", "top5", "top1conf", "top5conf"),
}


def describe(Results, task, n, tracked, as_tensor=True):
    """Everything that can be compared, as plain Python values."""
    data = components(task, n, tracked)
    if as_tensor:
        data = {key: torch.from_numpy(value) for key, value in data.items()}
    result = Results(np.zeros((*SHAPE, 3), np.uint8), "some/im.jpg", NAMES, **data)
    made = {"len": len(result), "verbose": result.verbose() if task != "obb" else None}
    for name, properties in PROPERTIES.items():
        component = getattr(result, name)
        made[name] = None if component is None else {key: _plain(getattr(component, key)) for key in properties}
    if task != "pose2":  # a ValueError in 8.3.0
        made["summary"] = result.summary()
        made["summary_normalized"] = result.summary(normalize=True, decimals=3)
    for save_conf in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "im.txt"
            result.save_txt(file, save_conf=save_conf)
            made[f"txt_conf_{save_conf}"] = file.read_text().splitlines() if file.exists() else []
    return made


def _plain(value):
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


if __name__ == "__main__":
    from ultralytics.engine.results import Results

    answers = {f"{task}-{n}-{tracked}": describe(Results, task, n, tracked) for task, n, tracked in CASES}
    text = json.dumps(answers, separators=(",", ":"), default=float)
    Path(__file__).with_name("results.json").write_text(text + "\n")
