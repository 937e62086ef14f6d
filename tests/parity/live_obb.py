"""Oriented boxes in both packages side by side; see live.py, of which this is the part for the task obb.

Labels are derived from the networks' own predictions, so that the metrics of random weights are not zero. Boxes are
smaller than the images: 8.3.0 clips the sides of larger ones, see docs/compatibility.md.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import recipe
import torch
from live import HERE, arrays, official

from ultralytics import YOLO
from ultralytics.nn.checkpoint import save_checkpoint
from ultralytics.nn.tasks import OBBModel
from ultralytics.utils.rotated_boxes import xywhr2xyxyxyxy

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


def label_with(yolo, images, folder):
    """A dataset whose labels the predictions of a network match partly."""
    rng = np.random.default_rng(0)
    shutil.copytree(images, folder / "images")
    (folder / "labels").mkdir()
    for result in yolo.predict(str(folder / "images"), imgsz=IMGSZ, conf=0.3, verbose=False):
        boxes, (h, w) = result.obb.xywhr.double().numpy()[:30], result.orig_shape
        boxes[:, 2:4] *= np.exp(rng.normal(0, 0.15, (len(boxes), 2)))
        boxes[:, 4] += rng.normal(0, 0.1, len(boxes))
        corners = (xywhr2xyxyxyxy(boxes) / (w, h)).clip(0, 1).reshape(-1, 8)
        rows = zip(result.obb.cls.tolist(), corners, strict=False)
        lines = [f"{c:.0f} " + " ".join(f"{v:.6f}" for v in row) for c, row in rows]
        (folder / "labels" / f"{Path(result.path).stem}.txt").write_text("\n".join(lines) + "\n")
    content = {"path": str(folder), "train": "images", "val": "images", "names": dict(yolo.names)}
    (folder / "data.yaml").write_text(json.dumps(content))
    return folder / "data.yaml"


@pytest.fixture(scope="module")
def compared(images, tmp_path_factory):
    """{name: (checkpoint, dataset)} of networks saved by either package, and the folder of the official results."""
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
    pairs = {name: (str(file), str(label_with(YOLO(file), images, folder / name))) for name, file in files.items()}
    run(folder / "results", use=list(pairs.values()), images=str(images))
    return pairs, folder / "results"


@pytest.mark.parametrize("name", OURS + OFFICIAL_FILES)
def test_predictions_and_metrics(name, compared, images, tmp_path):
    pairs, results = compared
    file, data = pairs[name]
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
    options = {"imgsz": IMGSZ, "batch": 4, "workers": 0, "plots": False, "verbose": False, "project": str(tmp_path)}
    metrics = YOLO(file).val(data=data, **options).results_dict
    expected = json.loads((results / f"{name}.json").read_text())
    for key in ("metrics/mAP50(B)", "metrics/mAP50-95(B)"):
        assert metrics[key] == pytest.approx(expected[key], abs=1e-3), key
    assert metrics["metrics/mAP50(B)"] > 0.2  # the labels are derived from this network
