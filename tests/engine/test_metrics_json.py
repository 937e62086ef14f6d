"""metrics.json: what training and validation write, and reading it back."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import ultralytics
from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.engine.evaluator import ClassResult, EvalResult
from ultralytics.engine.metrics_json import (
    SCHEMA_VERSION,
    MetricsFile,
    MetricsFileError,
    data_facts,
    metrics_content,
    read_metrics,
    write_metrics,
)
from ultralytics.utils.files import read_results

PAGE = Path(ultralytics.__file__).resolve().parents[1] / "docs" / "reference" / "metrics-json.md"
CPU = {"imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": False}


def content(**changes):
    result = EvalResult(
        metrics={"fitness": 0.25, "undefined": math.nan},
        per_class=[ClassResult(0, "猫", 2, 3, {"fitness": 0.25})],
        speed={"inference": 1.23456},
        losses=None,
        images=2,
        instances=3,
        coco={"APlarge": math.inf},
    )
    values = {
        "mode": "val", "args": get_cfg({"model": "runs/best.pt", "data": "a/b.yaml"}), "network": nn.Linear(2, 1),
        "device": torch.device("cpu"), "data": data_facts("a/b.yaml", {0: "猫"}, {}), "seconds": 1.23456,
    }  # fmt: skip
    return metrics_content(result, **values | changes)


@pytest.fixture(scope="module")
def trained(tiny_model_text, tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.yaml").write_text(tiny_model_text)
    yolo = YOLO(folder / "tiny.yaml")
    yolo.train(data=str(tiny_data), epochs=6, seed=3, optimizer="AdamW", lr0=0.01, nbs=4, project=str(folder), **CPU)
    return yolo


def test_written_and_read_back(tmp_path):
    path = write_metrics(tmp_path, content())
    assert path == tmp_path / "metrics.json"
    read = read_metrics(tmp_path)
    assert read == read_metrics(str(path)) == content() | {"finished": read["finished"]}
    assert read["metrics"] == {"fitness": 0.25, "undefined": None} and read["coco"] == {"APlarge": None}
    assert read["per_class"][0]["name"] == "猫" and read["parameters"] == 3
    assert (read["model"], read["data"]["file"], read["duration_s"]) == ("best.pt", "b.yaml", 1.235)
    assert list(tmp_path.iterdir()) == [path], "no unfinished file is left"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "keys of a metrics file are missing"),
        ('{"schema_version": 1}', "keys of a metrics file are missing"),
        (json.dumps(dict.fromkeys(MetricsFile.__annotations__, 0) | {"schema_version": 99}), "99 is newer than 1"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(MetricsFileError, match=message):
        read_metrics(tmp_path)


def test_a_run_that_is_not_finished_has_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="when it is finished"):
        read_metrics(tmp_path)


def test_a_training_writes_its_figures(trained, tiny_data):
    written = read_metrics(trained.trainer.save_dir)
    results = read_results(trained.trainer.csv)
    fitness = [
        0.1 * a + 0.9 * b for a, b in zip(results["metrics/mAP50(B)"], results["metrics/mAP50-95(B)"], strict=True)
    ]
    training = written["training"]
    assert training["epochs"] == 6 and training["start_epoch"] == 0 and not training["stopped_early"]
    assert fitness[training["best_epoch"] - 1] == pytest.approx(max(fitness), abs=1e-4)
    assert (written["mode"], written["task"], written["model"], written["seed"]) == ("train", "detect", "tiny.yaml", 3)
    box = trained.metrics.box
    assert written["metrics"]["metrics/mAP50-95(B)"] == pytest.approx(box.map, abs=1e-12)
    assert [c["metrics"]["metrics/mAP50(B)"] for c in written["per_class"]] == pytest.approx(box.ap50.tolist())
    assert [(c["name"], c["images"], c["instances"]) for c in written["per_class"]] == [
        ("bright", 6, 6),
        ("dark", 6, 6),
    ]
    assert (written["images"], written["instances"]) == (6, 12)
    splits = written["data"]["splits"]
    assert {k: (v["images"], v["instances"]) for k, v in splits.items()} == {"train": (12, 24), "val": (6, 12)}
    assert written["settings"]["lr0"] == 0.01 and written["versions"]["torch"] == torch.__version__
    assert written["duration_s"] > 0 and written["device"]["type"] == "cpu"


def test_a_validation_writes_into_its_own_folder(trained, tmp_path):
    yolo = YOLO(trained.trainer.best)
    metrics = yolo.val(project=str(tmp_path), name="check", **CPU)
    written, training = read_metrics(tmp_path / "check"), read_metrics(trained.trainer.save_dir)
    assert written["mode"] == "val" and written["training"] is None and written["model"] == "best.pt"
    assert written["metrics"]["fitness"] == pytest.approx(metrics.fitness, abs=1e-12)
    assert written["data"]["splits"]["val"] == training["data"]["splits"]["val"]
    assert written["parameters"] == training["parameters"]


def test_an_interrupted_run_has_no_metrics(tiny_model, tiny_data, tmp_path):
    def interrupt(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    yolo = YOLO(tiny_model)
    yolo.add_callback("on_train_epoch_start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        yolo.train(data=str(tiny_data), epochs=2, project=str(tmp_path / "runs"), **CPU)
    assert yolo.trainer.csv.exists() and not (yolo.trainer.save_dir / "metrics.json").exists()


def test_the_page_describes_every_field():
    page = PAGE.read_text(encoding="utf-8")
    assert [key for key in MetricsFile.__annotations__ if f"`{key}`" not in page] == []
    assert f"`schema_version` | integer | {SCHEMA_VERSION}" in page
