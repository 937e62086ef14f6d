"""A tiny dataset on the disk, for the tests of this folder."""

import json
from pathlib import Path

import cv2
import numpy as np

from ultralytics.data.instances import Instances, Segments


def write_image(path: Path, h: int = 48, w: int = 64, seed: int = 0) -> Path:
    """A smooth random image; any path works."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, raw = cv2.imencode(path.suffix, cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC))
    assert ok
    raw.tofile(path)
    return path


def write_label(image: Path, text: str) -> Path:
    """The label file of an image in .../images/...: exactly this text."""
    folders = ["labels" if part == "images" else part for part in image.parent.parts]
    path = Path(*folders) / f"{image.stem}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def make_dataset(root: Path, n: int = 6, names: tuple[str, ...] = ("a", "b")) -> Path:
    """n images of varied shape with one or two boxes each, used for train and val; returns the YAML file."""
    for i in range(n):
        h, w = [(48, 64), (64, 48), (64, 64), (40, 64)][i % 4]
        image = write_image(root / "images" / "train" / f"图 {i:02}.png", h, w, seed=i)
        lines = [f"{i % len(names)} 0.5 0.5 0.4 0.5"] + (["0 0.25 0.3 0.2 0.2"] if i % 2 else [])
        write_label(image, "\n".join(lines) + "\n")
    file = root / "data.yaml"
    file.write_text(json.dumps({"path": ".", "train": "images/train", "val": "images/train", "names": list(names)}))
    return file


def instances(boxes, polygons=None, **parts) -> Instances:
    """Instances of the classes 0, 1, 2, ... with these boxes; `polygons` has an array of points for each, or None."""
    n = len(boxes)
    segments = None if polygons is None else Segments.from_polygons([[] if p is None else [p] for p in polygons])
    return Instances(np.arange(n, dtype=np.float32), np.float32(boxes).reshape(-1, 4), segments, **parts)
