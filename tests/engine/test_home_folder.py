"""`~` stands for the home folder wherever a path can be given; no shell replaces it inside of key=~/value."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from ultralytics import YOLO
from ultralytics.cfg import get_cfg, get_save_dir
from ultralytics.cli import entrypoint
from ultralytics.utils.settings import settings

SMALL = {"imgsz": 64, "device": "cpu", "verbose": False}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and another current folder in which no folder `~` may appear."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    yield tmp_path / "home"
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.fixture
def _reset_settings():
    yield
    settings.reset()


def test_model_project_and_source(home, tiny_model):
    shutil.copy(tiny_model, home / "m.yaml")
    (home / "a.png").write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    YOLO("~/m.yaml").save("~/m.pt")
    for model in ("~/m.pt", "~/m"):
        YOLO(model).predict("~/a.png", save=True, project="~/out", name="p", exist_ok=True, **SMALL)
    assert (home / "out" / "p" / "a.png").is_file()
    assert entrypoint(["predict", "model=~/m.pt", "source=~/*.png", "project=~/cli", "imgsz=64", "device=cpu"]) == 0
    assert (home / "cli" / "predict" / "a.png").is_file()


def test_pretrained_and_resume(home, tiny_model, tiny_data):
    YOLO(tiny_model).save(home / "w.pt")
    shutil.copytree(tiny_data.parent, home / "d")
    options = {"data": "~/d/data.yaml", "batch": 6, "workers": 0, "plots": False, "project": "~/runs", "name": "r"}

    class Killed(Exception):
        pass

    def stop(trainer):
        raise Killed

    model = YOLO(tiny_model)
    model.add_callback("on_model_save", stop)
    with pytest.raises(Killed):
        model.train(pretrained="~/w.pt", epochs=2, **options, **SMALL)
    YOLO("~/runs/r/weights/last.pt").train(resume="~/runs/r/weights/last.pt", device="cpu")
    assert len((home / "runs" / "r" / "results.csv").read_text().splitlines()) == 3


@pytest.mark.usefixtures("_reset_settings")
def test_folders_of_the_settings(home, tiny_model):
    settings.update(runs_dir="~/r", weights_dir="~/w")
    (home / "w").mkdir()
    YOLO(tiny_model).save(home / "w" / "known.pt")
    assert YOLO("known.pt").names
    assert get_save_dir(get_cfg({"task": "detect", "mode": "val"})) == home / "r" / "detect" / "val"


def test_options_of_paths(home):
    options = get_cfg({"model": "~/a.pt", "data": "~/d.yaml", "resume": "~/last.pt", "pretrained": "~/w.pt"})
    expected = [str(home / name) for name in ("a.pt", "d.yaml", "last.pt", "w.pt")]
    assert [options.model, options.data, options.resume, options.pretrained] == expected
