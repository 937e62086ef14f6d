"""A training in two gloo processes: one folder, one history, one validation, each rank its share of the images."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import ultralytics
from ultralytics.engine.metrics_json import read_metrics
from ultralytics.nn.checkpoint import load_checkpoint
from ultralytics.utils.files import read_results

ROOT = Path(ultralytics.__file__).resolve().parents[1]
WORKER = """
import hashlib, json, sys
from datetime import timedelta
import torch.distributed as td
from ultralytics.tasks import get_task
from ultralytics.utils import dist
from ultralytics.utils.torch_utils import unwrap

td.init_process_group("gloo", timeout=timedelta(seconds=120))
events, images, scales = [], [], []
options = json.loads(sys.argv[1])
trainer = get_task(options.get("task", "detect")).load("trainer")(overrides=options)
def note_scale(t):
    backward = t.optimization.backward
    t.optimization.backward = lambda loss: scales.append(float(loss / t.loss)) or backward(loss)
trainer.add_callback("on_train_start", note_scale)
for event in trainer.callbacks:
    trainer.add_callback(event, lambda t, event=event: events.append(event))
seen = trainer.preprocess_batch
trainer.preprocess_batch = lambda batch: images.extend(batch["im_file"]) or seen(batch)
trainer.train()
weights = b"".join(p.detach().numpy().tobytes() for p in unwrap(trainer.model).parameters())
facts = {
    "save_dir": str(trainer.save_dir), "events": events, "images": images, "epoch": trainer.epoch,
    "weights": hashlib.sha256(weights).hexdigest(), "validator": trainer.validator is not None,
    "csv": trainer.csv.exists(), "scales": sorted(set(scales)),
}
open(f"{sys.argv[2]}/rank{dist.rank()}.json", "w").write(json.dumps(facts))
td.destroy_process_group()
"""


def run_two(options: dict[str, object], folder: Path) -> list[dict]:
    """Facts of both ranks after a training with `options`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = folder / "worker.py"
    script.write_text(WORKER)
    shared = {**os.environ, "PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, str(script), json.dumps(options), str(folder)],
            env={**shared, "RANK": str(i), "LOCAL_RANK": str(i), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in (0, 1)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(outputs)
    return [json.loads((folder / f"rank{i}.json").read_text()) for i in (0, 1)]


@pytest.fixture(scope="module")
def two_runs(tiny_model_text, tiny_data, tmp_path_factory) -> tuple[list[dict], Path]:
    """Facts of both ranks, and the folder that holds the runs."""
    folder = tmp_path_factory.mktemp("distributed")
    (folder / "tiny.yaml").write_text(tiny_model_text)
    options = {
        "model": str(folder / "tiny.yaml"), "data": str(tiny_data), "epochs": 2, "imgsz": 64, "batch": 4, "workers": 0,
        "device": "cpu", "plots": True, "project": str(folder / "runs"), "nbs": 4,
    }  # fmt: skip
    return run_two(options, folder), folder / "runs"


def test_both_ranks_use_the_folder_that_rank_0_chose(two_runs):
    (main, other), runs = two_runs
    assert main["save_dir"] == other["save_dir"]
    assert [path.name for path in runs.iterdir()] == [Path(main["save_dir"]).name]


def test_only_rank_0_validates_saves_and_plots(two_runs):
    (main, other), _ = two_runs
    folder = Path(main["save_dir"])
    assert read_results(folder / "results.csv")["epoch"] == [1, 2]
    assert read_metrics(folder)["training"]["epochs"] == 2
    assert load_checkpoint(folder / "weights" / "best.pt").network.names == {0: "bright", 1: "dark"}
    assert "on_val_start" in main["events"] and "on_model_save" in main["events"]
    assert not {"on_val_start", "on_model_save", "on_train_end"} & set(other["events"])
    assert (main["validator"], other["validator"]) == (True, False)
    assert other["csv"], "a rank ends after the files are complete"


def test_each_image_is_used_by_one_rank_per_epoch(two_runs):
    (main, other), _ = two_runs
    assert len(main["images"]) == len(other["images"]) == 12  # two epochs of 6
    for epoch in (slice(0, 6), slice(6, 12)):
        assert len({*main["images"][epoch], *other["images"][epoch]}) == 12


def test_the_weights_stay_equal(two_runs):
    (main, other), _ = two_runs
    assert main["weights"] == other["weights"]
    assert main["epoch"] == other["epoch"] == 2
    assert other["events"][-1] == "teardown"


def test_gradients_are_those_of_one_process(two_runs, tmp_path):
    """They are averaged: a loss that is a sum over the images counts once per process, a mean does not."""
    assert [facts["scales"] for facts in two_runs[0]] == [[2.0], [2.0]]
    rows = ["[-1, 1, Conv, [8, 3, 2]]", "[-1, 1, Classify, [nc]]"]
    (tmp_path / "tiny-cls.yaml").write_text(f"nc: 2\nbackbone: [{rows[0]}]\nhead: [{rows[1]}]\n")
    for i in range(8):
        folder = tmp_path / "data" / ("train" if i < 4 else "val") / f"class{i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{i}.png"), np.full((40, 40, 3), 100 * (i % 2), np.uint8))
    options = {
        "task": "classify", "model": str(tmp_path / "tiny-cls.yaml"), "data": str(tmp_path / "data"), "epochs": 1,
        "imgsz": 32, "batch": 4, "workers": 0, "device": "cpu", "plots": False, "project": str(tmp_path / "runs"),
    }  # fmt: skip
    main, other = run_two(options, tmp_path)
    assert main["scales"] == other["scales"] == [1.0]
    assert main["weights"] == other["weights"]


def test_the_time_limit_ends_both_ranks(tiny_model_text, tiny_data, tmp_path):
    (tmp_path / "tiny.yaml").write_text(tiny_model_text)
    options = {
        "model": str(tmp_path / "tiny.yaml"), "data": str(tiny_data), "epochs": 10_000, "time": 1 / 3600, "imgsz": 64,
        "batch": 4, "workers": 0, "device": "cpu", "plots": False, "project": str(tmp_path / "runs"), "nbs": 4,
    }  # fmt: skip
    main, other = run_two(options, tmp_path)
    assert 1 <= main["epoch"] == other["epoch"] < 1000
