"""Checkpoints: what is written is read back; nothing in a file is run."""

import builtins
import os
import pickle
import zipfile

import pytest
import torch

from ultralytics.nn.checkpoint import CheckpointError, load_checkpoint, read_safely, save_checkpoint, strip_checkpoint
from ultralytics.nn.tasks import DetectionModel

LAYOUT = [
    "epoch",
    "best_fitness",
    "model",
    "ema",
    "updates",
    "optimizer",
    "train_args",
    "train_metrics",
    "train_results",
    "date",
    "version",
    "license",
    "docs",
]


@pytest.fixture
def network(tiny_model):
    torch.manual_seed(0)
    net = DetectionModel(str(tiny_model), verbose=False).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * 0.01)
    net.names = {0: "红", 1: "b"}
    return net


def test_same_network_comes_back(network, tmp_path):
    path = tmp_path / "权重 1.pt"
    before = {k: v.clone() for k, v in network.state_dict().items()}
    save_checkpoint(path, network, finished=True, train_args={"imgsz": 64, "task": "detect"})
    assert network.model[0].conv.weight.dtype == torch.float32, "the network in memory is not changed"
    back = load_checkpoint(path)
    for k, v in back.network.state_dict().items():
        assert torch.equal(v, before[k]), k
    assert back.network.names == {0: "红", 1: "b"}
    assert back.train_args == {"imgsz": 64, "task": "detect"}
    x = torch.rand(1, 3, 64, 96)
    assert torch.equal(back.network(x)[0], network(x)[0])
    assert not back.can_resume


def test_layout_of_the_file(network, tmp_path):
    save_checkpoint(tmp_path / "a.pt", network, finished=False, epoch=3, updates=7, optimizer={"state": {}})
    content = read_safely(tmp_path / "a.pt")
    assert list(content)[: len(LAYOUT)] == LAYOUT
    assert content["model"] is None and content["ema"].path == "ultralytics.nn.tasks.DetectionModel"
    weight = vars(vars(vars(content["ema"])["_modules"]["model"])["_modules"]["0"])["_modules"]["conv"]
    assert vars(weight)["_parameters"]["weight"].dtype == torch.float16
    strip_checkpoint(tmp_path / "a.pt", train_results={"epoch": [1]})
    content = read_safely(tmp_path / "a.pt")
    assert content["ema"] is None and content["model"] is not None
    assert (content["epoch"], content["optimizer"], content["updates"]) == (-1, None, None)
    assert content["train_results"] == {"epoch": [1]}


def test_unknown_key_is_refused(network, tmp_path):
    with pytest.raises(KeyError, match="epohc"):
        save_checkpoint(tmp_path / "a.pt", network, finished=True, epohc=1)
    assert not (tmp_path / "a.pt").exists()


def test_a_failed_write_leaves_the_old_file(network, tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    save_checkpoint(path, network, finished=True)
    old = path.read_bytes()

    def full_disk(record, file):
        file.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, network, finished=True)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir() if p.suffix not in (".yaml",)] == ["a.pt"], "no litter"


@pytest.mark.parametrize("legacy", [True, False])
def test_both_class_branches_are_read(legacy, tmp_path):
    net = DetectionModel("yolov8n.yaml", verbose=False)
    structure = dict(net.yaml) | {"legacy": legacy}
    net = DetectionModel(structure, verbose=False)
    net.yaml.pop("legacy", None)  # a file of 8.3.0 has no such key: the weights' names tell
    save_checkpoint(tmp_path / "a.pt", net, finished=True)
    back = load_checkpoint(tmp_path / "a.pt").network
    assert sum(p.numel() for p in back.parameters()) == (3_157_200 if legacy else 2_724_448)


class Calls:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (Calls(os.system, "echo owned"), "system"),
        (Calls(builtins.eval, "1+1"), "eval"),
        (Calls(pickle.loads, pickle.dumps(1)), "loads"),
        (Calls(torch.load, "other.pt"), "load"),
        (Calls(getattr, "text", "upper"), "getattr"),
        (Calls(exit), "refused"),
    ],
)
def test_hostile_files_are_refused_by_name(payload, named, tmp_path):
    torch.save({"model": payload}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(tmp_path / "bad.pt")


def test_foreign_function_called_like_a_module_is_refused(tmp_path):
    torch.save({"model": Calls(pytest.importorskip("numpy").save, "x.npy", [1])}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="refused"):
        load_checkpoint(tmp_path / "bad.pt")


def test_cut_off_and_compressed_files(network, tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, network, finished=True)
    data = path.read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="not a whole"):
        load_checkpoint(tmp_path / "cut.pt")
    with zipfile.ZipFile(path) as src, zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as dst:
        for name in src.namelist():
            dst.writestr(name, src.read(name))
    with pytest.raises(CheckpointError, match="compressed"):
        load_checkpoint(tmp_path / "bomb.pt")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "text.pt")


def test_yolov5_and_strangers_are_named(network, tmp_path):
    torch.save({"model": 3}, tmp_path / "three.pt")
    with pytest.raises(CheckpointError, match="no network"):
        load_checkpoint(tmp_path / "three.pt")
    torch.save({"model": torch.nn.Linear(1, 1)}, tmp_path / "linear.pt")
    with pytest.raises(CheckpointError, match=r"torch.nn.modules.linear.Linear"):
        load_checkpoint(tmp_path / "linear.pt")
