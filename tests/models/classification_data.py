"""A dataset of three classes of colored images, and a network so small that it learns them in seconds."""

from pathlib import Path

import cv2
import numpy as np

MODEL = """\
nc: 80
scales: {n: [0.33, 0.125, 1024]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
head:
  - [-1, 1, Classify, [nc]]
"""
COLORS = {"blue": (220, 40, 30), "green": (30, 200, 40), "red": (30, 40, 220)}  # BGR


def write_model(folder: Path) -> str:
    """The model file in `folder`."""
    path = folder / "tiny-cls.yaml"
    path.write_text(MODEL, encoding="utf-8")
    return str(path)


def write_image(path: Path, name: str, seed: int, shape: tuple[int, int] = (40, 56)) -> None:
    """A noisy image of the color `name`."""
    noise = np.random.default_rng(seed).integers(-25, 25, (*shape, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.clip(COLORS[name] + noise, 0, 255).astype(np.uint8))[1].tobytes())


def write_dataset(root: Path, **splits: dict[str, int]) -> str:
    """The folder `root` with the images split="class: count"; "all" stands for no split folder."""
    seed = 0
    for split, classes in splits.items():
        for name, count in classes.items():
            for i in range(count):
                seed += 1
                folder = root if split == "all" else root / split
                write_image(folder / name / f"{i}.png", name, seed)
    return str(root)


def every_class(count: int) -> dict[str, int]:
    """`count` images of every class."""
    return dict.fromkeys(COLORS, count)
