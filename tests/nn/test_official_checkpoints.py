"""The functions of 8.3.0 that load checkpoints."""

from __future__ import annotations

import pytest
import torch

from ultralytics.nn import tasks
from ultralytics.nn.checkpoint import save_checkpoint
from ultralytics.utils.torch_utils import model_info, strip_optimizer


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    network = tasks.DetectionModel("yolov8n.yaml", nc=3, verbose=False)
    save_checkpoint(tmp_path / "a.pt", network, finished=False, train_args={"task": "detect", "imgsz": 64}, epoch=4)
    return tmp_path / "a.pt"


def test_one_weight(checkpoint):
    network, content = tasks.attempt_load_one_weight(str(checkpoint), fuse=True)
    assert isinstance(network, tasks.DetectionModel)
    assert network.is_fused()
    assert not network.training
    assert network.args["imgsz"] == 64
    assert network.task == "detect"
    assert network.pt_path == str(checkpoint)
    assert content["epoch"] == 4
    assert content["train_args"]["imgsz"] == 64


def test_ensemble(checkpoint):
    single = tasks.attempt_load_weights(checkpoint, device=torch.device("cpu"))
    both = tasks.attempt_load_weights([checkpoint, checkpoint])
    assert isinstance(both, tasks.Ensemble)
    assert both.names == single.names
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        one, joined = single(x)[0], both(x)[0]
    torch.testing.assert_close(joined, torch.cat([one, one], 2))


def test_an_ensemble_needs_the_same_classes(checkpoint, tmp_path):
    other = tasks.DetectionModel("yolov8n.yaml", nc=4, verbose=False)
    save_checkpoint(tmp_path / "b.pt", other, finished=True, train_args={})
    with pytest.raises(ValueError, match=r"\[3, 4\] classes"):
        tasks.attempt_load_weights([checkpoint, tmp_path / "b.pt"])


def test_safe_load_refuses_code(tmp_path):
    torch.save({"model": print}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad\.pt"):
        tasks.torch_safe_load(tmp_path / "bad.pt")


def test_strip_optimizer(checkpoint, tmp_path, capsys):
    content = strip_optimizer(checkpoint, tmp_path / "b.pt", updates={"date": "today"})
    assert content["date"] == "today"
    assert content["ema"] is None
    assert content["optimizer"] is None
    assert model_info(tasks.attempt_load_one_weight(tmp_path / "b.pt")[0], verbose=False)[1] > 1e6
    assert strip_optimizer(tmp_path / "none.pt") == {}
    assert "none.pt is not a checkpoint" in capsys.readouterr().out
