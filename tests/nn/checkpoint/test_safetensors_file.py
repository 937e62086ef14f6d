""".safetensors: a network without pickle, there and back."""

import json
import sys

import pytest
import torch

from ultralytics import YOLO
from ultralytics.nn.checkpoint import CheckpointError, load_checkpoint, safetensors_file, save_checkpoint
from ultralytics.nn.tasks import DetectionModel


@pytest.fixture
def library():
    """The optional package."""
    return pytest.importorskip("safetensors.torch")


@pytest.fixture
def network(tiny_model):
    torch.manual_seed(0)
    net = DetectionModel(str(tiny_model), verbose=False).eval()
    net.names = {0: "红", 1: "b"}
    return net


@pytest.mark.parametrize("fused", [False, True])
def test_there_and_back(library, network, fused, tmp_path):
    if fused:
        network.fuse(verbose=False)
    path = tmp_path / "权重.safetensors"
    args = {"imgsz": 64, "task": "detect", "project": tmp_path}
    save_checkpoint(path, network, finished=True, train_args=args, train_metrics={"fitness": 0.5})
    back = load_checkpoint(path)
    assert back.network.names == network.names
    assert back.train_args == args | {"project": str(tmp_path)}
    assert back.content["train_metrics"] == {"fitness": 0.5}
    assert not back.can_resume
    for key, value in network.state_dict().items():
        assert torch.equal(back.network.state_dict()[key], value), key
    x = torch.rand(1, 3, 64, 96)
    assert torch.equal(back.network(x)[0], network(x)[0])


def test_through_the_model_object(library, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = YOLO(str(tiny_model))
    assert model.save("a.safetensors").is_file()
    back = YOLO("a.safetensors")
    assert (back.task, back.names) == ("detect", model.names)
    back.save("b.pt")
    again, loaded = YOLO("b.pt").model.state_dict(), YOLO(str(tiny_model)).load("a.safetensors").model.state_dict()
    for key, value in model.model.state_dict().items():
        assert torch.equal(again[key], value), key
        assert torch.equal(loaded[key], value), key


def test_other_programs_read_the_weights(library, network, tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", network, finished=True)
    state = library.load_file(tmp_path / "a.safetensors")
    assert state.keys() == network.state_dict().keys()


def test_a_running_training_is_kept_elsewhere(library, network, tmp_path):
    with pytest.raises(ValueError, match=r"\.pt"):
        save_checkpoint(tmp_path / "a.safetensors", network, finished=False)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "weights only"),
        ({"ultralytics": "{"}, "not JSON"),
        ({"ultralytics": json.dumps({"format": 2})}, "newer version"),
        ({"ultralytics": json.dumps({"format": 1, "network": "RTDETRModel", "yaml": {}})}, "RTDETRModel"),
        ({"ultralytics": json.dumps({"format": 1, "network": "DetectionModel"})}, "DetectionModel"),
        ({"ultralytics": json.dumps({"format": 1, "network": "DetectionModel", "yaml": {"head": 3}})}, "damaged"),
        ({"ultralytics": json.dumps({"format": 1, "names": {"a": "b"}})}, "damaged"),
    ],
)
def test_other_files_are_named(library, metadata, message, tmp_path):
    library.save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "a.safetensors")


def test_damaged_files(library, network, tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, network, finished=True)
    data = path.read_bytes()
    for bad in (b"", b"text", data[: len(data) // 2], b"\xff" * 8 + data[8:]):
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.safetensors")


def test_without_the_package(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ImportError, match="pip install safetensors"):
        save_checkpoint(tmp_path / "a.safetensors", network, finished=True)
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(ImportError, match="pip install safetensors"):
        safetensors_file.read(tmp_path / "a.safetensors")
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".safetensors"] == ["a.safetensors"]
