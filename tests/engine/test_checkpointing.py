"""Which files a run's checkpoints are, epoch by epoch."""

import pytest

from ultralytics.engine.checkpointing import Checkpoints
from ultralytics.engine.run_dir import RunDir
from ultralytics.nn.checkpoint import read_safely
from ultralytics.nn.tasks import DetectionModel


@pytest.fixture
def checkpoints(tmp_path):
    record = RunDir(tmp_path)
    record.start({})
    return Checkpoints(record, save_period=2)


@pytest.fixture
def network(tiny_model):
    return DetectionModel(tiny_model, verbose=False)


def epoch_of(path):
    return read_safely(path)["epoch"]


def test_last_best_and_every_second_epoch(checkpoints, network):
    for epoch, is_best in enumerate([True, True, False]):
        checkpoints.save(network, {"epoch": epoch}, epoch=epoch, is_best=is_best)
    folder = checkpoints.run_dir.weights
    assert sorted(p.name for p in folder.iterdir()) == ["best.pt", "epoch0.pt", "epoch2.pt", "last.pt"]
    epochs = {p.stem: epoch_of(p) for p in folder.iterdir()}
    assert epochs == {"best": 1, "epoch0": 0, "epoch2": 2, "last": 2}


def test_the_end_removes_what_only_resuming_needs(checkpoints, network):
    checkpoints.save(network, {"epoch": 4, "optimizer": {"a": 1}, "resume": {"b": 2}}, epoch=4, is_best=True)
    checkpoints.run_dir.add({"epoch": 5})
    checkpoints.finish()
    for name in ("last.pt", "best.pt"):
        content = read_safely(checkpoints.run_dir.weights / name)
        assert content["epoch"] == -1 and content["optimizer"] is None and content["resume"] is None
        assert content["train_results"] == {"epoch": [5]}


def test_the_end_of_a_run_that_saved_nothing(checkpoints):
    checkpoints.finish()
    assert list(checkpoints.run_dir.weights.iterdir()) == []
