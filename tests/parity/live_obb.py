"""Oriented boxes in both packages side by side; see live.py, of which this is the part for the task obb.

Predictions only; metrics are compared on fixed outputs, in tests/models/test_obb.py. Boxes are smaller than the images:
8.3.0 clips the sides of larger ones, see docs/compatibility.md.
"""

import json
import shutil

import numpy as np
import pytest
import recipe
import torch
from live import HERE, arrays, official

from ultralytics import YOLO
from ultralytics.nn.checkpoint import save_checkpoint
from ultralytics.nn.tasks import OBBModel

IMGSZ = 160
OURS, OFFICIAL_FILES = ("ours-yolov8n", "ours-yolo11n"), ("official-yolov8n", "official-yolo11n")


def shrink(model):
    """As in official_obb.py."""
    recipe.stir(model)
    with torch.no_grad():
        for box in model.model[-1].cv2:
            box[-1].bias.copy_(-0.6 * torch.arange(16.0).repeat(4))


@pytest.fixture(scope="module")
def images(bccd, tmp_path_factory):
    """Eight photographs, cut so that not all have one shape."""
    folder = tmp_path_factory.mktemp("photographs")
    for source in sorted((bccd / "images" / "val").iterdir())[:8]:
        shutil.copyfile(source, folder / source.name)
    return folder


def run(folder, **job):
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_text(json.dumps({"out": str(folder), "imgsz": IMGSZ} | job))
    official(HERE / "official_obb.py", folder / "job.json", cwd=folder)


@pytest.fixture(scope="module")
def compared(images, tmp_path_factory):
    """{name: checkpoint} of networks saved by either package, and the folder of the official results."""
    folder = tmp_path_factory.mktemp("obb")
    files = {name: folder / f"{name}.pt" for name in OURS + OFFICIAL_FILES}
    for name in OURS:
        torch.manual_seed(1)
        network = OBBModel(f"{name.removeprefix('ours-')}-obb.yaml", nc=3, verbose=False)
        shrink(network)
        network = network.half().float()  # the official package reads the half-precision network
        network.names = {i: f"name {i}" for i in range(3)}
        save_checkpoint(files[name], network, finished=True, train_args={"task": "obb", "imgsz": IMGSZ})
    run(folder / "make", make=[(str(files[n]), f"{n.removeprefix('official-')}-obb.yaml") for n in OFFICIAL_FILES])
    files = {name: str(file) for name, file in files.items()}
    run(folder / "results", use=list(files.values()), images=str(images))
    return files, folder / "results"


@pytest.mark.parametrize("name", OURS + OFFICIAL_FILES)
def test_predictions(name, compared, images):
    files, results = compared
    file = files[name]
    predicted = YOLO(file).predict(str(images), imgsz=IMGSZ, conf=0.3, verbose=False)
    for result, expected in zip(predicted, arrays(results / f"{name}.npz"), strict=True):
        found = result.obb.data.numpy()
        assert found.shape == expected.shape
        assert len(found) > 5
        height, width = result.orig_shape
        inside = ((expected[:, :2] > 0) & (expected[:, :2] < (width, height))).all(1)  # 8.3.0 clips the other centers
        difference = np.abs(found[:, None] - expected[inside])  # confidences may be equal, so the order may differ
        nearest = difference.sum(2).argmin(0)
        assert len(set(nearest.tolist())) == inside.sum() > 5
        worst = difference[nearest, np.arange(len(nearest))].max(0)
        assert (worst <= [1e-2] * 4 + [1e-3, 1e-3, 0]).all(), worst  # pixels, radians, confidence, class
