"""Small things of calls: pickling, numbers of layers, splits, and names in capitals or with blanks."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from ultralytics import YOLO
from ultralytics.cfg import get_cfg

SMALL = {"imgsz": 64, "device": "cpu", "verbose": False}
BLANK = np.zeros((64, 64, 3), np.uint8)


def test_a_model_is_picklable_after_every_call(tiny_model, tiny_data, tmp_path):
    model = YOLO(tiny_model)
    options = {"data": str(tiny_data), "plots": False, "workers": 0, "project": str(tmp_path), **SMALL}
    calls = {
        "predict": lambda: model.predict(BLANK, save=True, project=str(tmp_path), **SMALL),
        "stream": lambda: next(model.predict([BLANK, BLANK], stream=True, project=str(tmp_path), **SMALL)),
        "val": lambda: model.val(**options),
        "train": lambda: model.train(epochs=1, batch=6, **options),
    }
    for name, call in calls.items():
        call()
        copy = pickle.loads(pickle.dumps(model))
        expected, result = (m.predict(BLANK, conf=1e-4, **SMALL)[0].boxes.data for m in (model, copy))
        assert expected.equal(result), name
        assert copy.predictor.args.imgsz == 64


@pytest.mark.parametrize("embed", [[77], [-1], [0, 7]])
def test_layers_that_do_not_exist_cannot_be_embedded(tiny_model, embed):
    with pytest.raises(ValueError, match=r"embed=.* the layers 0 to 6 below its head"):
        YOLO(tiny_model).predict(BLANK, embed=embed, **SMALL)


def test_embedding_of_existing_layers(tiny_model):
    (vector,) = YOLO(tiny_model).predict(BLANK, embed=[0, 6], **SMALL)
    assert vector.shape == (8 + 16,)


@pytest.mark.parametrize("name", ["best.PT", "best.Safetensors", " best.pt"])
def test_names_of_checkpoints(tiny_model, tmp_path, name):
    if name.lower().endswith("safetensors"):
        pytest.importorskip("safetensors")
    path = YOLO(tiny_model).save(tmp_path / name)
    assert path.name == name
    assert YOLO(path).names == {0: "0", 1: "1"}
    assert get_cfg({"model": str(path), "pretrained": str(path)}).pretrained == str(path)


def test_a_model_file_in_capitals(tiny_model, tmp_path):
    (tmp_path / "TINY.YAML").write_text(tiny_model.read_text())
    assert len(YOLO(tmp_path / "TINY.YAML").model.model) == 8


def test_the_test_split_needs_no_validation_images(tiny_model, tiny_data, tmp_path):
    file = tmp_path / "d.yaml"
    lines = {"gone": f"path: {tiny_data.parent}\ntrain: gone\nval: gone\ntest: images/val\nnames: [a, b]\n"}
    lines["absent"] = f"path: {tiny_data.parent}\ntest: images/val\nnames: [a, b]\n"
    options = {"data": str(file), "plots": False, "workers": 0, "project": str(tmp_path), **SMALL}
    for text in lines.values():
        file.write_text(text)
        model = YOLO(tiny_model)
        model.val(split="test", **options)
        assert model.metrics is not None
        with pytest.raises((FileNotFoundError, ValueError), match="val"):
            model.val(split="val", **options)


@pytest.mark.parametrize("value", ["", " ", "-", "x"])
def test_environment_of_a_launcher_without_values(value):
    environment = {**os.environ, "RANK": value, "LOCAL_RANK": value, "WORLD_SIZE": value}
    script = "from ultralytics.utils import dist; print(dist.rank(), dist.local_rank(), dist.world_size())"
    out = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["-1", "-1", "1"]
