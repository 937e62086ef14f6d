"""Results of every task that the tests of results share."""

from __future__ import annotations

import numpy as np
import torch

from ultralytics.engine.results import Results

NAMES = {0: "cat", 1: "dog", 2: "红细胞"}
ROWS = [[10, 20, 50, 40, 0.9, 0], [0, 0, 100, 80, 0.5, 1], [60, 10, 70, 30, 0.25, 0]]  # in an image of 80 x 100
TRACKED = [[10, 20, 50, 40, 7, 0.9, 0], [0, 0, 100, 80, 8, 0.5, 1]]


def image(h=80, w=100):
    return np.full((h, w, 3), 127, np.uint8)


def results(rows=ROWS, path="some/where/im.jpg", h=80, w=100, **components):
    boxes = torch.tensor(rows).reshape(-1, len(rows[0]) if rows else 6)
    return Results(image(h, w), path, NAMES, boxes=boxes, **components)


def of_every_task():
    """A result of each task by name, all with instances."""
    mask = torch.zeros(2, 80, 100)
    mask[0, 25:35, 15:45] = 1
    rows = torch.tensor(ROWS[:2])
    points = torch.tensor([[[20.0, 30, 0.9], [40, 35, 0.1]]] * 2)
    oriented = torch.tensor([[50.0, 40, 40, 20, 0.5, 0.9, 1]])
    every = {
        "detect": {"boxes": rows},
        "segment": {"boxes": rows, "masks": mask},
        "pose": {"boxes": rows, "keypoints": points},
        "obb": {"obb": oriented},
        "classify": {"probs": torch.tensor([0.25, 0.7, 0.05])},
    }
    return {task: Results(image(), "im.jpg", NAMES, **parts) for task, parts in every.items()}
