"""Names of run folders: numbering, project and name, settings, ranks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ultralytics.cfg import get_cfg, get_save_dir
from ultralytics.utils.settings import settings


def args_of(**overrides):
    return get_cfg({"task": "detect", "mode": "train", **overrides})


@pytest.mark.parametrize(
    ("overrides", "existing", "folder"),
    [
        ({}, [], "runs/detect/train"),
        ({}, ["runs/detect/train"], "runs/detect/train2"),
        ({}, ["runs/detect/train", "runs/detect/train2"], "runs/detect/train3"),
        ({"mode": "val"}, [], "runs/detect/val"),
        ({"name": "a"}, [], "runs/detect/a"),
        ({"project": "p"}, [], "p/train"),
        ({"project": "p", "name": "v1.5"}, ["p/v1.5"], "p/v1.52"),
        ({"name": "a", "exist_ok": True}, ["runs/detect/a"], "runs/detect/a"),
        ({"name": "model", "model": "x/yolo11n-AKConv.yaml"}, [], "runs/detect/yolo11n-AKConv"),
    ],
)
def test_run_folder(overrides, existing, folder, cwd):
    for path in existing:
        Path(path).mkdir(parents=True)
    before = sorted(cwd.rglob("*"))
    assert get_save_dir(args_of(**overrides)) == Path(folder)
    assert sorted(cwd.rglob("*")) == before  # the folder is created later, after the inputs are checked


def test_explicit_save_dir(cwd):
    assert get_save_dir(SimpleNamespace(save_dir="x/y")) == Path("x/y")


def test_run_folder_of_the_settings(cwd):
    settings["runs_dir"] = "elsewcwd"
    assert get_save_dir(args_of()) == Path("elsewcwd/detect/train")


def test_other_ranks_use_the_folder_of_rank_0(cwd, monkeypatch):
    Path("runs/detect/train").mkdir(parents=True)
    monkeypatch.setenv("RANK", "1")
    assert get_save_dir(args_of()) == Path("runs/detect/train")
