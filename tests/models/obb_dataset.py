"""A small dataset of oriented boxes: bright and dark turned rectangles on noise, and its tiny model file."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from ultralytics.utils.rotated_boxes import xywhr2xyxyxyxy

SIZE = (96, 64)  # width, height


def label_line(cls: int, corners: np.ndarray) -> str:
    """`class x1 y1 ... x4 y4` of corners (4, 2) in pixels."""
    return " ".join([str(cls), *(f"{v:.6f}" for v in (corners / SIZE).flatten())])


def write_dataset(root: Path, train: int = 12, val: int = 6) -> Path:
    """Write images and labels; the last image of each split is empty, and boxes may reach outside the image."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(90, 140, (*SIZE[::-1], 3), dtype=np.uint8)
            lines = []
            for c in (0, 1) if i < count - 1 else ():
                box = [*rng.uniform(8, (88, 56)), rng.uniform(24, 36), rng.uniform(8, 16), rng.uniform(0, np.pi)]
                corners = xywhr2xyxyxyxy(np.array([box]))[0]
                cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], (250,) * 3 if c == 0 else (5,) * 3)
                lines.append(label_line(c, corners))
            (root / "images" / split / f"{i}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
            (root / "labels" / split / f"{i}.txt").write_text("".join(f"{line}\n" for line in lines))
    content = {"path": ".", "train": "images/train", "val": "images/val", "names": ["bright", "dark"]}
    (root / "data.yaml").write_text(json.dumps(content))
    return root / "data.yaml"
