"""Files and folders of runs: one folder per run, one file per image, and names that any file system allows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import cv2
import numpy as np
import pytest

from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.engine.video_file import VIDEO_SUFFIX, VideoFile
from ultralytics.models.yolo.detect import DetectionPredictor, DetectionValidator
from ultralytics.utils.files import yaml_load


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


@pytest.fixture
def gbk(tmp_path):
    """Make names from GBK bytes, as unpacked on Linux from an archive of a Chinese Windows."""

    def name(text: str) -> str:
        return os.fsdecode(text.encode("gbk"))

    try:
        (tmp_path / name("广州")).mkdir()
    except OSError:
        pytest.skip("this file system has Unicode names only")
    return name


def test_names_that_are_not_utf_8(tiny_model, options, tmp_path, gbk, capfd):
    """They end neither in a crash of OpenCV nor in a UnicodeEncodeError, and are readable in all texts."""
    root = tmp_path / gbk("广州")
    for split in ("train", "val"):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for i in range(4):
            pixels = cv2.imencode(".png", np.full((64, 64, 3), 50 * i, np.uint8))[1]
            (root / "images" / split / f"{gbk('马')}{i}.png").write_bytes(pixels.tobytes())
            (root / "labels" / split / f"{gbk('马')}{i}.txt").write_text("0 .5 .5 .5 .5\n1 .3 .3 .2 .2\n")
    data = root / "data.yaml"
    data.write_text("train: images/train\nval: images/val\nnames: [a, 狗]\n", encoding="utf-8")
    more = {**options, "verbose": True, "project": str(root / "runs"), "conf": 1e-6, "max_det": 3, "exist_ok": True}

    model = YOLO(tiny_model)
    model.train(data=str(data), epochs=1, batch=4, **{key: more[key] for key in more if key not in ("conf", "max_det")})
    run = root / "runs" / "run"
    assert yaml_load(run / "args.yaml")["data"] == str(tmp_path / "广州" / "data.yaml")
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8"))["settings"]["data"].endswith("广州/data.yaml")
    YOLO(run / "weights" / "last.pt").save(run / "x.safetensors")

    YOLO(run / "x.safetensors").val(data=str(data), save_json=True, save_txt=True, **more)
    rows = json.loads((run / "predictions.json").read_text(encoding="utf-8"))
    assert {row["image_id"] for row in rows} == {"马0", "马1", "马2", "马3"}
    assert "马0.png" in (run / "instances.json").read_text(encoding="utf-8")
    assert (run / "labels" / f"{gbk('马')}0.txt").is_file(), (
        "beside each other, image and label file have the same name"
    )

    files = {"save": True, "save_txt": True, "save_crop": True, "visualize": True}
    results = model.predict(root / "images" / "val", **files, **more)
    assert len(results) == 4
    assert {f"{gbk('马')}{i}.png" for i in range(4)} <= {path.name for path in run.iterdir()}
    assert "广州/images/val/马0.png" in capfd.readouterr().out


def test_videos_whose_names_are_not_utf_8(tiny_model, options, tmp_path, gbk):
    path = tmp_path / gbk("广州") / f"{gbk('视频')}.avi"
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for i in range(3):
        video.write(np.full((64, 64, 3), 50 * i, np.uint8))
    video.release()
    (tmp_path / "v.avi").rename(path)
    options["project"] = str(path.parent / "runs")
    assert len(list(YOLO(tiny_model).predict(path, save=True, stream=True, **options))) == 3
    assert (
        cv2.VideoCapture(str(_linked(path.parent / "runs", tmp_path) / "run" / "视频.avi")).get(
            cv2.CAP_PROP_FRAME_COUNT
        )
        == 3
    )


def _linked(folder, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    return link


@pytest.mark.parametrize("shape", [(5000, 3), (3, 5000), (1, 3000), (1, 1)])
def test_a_strip_does_not_end_the_run_of_a_folder(tiny_model, tmp_path, options, shape):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, size in (("a", (64, 64)), ("b", shape), ("c", (48, 64))):
        (folder / f"{name}.png").write_bytes(cv2.imencode(".png", np.zeros((*size, 3), np.uint8))[1].tobytes())
    files = {"save": True, "save_txt": True, "save_crop": True, "conf": 1e-6, "max_det": 3}
    for batch in (1, 3):
        assert len(YOLO(tiny_model).predict(folder, batch=batch, **files, **options)) == 3
    assert cv2.imread(str(tmp_path / "run" / "b.png")).shape == (*shape, 3)


def test_a_video_on_a_full_disk_is_an_error(tiny_model, tmp_path):
    """OpenCV only prints a warning, and the exit code was 0."""
    pytest.importorskip("resource")
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 320))
    rng = np.random.default_rng(0)
    for _ in range(12):
        video.write(rng.integers(0, 256, (320, 320, 3), dtype=np.uint8))
    video.release()
    script = (
        "import resource, signal, sys; from ultralytics.cli import entrypoint;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "sys.exit(entrypoint(sys.argv[1:]))"
    )
    words = ["predict", f"model={tiny_model}", f"source={tmp_path / 'v.avi'}", "imgsz=64", "device=cpu"]
    run = subprocess.run(
        [sys.executable, "-c", script, *words, f"project={tmp_path}"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert "of 12 frames can be read; is the disk full?" in run.stderr


def test_a_full_disk_is_noticed_while_a_video_is_written(tmp_path, monkeypatch):
    frame = np.zeros((64, 64, 3), np.uint8)
    video = VideoFile(tmp_path / f"v{VIDEO_SUFFIX}", 10, frame)
    video.write(frame)
    video.write(np.zeros((32, 64, 3), np.uint8))  # of another size
    free = shutil.disk_usage(tmp_path)._replace(free=100)
    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"No space left.*v\."):
        patch.setattr(shutil, "disk_usage", lambda path: free)
        video.write(frame)
    video.close()
    assert cv2.VideoCapture(str(video.file)).get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_names_of_images_are_unique_in_their_folder(tmp_path):
    validator = DetectionValidator(save_dir=tmp_path, args={"mode": "val"})
    files = [("x/a.jpg", ""), ("y/a.jpg", ""), ("x/a.jpg", ""), ("z/a.jpg", "cats"), ("z/a.png", "cats")]
    assert [validator.stem(*file) for file in files] == ["a", "a_2", "a", "a", "a_2"]
