"""YOLO as scripts for 8.3.0 use it: a torch.nn.Module, with that version's attributes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image

from ultralytics import YOLO
from ultralytics.engine.model import Model
from ultralytics.tasks import TASKS


@pytest.fixture
def yolo(tiny_model: Path) -> YOLO:
    return YOLO(tiny_model)


def test_yolo_is_a_module_with_one_child(yolo: YOLO) -> None:
    assert isinstance(yolo, torch.nn.Module) and isinstance(yolo, Model)
    assert list(yolo.children()) == [yolo.model]
    assert dict(yolo.named_modules())["model.model.0"] is yolo.model.model[0]
    assert list(map(id, yolo.parameters())) == list(map(id, yolo.model.parameters()))
    assert [name for name, _ in yolo.named_parameters()] == [f"model.{n}" for n, _ in yolo.model.named_parameters()]
    assert next(iter(yolo.modules())) is yolo


def test_weights_that_are_loaded_are_those_of_the_network(yolo: YOLO, tiny_model: Path) -> None:
    other = YOLO(tiny_model)
    assert str(other.load_state_dict(yolo.state_dict())) == "<All keys matched successfully>"
    for ours, theirs in zip(yolo.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_modes_of_a_module_train_nothing(yolo: YOLO) -> None:
    assert yolo.eval() is yolo
    assert not yolo.training and not yolo.model.training and not yolo.model.model[0].training
    for call in (lambda: yolo.train(True), lambda: yolo.train(mode=True)):
        yolo.eval()
        assert call() is yolo and yolo.training and yolo.model.training
    assert yolo.trainer is None


def test_precision_gradients_and_devices(yolo: YOLO) -> None:
    assert yolo.half() is yolo and next(yolo.parameters()).dtype == torch.float16
    assert yolo.float() is yolo and next(yolo.parameters()).dtype == torch.float32
    assert yolo.requires_grad_(False) is yolo and not any(p.requires_grad for p in yolo.model.parameters())
    assert "device" not in yolo.overrides
    assert yolo.cpu() is yolo and yolo.overrides["device"] == "cpu"
    assert yolo.to("cpu", torch.float64) is yolo and next(yolo.parameters()).dtype == torch.float64


def test_attributes_of_a_new_network(yolo: YOLO, tiny_model: Path) -> None:
    assert yolo.cfg == yolo.model_name == str(tiny_model)
    assert yolo.ckpt is None and yolo.session is None and yolo.transforms is None


def test_a_checkpoint_holds_its_network(yolo: YOLO, tmp_path: Path) -> None:
    loaded = YOLO(yolo.save(tmp_path / "tiny.pt"))
    assert loaded.ckpt["model"] is loaded.model
    assert loaded.cfg is None and loaded.model_name == str(tmp_path / "tiny.pt")
    for same in (pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded)):
        assert same.ckpt["model"] is same.model and same.names == loaded.names


def test_transforms_of_a_classification_network(tmp_path: Path) -> None:
    yolo = YOLO("yolo11n-cls.yaml")
    assert yolo.transforms is None
    yolo.overrides["imgsz"] = 64
    transforms = YOLO(yolo.save(tmp_path / "x.pt")).transforms

    assert transforms(Image.new("RGB", (300, 200))).shape == (3, 64, 64)


def test_task_map_has_the_classes_of_every_task(yolo: YOLO) -> None:
    assert list(yolo.task_map) == list(TASKS)
    for name, classes in yolo.task_map.items():
        assert set(classes) == {"model", "trainer", "validator", "predictor"}
        assert classes["trainer"] is TASKS[name].load("trainer")


def test_classes_of_an_overridden_task_map_are_used(tiny_model: Path) -> None:
    class OwnPredictor(TASKS["detect"].load("predictor")):
        """As its base."""

    class OwnYOLO(YOLO):
        @property
        def task_map(self):
            table = super().task_map
            table["detect"]["predictor"] = OwnPredictor
            return table

    yolo = OwnYOLO(tiny_model)
    yolo.predict(torch.zeros(1, 3, 32, 32), verbose=False)
    assert type(yolo.predictor) is OwnPredictor
    assert repr(yolo).startswith("OwnYOLO(")


def test_task_can_be_set(yolo: YOLO) -> None:
    yolo.task = "segment"
    assert yolo.task == yolo.model.task == yolo.overrides["task"] == "segment"
    with pytest.raises(ValueError, match="the task 'fly' is not part of this version"):
        yolo.task = "fly"


@pytest.mark.parametrize("method", ["track", "export", "benchmark", "tune"])
def test_missing_methods_say_so(yolo: YOLO, method: str) -> None:
    with pytest.raises(NotImplementedError, match=rf"YOLO.{method}\(\) is not part of this version; "):
        getattr(yolo, method)(format="onnx")


def test_a_yolo_object_is_accepted_as_network(yolo: YOLO) -> None:
    predictor = TASKS["detect"].load("predictor")(overrides={"imgsz": 32, "verbose": False})
    assert len(predictor(torch.zeros(1, 3, 32, 32), model=yolo)) == 1
