"""The other process of live_obb.py: `python official_obb.py JOB.json`, with the official package.

A job is {"out": folder, "use": checkpoints, "make": new ones, "images", "imgsz"}.
"""

import json
import sys
from pathlib import Path

import numpy as np
import recipe
import torch

from ultralytics import YOLO
from ultralytics.nn.tasks import OBBModel


def make(path, model_file):
    """A checkpoint of a network with random weights whose boxes are smaller than the images."""
    torch.manual_seed(0)
    model = OBBModel(model_file, nc=3, verbose=False)
    shrink(model)
    model.names = {i: f"name {i}" for i in range(3)}
    torch.save({"model": model.half(), "train_args": {"task": "obb", "imgsz": 160}, "version": "8.3.0"}, path)


def shrink(model):
    """Random weights that tell images apart, and boxes of a few cells."""
    recipe.stir(model)
    with torch.no_grad():
        for box in model.model[-1].cv2:
            box[-1].bias.copy_(-0.6 * torch.arange(16.0).repeat(4))


def use(out, file, images, imgsz):
    """Predictions."""
    results = [r.obb.data.numpy() for r in YOLO(file).predict(images, imgsz=imgsz, conf=0.3, verbose=False)]
    np.savez(out / f"{Path(file).stem}.npz", *results)


if __name__ == "__main__":
    torch.set_num_threads(1)
    job = json.loads(Path(sys.argv[1]).read_text())
    out = Path(job["out"])
    for path, model_file in job.get("make", []):
        make(path, model_file)
    for file in job.get("use", []):
        use(out, file, job["images"], job["imgsz"])
