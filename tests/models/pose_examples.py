"""A tiny pose network and a tiny dataset of triangles, for the tests of the pose task."""

import json

import cv2
import numpy as np

MODEL = """\
nc: 1
kpt_shape: [3, 3]
scales: {n: [0.33, 0.125, 1024]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, C2f, [128, True]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, SPPF, [128, 5]]
head:
  - [[3, 4, 6], 1, Pose, [nc, kpt_shape]]
"""
LINES = {"kpt_shape": [3, 3], "flip_idx": [1, 0, 2], "names": ["bright", "dark"]}


def write_model(folder, text=MODEL):
    """The model file."""
    file = folder / "tiny-pose.yaml"
    file.write_text(text)
    return file


def write_dataset(root, counts=(10, 4), **lines):
    """Bright and dark triangles whose keypoints are upper left, upper right and lower end; returns the YAML file."""
    content = {"path": ".", "train": "images/train", "val": "images/val", **LINES, **lines}
    rng = np.random.default_rng(0)
    for split, count in zip(("train", "val"), counts, strict=True):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(90, 140, (64, 96, 3), dtype=np.uint8)
            text = [_draw(image, c, rng, content["kpt_shape"][1]) for c in (0, 1)]
            cv2.imwrite(str(root / "images" / split / f"{i}.png"), image)
            (root / "labels" / split / f"{i}.txt").write_text("\n".join(text) + "\n")
    file = root / "data.yaml"
    file.write_text(json.dumps(content))
    return file


def _draw(image, c, rng, ndim):
    """One triangle and its line of the label file; the visibilities are 0, 1 and 2."""
    h, w = image.shape[:2]
    side = int(rng.integers(18, 30))
    x, y = int(rng.integers(0, w - side)), int(rng.integers(0, h - side))
    points = np.array([[x, y], [x + side, y], [x + side // 2, y + side]])
    cv2.fillPoly(image, [points], (250,) * 3 if c == 0 else (5,) * 3)
    fractions = points / (w, h)
    keypoints = np.column_stack([fractions, [0, 1, 2]])[:, :ndim].reshape(-1)
    box = [(x + side / 2) / w, (y + side / 2) / h, side / w, side / h]
    return f"{c} " + " ".join(f"{v:.6f}" for v in box) + " " + " ".join(f"{v:g}" for v in keypoints)
