"""Every detection model file of every family trains: a short run for the small networks, a step for the large ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ultralytics import YOLO
from ultralytics.cfg import MODELS_DIR, find_model_yaml
from ultralytics.nn.model_file import yaml_model_load
from ultralytics.nn.tasks import DetectionModel, guess_model_task
from ultralytics.utils import IterableSimpleNamespace
from ultralytics.utils.files import read_results

SMALL = (
    *("yolov3-tiny", "yolov5n", "yolov5n-p6", "yolov6n", "yolov9t", "yolov10n", "yolo11n"),
    *(f"yolov8n{part}" for part in ("", "-p2", "-p6", "-ghost", "-ghost-p2", "-ghost-p6")),
)
LARGE = (
    *("yolov3", "yolov3-spp", "yolov9s", "yolov9m", "yolov9c", "yolov9e"),
    *("yolov10s", "yolov10m", "yolov10b", "yolov10l", "yolov10x"),
)


def test_no_family_is_missing() -> None:
    files = [file for file in MODELS_DIR.rglob("yolo*.yaml") if file.parent.name != "add"]
    detection = {file for file in files if guess_model_task(yaml_model_load(file)) == "detect"}
    assert {find_model_yaml(f"{name}.yaml") for name in (*SMALL, *LARGE)} == detection


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_train_validate_predict(name, tiny_data, tmp_path) -> None:
    args = {"imgsz": 64, "batch": 6, "workers": 0, "device": "cpu", "plots": False, "project": tmp_path}
    YOLO(f"{name}.yaml").train(data=tiny_data, epochs=1, **args)
    results = read_results(tmp_path / "train" / "results.csv")
    losses = [value for key, values in results.items() if "loss" in key for value in values]
    assert len(losses) == 6
    assert all(math.isfinite(x) and x >= 0 for x in losses)
    trained = YOLO(tmp_path / "train" / "weights" / "last.pt")
    metrics = trained.val(data=tiny_data, **args)
    assert 0 <= metrics.results_dict["metrics/mAP50(B)"] <= 1
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert len(trained.predict(image, imgsz=64, conf=0.0, device="cpu")[0].boxes)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_one_step(name) -> None:
    torch.manual_seed(0)
    model = DetectionModel(f"{name}.yaml", nc=2, verbose=False).train()
    model.args = IterableSimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.4, 0.6, 0.3, 0.5]])
    batch = {"img": torch.rand(2, 3, 64, 64), "batch_idx": torch.arange(2.0), "cls": torch.ones(2, 1), "bboxes": boxes}
    loss, items = model.loss(batch)
    loss.backward()
    assert items.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
