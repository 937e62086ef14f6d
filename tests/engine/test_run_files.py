"""Files and folders of runs: one folder per run, one file per image, and names that any file system allows."""

from __future__ import annotations

import json
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


@pytest.fixture
def twins(tmp_path):
    """A dataset file of six images in two folders, whose names are equal."""
    for folder in ("x", "y"):
        for i in range(3):
            image = tmp_path / "images" / folder / f"{i}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((64, 64, 3), 40 * i + 100 * (folder == "x"), np.uint8)
            image.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
            label = tmp_path / "labels" / folder / f"{i}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("0 0.5 0.5 0.5 0.5\n")
    file = tmp_path / "twins.yaml"
    file.write_text("train: images\nval: images\nnames: [a, b]\n")
    return file


def test_validation_writes_a_file_for_each_of_two_equal_names(tiny_model, twins, options, tmp_path):
    more = {"save_txt": True, "save_json": True, "conf": 1e-6, "max_det": 3, "plots": False}
    YOLO(tiny_model).val(data=str(twins), **more, **options)
    names = sorted(path.name for path in (tmp_path / "run" / "labels").iterdir())
    assert names == ["0.txt", "0_2.txt", "1.txt", "1_2.txt", "2.txt", "2_2.txt"]
    rows = json.loads((tmp_path / "run" / "predictions.json").read_text())
    assert {row["image_id"] for row in rows} == {0, "0_2", 1, "1_2", 2, "2_2"}
    truth = json.loads((tmp_path / "run" / "instances.json").read_text())
    assert len({image["id"] for image in truth["images"]}) == 6


def test_prediction_writes_files_for_each_of_two_equal_names(tiny_model, twins, options, tmp_path):
    source = [str(path) for path in sorted((tmp_path / "images").rglob("*.png"))]
    files = {"save": True, "save_txt": True, "save_crop": True, "visualize": True, "conf": 1e-6, "max_det": 1}
    results = YOLO(tiny_model).predict(source, batch=4, **files, **options)
    run = tmp_path / "run"
    stems = ["0", "0_2", "1", "1_2", "2", "2_2"]
    assert sorted(path.stem for path in run.glob("*.png")) == stems
    assert sorted(path.stem for path in run.glob("labels/*.txt")) == stems
    assert len(list(run.glob("crops/*/*.jpg"))) == sum(len(result) for result in results) == 6
    maps = [np.load(run / stem / "stage0_Conv_features.npy") for stem in ("0", "0_2")]
    assert not np.array_equal(*maps), "of the images of both folders"
    assert sorted(path.name for path in run.iterdir() if path.is_dir()) == [*stems, "crops", "labels"]


def test_every_frame_of_a_video_is_visualized(tiny_model, options, tmp_path):
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for i in range(3):
        video.write(np.full((64, 64, 3), 50 * i, np.uint8))
    video.release()
    list(YOLO(tiny_model).predict(tmp_path / "v.avi", visualize=True, stream=True, **options))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["v_1", "v_2", "v_3"]
