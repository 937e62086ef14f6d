"""Checkpoints: what is written is read back; what cannot be read is named. Hostile files: test_unpickle.py."""

import copy
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from ultralytics.nn import registry
from ultralytics.nn.checkpoint import (
    CheckpointError,
    copy_checkpoint,
    load_checkpoint,
    load_network,
    read_safely,
    save_checkpoint,
    strip_checkpoint,
)
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

try:
    import resource
except ImportError:  # not on Windows
    resource = None

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


def test_a_network_by_the_name_that_users_write(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint("a.pt", network, finished=True)
    for name in ("a", "a.pt", tmp_path / "a.pt"):
        assert torch.equal(load_network(name).state_dict()["model.0.conv.weight"], network.model[0].conv.weight)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 'b\.pt'.*Nothing is downloaded"):
        load_network("b.pt")


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


KILLER = """
import os, random, signal, sys, time
import torch
from ultralytics.nn.checkpoint import load_checkpoint, save_checkpoint

network = load_checkpoint("net.pt").network
random.seed(0)
save_checkpoint("a.pt", network, finished=True)  # a first one imports something
began = time.time()
save_checkpoint("a.pt", network, finished=True, optimizer={"filler": torch.zeros(200_000)})
once = time.time() - began
for turn in range(int(sys.argv[1])):
    ready, started = os.pipe()
    child = os.fork()
    if not child:
        number = turn * 1000
        while True:
            number += 1
            save_checkpoint("a.pt", network, finished=True, epoch=number, optimizer={"filler": torch.zeros(200_000)})
            os.write(started, b"1") if number == turn * 1000 + 1 else None
    os.read(ready, 1)
    time.sleep(random.random() * 4 * once)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready), os.close(started)
    back = load_checkpoint("a.pt")
    assert back.content["epoch"] > turn * 1000, "older than the last whole one"
    expected = network.state_dict()
    assert all(torch.equal(expected[k], v) for k, v in back.network.state_dict().items())
    print(back.content["epoch"] - turn * 1000, len([f for f in os.listdir() if f.endswith(".tmp")]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writers are made by fork")
def test_killed_at_any_moment_a_whole_file_is_left(network, tmp_path):
    save_checkpoint(tmp_path / "net.pt", network, finished=True)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", KILLER, "20"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    saved, cut = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert len(saved) == 20 and max(saved) > min(saved), "killed at different moments"
    assert cut[-1] > 0, "some in the middle of writing: what they leave is beside the file and not it"


@pytest.mark.skipif(resource is None, reason="limits of the size of files are those of Unix")
@pytest.mark.parametrize("room", [0, 1000, 40_000])
def test_no_room_on_the_disk(network, tmp_path, room):
    path = tmp_path / "a.pt"
    save_checkpoint(path, network, finished=True)
    old = path.read_bytes()
    assert len(old) > room
    ways = {
        path: [lambda: save_checkpoint(path, network, finished=True), lambda: strip_checkpoint(path)],
        tmp_path / "b.pt": [lambda: copy_checkpoint(path, tmp_path / "b.pt")],
    }
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))  # the system then refuses as it does on a full disk
    try:
        for target, calls in ways.items():
            for call in calls:
                with pytest.raises(OSError, match=f"{target.name} could not be written.*Is the disk full?"):
                    call()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == old
    assert {p.name for p in tmp_path.iterdir()} == {"a.pt", "tiny.yaml"}, "no litter"


@pytest.mark.parametrize("legacy", [True, False])
def test_both_class_branches_are_read(legacy, tmp_path):
    net = DetectionModel("yolov8n.yaml", verbose=False)
    structure = dict(net.yaml) | {"legacy": legacy}
    net = DetectionModel(structure, verbose=False)
    net.yaml.pop("legacy", None)  # a file of 8.3.0 has no such key: the weights' names tell
    save_checkpoint(tmp_path / "a.pt", net, finished=True)
    back = load_checkpoint(tmp_path / "a.pt").network
    assert sum(p.numel() for p in back.parameters()) == (3_157_200 if legacy else 2_724_448)


def test_a_fused_network_comes_back_fused(network, tmp_path):
    network.fuse(verbose=False)
    save_checkpoint(tmp_path / "a.pt", network, finished=True)
    back = load_checkpoint(tmp_path / "a.pt").network
    x = torch.rand(1, 3, 64, 96)
    assert back.is_fused()
    assert torch.equal(back(x)[0], network(x)[0])


# ---- what this version does not have: each is named ------------------------------------------------------------------


class Foreign(nn.Module):
    """Stands in for classes of other packages; `as_class` gives it their names."""


@pytest.fixture
def as_class(monkeypatch):
    """Makes a class that pickles under a dotted name of another package."""

    def make(dotted, base=Foreign):
        module, _, name = dotted.rpartition(".")
        parts = module.split(".")
        for i in range(len(parts)):
            if ".".join(parts[: i + 1]) not in sys.modules:
                monkeypatch.setitem(sys.modules, ".".join(parts[: i + 1]), types.ModuleType(parts[i]))
        cls = type(name, (base,), {"__module__": module})
        monkeypatch.setattr(sys.modules[module], name, cls, raising=False)
        return cls

    return make


def renamed(module, as_class, prefix):
    """Give a network and all its blocks the dotted names that an older version of the package had."""
    made = {}
    for m in module.modules():
        old = type(m)
        if old.__module__.startswith("ultralytics.nn."):
            place = old.__module__.replace("ultralytics.nn.", prefix, 1)
            if old not in made:
                made[old] = as_class(f"{place}.{old.__name__}", old)
            m.__class__ = made[old]
    return module


@pytest.mark.parametrize("prefix", ["ultralytics.yolo.nn.", "ultralytics.nn.old."])
def test_layouts_of_older_versions_are_read(prefix, network, as_class, tmp_path):
    """Paths of 8.0 (ultralytics.yolo...), settings as an object, a loss, names as a list, no version key."""
    expected, x = copy.deepcopy(network), torch.rand(1, 3, 64, 64)
    network.names = ["a", "b"]
    network.args = as_class("ultralytics.yolo.utils.IterableSimpleNamespace", object)()
    network.args.__dict__.update(imgsz=64, task="detect")
    network.criterion = as_class("ultralytics.yolo.v8.detect.train.Loss", object)()
    torch.save({"epoch": 1, "model": None, "ema": renamed(network, as_class, prefix)}, tmp_path / "old.pt")
    back = load_checkpoint(tmp_path / "old.pt").network
    assert type(back) is DetectionModel
    assert back.names == {0: "a", 1: "b"}
    assert torch.equal(back(x)[0], expected(x)[0])


@pytest.mark.parametrize(
    ("dotted", "message"),
    [
        ("ultralytics.nn.tasks.RTDETRDetectionModel", "RT-DETR"),
        ("models.yolo.DetectionModel", "YOLOv5"),
        ("somewhere.Net", "somewhere.Net; this version reads DetectionModel"),
    ],
)
def test_other_networks_are_named(dotted, message, as_class, tmp_path):
    torch.save({"model": as_class(dotted)()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "a.pt")


def test_a_newer_version_is_named(network, as_class, tmp_path):
    network.yaml["backbone"][3][2] = "A2C2f"
    network.model[3].__class__ = as_class("ultralytics.nn.modules.block.A2C2f", type(network.model[3]))
    torch.save({"model": network, "version": "8.3.78"}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match=r"layer 3 is a A2C2f .*block\.A2C2f.*ultralytics 8\.3\.78"):
        load_checkpoint(tmp_path / "new.pt")


def test_a_newer_version_with_known_layers_is_read(network, tmp_path):
    torch.save({"model": network, "version": "8.3.200"}, tmp_path / "new.pt")
    assert load_checkpoint(tmp_path / "new.pt").network.yaml["nc"] == 2


@pytest.mark.parametrize(
    ("names", "expected", "num_warnings"),
    [
        (["红", "b"], {0: "红", 1: "b"}, False),
        ({"0": "红", "1": "b"}, {0: "红", 1: "b"}, False),
        ({0: "红"}, {0: "红", 1: "1"}, True),
        ({-1: "x", 1: "b", 7: "y"}, {0: "0", 1: "b"}, True),
    ],
)
def test_every_class_gets_a_name(network, tmp_path, monkeypatch, names, expected, num_warnings):
    """Names that do not suit the network would end a prediction much later."""
    texts = []
    monkeypatch.setattr(LOGGER, "warning", texts.append)
    vars(network)["names"] = names
    torch.save({"model": network}, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").network.names == expected
    assert len(texts) == num_warnings


def test_weights_that_do_not_fit(network, tmp_path):
    network.yaml["nc"] = 7
    torch.save({"model": network, "version": "9.0.1"}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"(?s)do not fit.*cv3.*ultralytics 9\.0\.1"):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_users_module_is_read_if_registered(suffix, tiny_model_text, monkeypatch, tmp_path):
    if suffix != ".pt":
        pytest.importorskip("safetensors")
    path, file = tmp_path / "custom.yaml", tmp_path / f"custom{suffix}"
    path.write_text(tiny_model_text.replace("[-1, 1, C2f, [128, True]]", "[-1, 2, MyConv, [128, 3, 1, 1]]"))
    x = torch.rand(1, 3, 64, 64)
    with registry.temporary():

        @registry.register("c1, c2, *args")
        class MyConv(nn.Conv2d):
            pass

        MyConv.__module__, MyConv.__qualname__ = "my_blocks", "MyConv"
        monkeypatch.setitem(sys.modules, "my_blocks", types.ModuleType("my_blocks"))
        sys.modules["my_blocks"].MyConv = MyConv
        net = DetectionModel(str(path), verbose=False).eval()
        save_checkpoint(file, net, finished=True)
        assert torch.equal(load_checkpoint(file).network(x)[0], net(x)[0])
    # from here on as in another process, which has not imported the module
    with pytest.raises(CheckpointError, match=r"layer 3 is a MyConv.*not registered here.*@register") as error:
        load_checkpoint(file)
    assert ("import my_blocks" in str(error.value)) == (suffix == ".pt")


def test_files_without_a_network_are_named(network, tmp_path):
    for bare in (network.state_dict(), {"model": network.state_dict(), "epoch": 3}):
        torch.save(bare, tmp_path / "bare.pt")
        with pytest.raises(CheckpointError, match="bare state_dict"):
            load_checkpoint(tmp_path / "bare.pt")
    torch.save({"model": 3}, tmp_path / "three.pt")
    with pytest.raises(CheckpointError, match="no network"):
        load_checkpoint(tmp_path / "three.pt")
    torch.save({"model": torch.nn.Linear(1, 1)}, tmp_path / "linear.pt")
    with pytest.raises(CheckpointError, match=r"torch.nn.modules.linear.Linear"):
        load_checkpoint(tmp_path / "linear.pt")
