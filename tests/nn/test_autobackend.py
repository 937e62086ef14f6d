"""AutoBackend of 8.3.0 over this package's networks and checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ultralytics.nn.autobackend import AutoBackend, check_class_names, default_class_names
from ultralytics.nn.checkpoint import save_checkpoint
from ultralytics.nn.tasks import DetectionModel


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return DetectionModel("yolov8n.yaml", nc=2, verbose=False).eval()


def test_checkpoint_and_network_give_the_same(network, tmp_path):
    save_checkpoint(tmp_path / "a.pt", network, finished=True, train_args={"task": "detect"})
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(x)[0]
        for weights in (str(tmp_path / "a.pt"), network):
            backend = AutoBackend(weights, device=torch.device("cpu"), fp16=False, verbose=False)
            torch.testing.assert_close(backend(x)[0], expected.float(), rtol=1e-2, atol=1e-2)
    assert (backend.stride, backend.pt, backend.fp16, backend.names) == (32, True, False, network.names)
    assert not network.is_fused()
    backend.warmup((1, 3, 64, 64))
    assert backend.from_numpy(np.zeros(2)).tolist() == [0, 0]


def test_without_fusing_the_network_itself_runs(network):
    assert AutoBackend(network, fuse=False).model is network


def test_other_formats_are_errors():
    with pytest.raises(ValueError, match="PyTorch networks only"):
        AutoBackend("a.onnx")


def test_class_names():
    assert check_class_names(["a", "b"]) == {0: "a", 1: "b"}
    assert check_class_names({"0": "x", "1": 2}) == {0: "x", 1: "2"}
    with pytest.raises(KeyError, match="must be 0 to 1, but are 0 to 5"):
        check_class_names({0: "a", 5: "b"})
    assert default_class_names("coco128.yaml")[1] == "bicycle"
    assert len(default_class_names()) == 999
