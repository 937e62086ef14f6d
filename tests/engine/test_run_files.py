"""Files and folders of runs: one folder per run, one file per image, and names that any file system allows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import cv2
import numpy as np
import pytest

from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.detect import DetectionPredictor, DetectionValidator


@pytest.fixture
def options(tmp_path):
    """Options of a small run in tmp_path/run."""
    return {"imgsz": 64, "device": "cpu", "project": str(tmp_path), "name": "run", "verbose": False, "workers": 0}


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", np.full((48, 64, 3), 90, np.uint8))[1].tobytes())
    return path


def folders(tmp_path):
    return sorted(path.name for path in tmp_path.glob("run*"))


def test_predictors_that_start_together_have_their_own_folders(tiny_model, photo, options, tmp_path):
    model = YOLO(tiny_model).model
    args = get_cfg({**options, "task": "detect", "mode": "predict", "save": True})
    predictors = [DetectionPredictor(overrides=args) for _ in range(3)]
    assert len({predictor.save_dir for predictor in predictors}) == 1  # none has begun
    runs = [predictor(photo, model, stream=True) for predictor in predictors]
    for run in [*runs, *runs]:
        list(run)
    assert folders(tmp_path) == ["run", "run2", "run3"]
    assert all((predictor.save_dir / "a.png").is_file() for predictor in predictors)


def test_a_predictor_leaves_no_folder_without_files(tiny_model, photo, options, tmp_path):
    model = YOLO(tiny_model)
    model.predict(photo, save_txt=True, conf=1.0, **options)
    assert folders(tmp_path) == []
    model.predict(photo, **options)
    assert folders(tmp_path) == []
    (tmp_path / "run").mkdir()
    model.predict(photo, save_txt=True, conf=1.0, exist_ok=True, **options)
    assert folders(tmp_path) == ["run"], "an empty folder of the user stays"


def test_a_predictor_used_twice_keeps_its_folder(tiny_model, photo, options, tmp_path):
    predictor = DetectionPredictor(overrides={**options, "save": True, "task": "detect"})
    model = YOLO(tiny_model).model
    predictor(photo, model)
    predictor(photo)
    assert folders(tmp_path) == ["run"]


def test_validators_that_start_together_have_their_own_folders(tiny_model, tiny_data, options, tmp_path):
    args = {**options, "data": str(tiny_data), "plots": False, "task": "detect"}
    validators = [DetectionValidator(args=args) for _ in range(2)]
    network = YOLO(tiny_model).model
    for validator in validators:
        validator(model=network)
    assert folders(tmp_path) == ["run", "run2"]
    assert all((validator.save_dir / "metrics.json").is_file() for validator in validators)


def test_a_validator_leaves_no_folder_after_a_mistake(tiny_model, options, tmp_path):
    with pytest.raises(FileNotFoundError):
        YOLO(tiny_model).val(data=str(tmp_path / "no.yaml"), **options)
    assert folders(tmp_path) == []


def test_trainers_that_start_together_have_their_own_folders(options, tmp_path):
    class Trainer(BaseTrainer):
        def get_dataset(self):
            return {"train": "", "val": "", "names": {0: "a"}, "nc": 1}

    barrier = Barrier(8)

    def start(_):
        barrier.wait()
        return Trainer(overrides={**options, "task": "detect", "mode": "train", "data": "x.yaml"}).save_dir

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(8)))) == 8
