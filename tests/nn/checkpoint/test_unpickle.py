"""Hostile and damaged checkpoints: nothing in a file is run, and the error names what was found."""

import _codecs
import builtins
import functools
import io
import math
import os
import pickle
import random
import subprocess
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from ultralytics.nn.checkpoint import (
    CheckpointError,
    description,
    load_checkpoint,
    read_safely,
    save_checkpoint,
    unpickle,
)
from ultralytics.nn.tasks import DetectionModel


class Calls:
    """Pickles as a call of `function`, and as setting `state` on what the call gives."""

    def __init__(self, function, *args, state=None):
        self.function, self.args, self.state = function, args, state

    def __reduce__(self):
        return (self.function, self.args) + ((self.state,) if self.state else ())


@pytest.fixture(scope="module")
def good(tmp_path_factory, tiny_model_text):
    """A checkpoint of a small network."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "tiny.yaml").write_text(tiny_model_text)
    save_checkpoint(folder / "good.pt", DetectionModel(str(folder / "tiny.yaml"), verbose=False), finished=True)
    return folder / "good.pt"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (Calls(os.system, "echo owned > owned"), "posix.system|nt.system"),
        (Calls(os.popen, "echo owned > owned"), "os.popen"),
        (Calls(subprocess.Popen, ["touch", "owned"]), "subprocess.Popen"),
        (Calls(builtins.eval, "1+1"), "builtins.eval"),
        (Calls(builtins.exec, "1"), "builtins.exec"),
        (Calls(builtins.__import__, "this"), "builtins.__import__"),
        (Calls(builtins.open, "owned", "w"), "open"),
        (Calls(getattr, "text", "upper"), "builtins.getattr of a str"),
        (Calls(exit), "refused"),
        (Calls(frozenset, ["text"]), "builtins.frozenset"),
        (Calls(pickle.loads, pickle.dumps(Calls(os.system, "echo owned > owned"))), "pickle.loads"),
        (Calls(functools.partial, os.getcwd), "functools.partial"),
        (Calls(torch.load, "other.pt"), "torch.serialization.load"),
        (Calls(torch.hub.load, "user/repo", "model"), "torch.hub.load"),
        (Calls(torch.jit.load, "x"), "torch.jit"),
        (Calls(torch.storage._load_from_bytes, b"nested"), "torch.storage._load_from_bytes"),
        (Calls(torch._tensor._rebuild_from_type_v2, torch.zeros, torch.Tensor, (1,), {}), "refused"),
        (Calls(np.load, "x.npy"), "numpy.*refused"),
        (Calls(torch.nn.functional.silu, torch.ones(1)), "silu, which is refused"),
    ],
    ids=lambda x: getattr(getattr(x, "function", None), "__name__", None),
)
def test_calls_are_refused_by_name(payload, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": payload}, "bad.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint("bad.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.pt"], "something was run"


def test_a_call_hidden_among_weights_is_found(good, tmp_path, monkeypatch):
    """The same inside an optimizer, and as a state that is set on a container."""
    monkeypatch.chdir(tmp_path)
    for hidden in (
        {"optimizer": {"state": [Calls(os.system, "echo owned > owned")]}},
        {"train_args": Calls(OrderedDict, state=Calls(os.system, "echo owned > owned"))},
    ):
        torch.save(hidden | {"model": torch.nn.Linear(1, 1)}, "bad.pt")
        with pytest.raises(CheckpointError, match="system"):
            load_checkpoint("bad.pt")
    assert not (tmp_path / "owned").exists()


def test_functions_of_the_reader_cannot_be_altered(tmp_path):
    state = pickle.dumps((None, {"__defaults__": (1,)}), 2)[2:-1]  # without header and end
    data = b"ctorch._utils\n_rebuild_tensor_v2\n" + state + b"b."
    before = torch._utils._rebuild_tensor_v2.__defaults__
    archive(tmp_path / "bad.pt", data)
    with pytest.raises(CheckpointError, match="change a function of the reader"):
        read_safely(tmp_path / "bad.pt")
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


def archive(path, data, **parts):
    """A torch archive of a pickle and storages."""
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a/data.pkl", data)
        for name, value in parts.items():
            out.writestr(f"a/data/{name}", value)


class Stored(pickle.Pickler):
    """Writes 1-D numpy arrays as references to storages of a torch archive, with a count of the caller's choice."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Reference) else None


class Reference:
    def __init__(self, *pid):
        self.pid = pid


def stored(obj):
    out = io.BytesIO()
    Stored(out, 2).dump(obj)
    return out.getvalue()


FOUR = b"\0" * 16  # four float32


