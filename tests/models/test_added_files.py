"""The six model files of the added modules: train, validate, save, load, and predict the same."""

import numpy as np
import pytest
import torch

from ultralytics import YOLO

MODELS = ["yolov8n-AKConv", "yolo11n-AKConv", "yolov8n-ACmix", "yolov8n-ACmix-P5", "yolov8n-C2f-DLKA", "yolov8n-DLKA"]
CPU = {"device": "cpu", "workers": 0, "plots": False}


# one of them in the default run; the others take minutes
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if i else ()) for i, n in enumerate(MODELS)])
def test_train_validate_save_load_predict(name, tiny_data, tmp_path):
    yolo = YOLO(f"{name}.yaml")
    yolo.train(data=str(tiny_data), epochs=2, imgsz=64, batch=6, nbs=6, project=str(tmp_path), **CPU)
    assert len(yolo.names) == 2 and yolo.trainer.record.epochs == 2
    printed = yolo.trainer.metrics["metrics/mAP50-95(B)"]

    again = YOLO(yolo.trainer.best)
    assert round(float(again.val(project=str(tmp_path), **CPU).box.map), 5) == printed
    path = again.save(tmp_path / "copy.pt")
    image = np.random.default_rng(0).integers(0, 255, (96, 160, 3), dtype=np.uint8)
    options = {"imgsz": 96, "conf": 1e-4, "verbose": False, "device": "cpu"}
    results = [y.predict(image, **options)[0].boxes.data for y in (yolo, again, YOLO(path))]
    assert len(results[0]) > 0
    assert torch.equal(results[0], results[1]) and torch.equal(results[1], results[2])


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["n", "s"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [(64, 64), (96, 96), (320, 320), (64, 160)])
def test_a_training_step_at_every_size(name, scale, size):
    net = YOLO(f"{name.replace('n-', f'{scale}-', 1)}.yaml").model.train()
    torch.manual_seed(0)
    batch = {
        "img": torch.rand(2, 3, *size),
        "cls": torch.tensor([[0.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.6], [0.4, 0.6, 0.3, 0.3]]),
        "batch_idx": torch.tensor([0.0, 1.0]),
    }
    loss, items = net(batch)
    loss.backward()
    assert torch.isfinite(items).all()
    missing = [k for k, p in net.named_parameters() if p.requires_grad and ".dfl" not in k and p.grad is None]
    assert not missing