def tensor(count=4, key="0", offset=0, size=(4,), stride=(1,)):
    """A tensor over a storage of four numbers; anything may be wrong with it."""
    storage = Reference("storage", torch.FloatStorage, key, "cpu", count)
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (tensor(size=(2**40,), stride=(0,)), "size"),
        (tensor(offset=2), "out of bounds"),
        (tensor(offset=-9), "damaged"),
        (tensor(size=(-4,)), "damaged"),
        (tensor(count=2**40), "storage 0 should hold"),
        (tensor(key="7"), "no item named"),
        (Reference("storage", "float", "0", "cpu", 4), "outside the file"),
        (Reference("module", torch.FloatStorage, "0", "cpu", 4), "outside the file"),
        (Calls(torch._utils._rebuild_parameter, "text", False, OrderedDict()), "not a tensor but a str"),
    ],
    ids=["tera view", "beyond the end", "before", "negative", "tera storage", "missing", "type", "tag", "text"],
)
def test_tensors_that_the_file_does_not_hold(obj, message, tmp_path):
    archive(tmp_path / "bad.pt", stored({"model": obj}), **{"0": FOUR})
    with pytest.raises(CheckpointError, match=message):
        read_safely(tmp_path / "bad.pt")


def test_a_tensor_enlarged_afterwards_is_refused(good, tmp_path, monkeypatch):
    """Tensor.__setstate__ can replace sizes; what goes into the network is measured again."""
    content = read_safely(good)
    big = torch.ones(1).expand(2**40)
    content["float32"]["model.0.conv.weight"] = big
    monkeypatch.setattr("ultralytics.nn.checkpoint.reader.read_safely", lambda path: content)
    with pytest.raises(CheckpointError, match=r"model\.0\.conv\.weight is larger"):
        load_checkpoint(good)


# ---- damaged archives ------------------------------------------------------------------------------------------------


def test_every_cut_is_noticed(good, tmp_path):
    data = good.read_bytes()
    for share in (0, 0.01, 0.3, 0.5, 0.9, 0.999):
        (tmp_path / "cut.pt").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(CheckpointError, match="not a whole torch checkpoint"):
            load_checkpoint(tmp_path / "cut.pt")


def test_changed_bytes_are_noticed(good, tmp_path):
    data = bytearray(good.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(x ^ 255 for x in data[middle : middle + 64])
    (tmp_path / "bad.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "bad.pt")


def test_random_damage_is_an_error_of_its_own(good, tmp_path):
    """Bytes of the pickle changed at random, with a checksum that fits: a CheckpointError, or a network."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(good) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    root = next(name for name in parts if name.endswith("data.pkl"))
    read = 0
    for _ in range(80):
        data = bytearray(parts[root])
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        with zipfile.ZipFile(tmp_path / "bad.pt", "w") as out:
            for name, value in parts.items():
                out.writestr(name, bytes(data) if name == root else value)
        try:
            load_checkpoint(tmp_path / "bad.pt")
            read += 1
        except CheckpointError as e:
            assert "bad.pt" in str(e)
    assert read < 70  # most changes hit something that counts


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02}r\xff\xff\xff\xff.",  # a memo of four thousand million entries
        b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".",  # an empty byte array of a terabyte
        b"\x80\x02\x82\x01.",  # something registered with copyreg
    ],
    ids=["memo", "byte array", "copyreg"],
)
def test_commands_that_take_memory_or_come_from_elsewhere(data, tmp_path):
    archive(tmp_path / "bad.pt", data)
    with pytest.raises(CheckpointError, match=r"damaged|no network"):
        load_checkpoint(tmp_path / "bad.pt")


def test_zip_bombs(good, tmp_path):
    with zipfile.ZipFile(good) as src, zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as out:
        for name in src.namelist():
            out.writestr(name, src.read(name))
    with pytest.raises(CheckpointError, match="compressed"):
        load_checkpoint(tmp_path / "bomb.pt")
    with zipfile.ZipFile(tmp_path / "overlap.pt", "w") as out:
        out.writestr("a/data.pkl", pickle.dumps({}))
        out.writestr("a/data/0", b"0" * 1000)
        for key in range(1, 9):  # further names for the same bytes
            again = zipfile.ZipInfo(f"a/data/{key}")
            first = out.getinfo("a/data/0")
            again.header_offset, again.file_size, again.compress_size = first.header_offset, 1000, 1000
            again.CRC = first.CRC
            out.filelist.append(again)
    with pytest.raises(CheckpointError, match="larger than the file"):
        load_checkpoint(tmp_path / "overlap.pt")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a.txt": b"1"}, "no data.pkl"),
        ({"a/data.pkl": pickle.dumps({}), "a/byteorder": b"big"}, "big-endian"),
        ({"a/data.pkl": b""}, "damaged"),
        ({"a/data.pkl": b"\x80\x02]q\x00(K"}, "damaged"),
        ({"a/data.pkl": pickle.dumps([1])}, "no network"),
    ],
    ids=["zip", "byte order", "empty pickle", "cut pickle", "list"],
)
def test_other_zip_files(parts, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as out:
        for name, data in parts.items():
            out.writestr(name, data)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "a.pt")


def test_a_torchscript_export_is_named(tmp_path):
    """Torch compresses the code in it."""
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as out:
        out.writestr("a/data.pkl", b"")
        out.writestr("a/code/__torch__.py", b"code", zipfile.ZIP_DEFLATED)
        out.writestr("a/constants.pkl", b"")
    with pytest.raises(CheckpointError, match="TorchScript export"):
        load_checkpoint(tmp_path / "a.pt")


def test_no_file_and_no_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        read_safely(tmp_path / "none.pt")
    for protocol in (2, 4):
        options = {"_use_new_zipfile_serialization": False, "pickle_protocol": protocol}
        torch.save({"model": 1}, tmp_path / "old.pt", **options)
        with pytest.raises(CheckpointError, match=r"before 1\.6"):
            read_safely(tmp_path / "old.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError, match="a text file that begins"):
        read_safely(tmp_path / "text.pt")


# ---- plain data comes back -------------------------------------------------------------------------------------------


def test_what_official_files_hold_besides_weights(tmp_path):
    """numpy scalars of learning rates, paths, devices, sizes, dtypes, sets, shared storages, odd layouts."""
    from pathlib import Path

    base = torch.arange(12.0).reshape(3, 4)
    content = {
        "lr": np.float64(0.25),
        "n": np.int64(-3),
        "path": Path("a/b"),
        "device": torch.device("cpu"),
        "size": torch.Size((2, 3)),
        "dtype": torch.float16,
        "set": {1, 2},
        "order": OrderedDict(a=1),
        "bytes": b"\x00\xff",
        "transposed": base.t(),
        "part": base[1:, ::2],
        "tensors": [torch.tensor(5), torch.tensor([True]), torch.tensor(2.0, dtype=torch.bfloat16)],
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "byte": torch.arange(5, dtype=torch.uint8),
        "short": torch.arange(4, dtype=torch.int16).to(torch.uint16),
    }
    torch.save(content, tmp_path / "a.pt")
    back = read_safely(tmp_path / "a.pt")
    assert back.keys() == content.keys()
    assert (back.pop("path"), content.pop("path")) == ("a/b", Path("a/b"))
    for key, value in content.items():
        if isinstance(value, torch.Tensor):
            assert back[key].dtype == value.dtype
            assert torch.equal(back[key], value.detach()), key
        elif key == "tensors":
            assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(back[key], value, strict=True))
        else:
            assert back[key] == value, key
    assert back["transposed"].data_ptr() + 16 == back["part"].data_ptr(), "one storage"


def test_the_official_reader_is_not_used(good, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("torch.load")

    monkeypatch.setattr(torch, "load", never)
    assert isinstance(read_safely(good), dict)
    assert unpickle.CheckpointError is CheckpointError


# ---- small files that stand for more than any memory holds -----------------------------------------------------------


def twice(value, times=40):
    """A list that holds a list twice, which holds another twice …: 2 ** 40 values when it is written out."""
    for _ in range(times):
        value = [value, value]
    return value


def saved(path, change, **content):
    torch.manual_seed(0)
    network = DetectionModel(TINY, verbose=False)
    change(network)
    torch.save({"model": network, **content}, path)
    return path


TINY = {
    "nc": 2,
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "C2f", [8]]],
    "head": [[[1], 1, "Detect", ["nc"]]],
}


def set_row(i, j, value):
    return lambda network: network.yaml["backbone"][i].__setitem__(j, value)


def nested_modules(network):
    module = torch.nn.Conv2d(1, 1, 1)
    for _ in range(40):
        outer = torch.nn.Module()
        outer._modules = {"a": module, "b": module}
        module = outer
    network.model[0]._modules["more"] = module


def module_in_itself(network):
    network.model[0]._modules["me"] = network.model[0]


@pytest.mark.parametrize(
    ("change", "content", "message"),
    [
        (lambda n: vars(n).update(names={0: twice("a")}), {}, "more than 100000 values"),
        (lambda n: vars(n).update(names=twice("a")), {}, "more than 100000 values"),
        (lambda n: n.yaml.update(backbone=twice("a")), {}, "more than 100000 values"),
        (lambda n: n.yaml.update(activation=twice("a")), {}, "more than 100000 values"),
        (set_row(0, 3, twice(8)), {}, "more than 100000 values"),
        (lambda n: None, {"version": twice("8")}, "more than 100000 values"),
        (lambda n: None, {"train_args": {"imgsz": twice(1)}}, "more than 100000 values"),
        (lambda n: n.yaml.update(more=[[[0] * 9000] * 9000] * 9000), {}, "more than 100000 values"),
        (nested_modules, {}, "more than 20000 modules"),
        (module_in_itself, {}, "contains itself"),
        (set_row(0, 3, [10**5, 3, 2]), {}, "far more weights than the file holds"),
        (
            lambda n: n.yaml["backbone"].insert(1, [-1, 1000, "Conv", [64, 3, 1]]),
            {},
            "far more weights than the file holds",
        ),
        (
            lambda n: n.yaml["backbone"].insert(1, [-1, 10**12, "nn.Identity", []]),
            {},
            "repeats=1000000000000 exceeds 1000",
        ),
        (lambda n: n.yaml.update(scales={"n": [1, math.inf, 64]}, scale="n"), {}, "damaged"),
        (lambda n: n.yaml.update(nc=10**6), {}, "far more weights than the file holds"),
        (lambda n: n.yaml.update(ch=10**6), {}, "far more weights than the file holds"),
    ],
)
def test_descriptions_without_end(change, content, message, tmp_path):
    with pytest.raises(CheckpointError, match=message) as error:
        load_checkpoint(saved(tmp_path / "a.pt", change, **content))
    assert "a.pt" in str(error.value) and len(str(error.value)) < 2000


def opcodes(*rest):
    """A pickle of a tuple that holds a tuple twice, and so on, and then of what `rest` makes of it."""
    return b"\x80\x04" + rest[0] + b"X\x01\x00\x00\x00a\x85" + b"2\x86" * 45 + rest[1]


@pytest.mark.parametrize(
    "data",
    [opcodes(b"}", b"K\x01s."), opcodes(b"(", b"\x91."), opcodes(b"", b"Q.")],
    ids=["key", "element of a set", "reference to a storage"],
)
def test_keys_that_are_never_hashed_to_the_end(data, tmp_path):
    archive(tmp_path / "bad.pt", data)
    with pytest.raises(CheckpointError, match=r"a tuple of 1\d+ elements"):
        read_safely(tmp_path / "bad.pt")


def frozen(start, times=30):
    """A set that holds a set, and a tuple with the same set, and so on; memory places from `start` on."""
    steps = [b"q%c0(h%ch%c\x85\x91" % (start + i, start + i, start + i) for i in range(times)]
    return b"X\x01\x00\x00\x00a" + b"".join(steps)


def test_sets_that_are_never_compared_to_the_end(tmp_path):
    """Two equal ones as elements of a set: every step down compares twice as much."""
    archive(tmp_path / "bad.pt", b"\x80\x04(" + frozen(0) + frozen(100) + b"\x91.")
    with pytest.raises(CheckpointError, match="damaged"):
        read_safely(tmp_path / "bad.pt")


def test_errors_do_not_write_out_what_has_no_end(tmp_path):
    endless = twice("a")
    for obj in (Reference("storage", torch.FloatStorage, "0", "cpu", endless), Calls(_codecs.encode, "a", endless)):
        archive(tmp_path / "bad.pt", stored(obj), **{"0": FOUR})
        with pytest.raises(CheckpointError, match=r"outside the file|codec") as error:
            read_safely(tmp_path / "bad.pt")
        assert len(str(error.value)) < 1000


def test_the_limits_leave_room_for_real_networks(tmp_path):
    """The largest tuple of a checkpoint is Python's random state, 625 numbers; the largest network has 1000 modules."""
    network = DetectionModel("yolov8n.yaml", verbose=False)
    assert 20 * sum(1 for _ in network.modules()) < description.MAX_MODULES
    save_checkpoint(tmp_path / "a.pt", network, finished=False, resume={"rng": random.getstate()}, epoch=0)
    back = load_checkpoint(tmp_path / "a.pt")
    assert back.content["resume"]["rng"] == random.getstate() and unpickle.MAX_TUPLE > 10 * 625


@pytest.mark.parametrize(
    "text", ["<!DOCTYPE html>\n<title>not found</title>", "version https://git-lfs.github.com/spec/v1\n"]
)
def test_texts_instead_of_a_checkpoint(text, tmp_path):
    (tmp_path / "a.pt").write_text(text)
    with pytest.raises(CheckpointError, match=f"is a text file that begins with '{text[:9]}.*web page"):
        load_checkpoint(tmp_path / "a.pt")
