"""Files: YAML and its errors, atomic writing, numbered names, searching."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from ultralytics.engine.results import write_label_file
from ultralytics.utils.files import (
    YamlError,
    atomic_write,
    find_file,
    increment_path,
    yaml_load,
    yaml_save,
)
from ultralytics.utils.image_files import write_image


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", {}),
        ("# only a comment\n", {}),
        ("a: 1\nb: [x, 2.5]\n", {"a": 1, "b": ["x", 2.5]}),
        ("lr: 1e-3\nbig: 1E5\nc: .5e1\nd: -2.e+1", {"lr": 0.001, "big": 1e5, "c": 5.0, "d": -20.0}),
        ("e: 1e\nv: 1e3x", {"e": "1e", "v": "1e3x"}),  # not numbers
        ("n: 名字 🙂", {"n": "名字 🙂"}),
        ("\ufeffa: 1", {"a": 1}),  # byte order mark of Windows editors
        ("a: x\x00\x1by", {"a": "xy"}),  # control characters are dropped, as in 8.3.0
        ("0: person\n1: car", {0: "person", 1: "car"}),
    ],
)
def test_yaml_load(text, data, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_bytes(text.encode())
    assert yaml_load(file) == data


def test_yaml_load_gbk(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_bytes("names: [苹果]".encode("gbk"))
    assert yaml_load(file) == {"names": ["苹果"]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_yaml_load_other_encodings(encoding, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_bytes("names: [苹果, b]\n".encode(encoding))
    assert yaml_load(file) == {"names": ["苹果", "b"]}


def test_yaml_load_text_keys(tmp_path):
    """Below these keys nothing is converted; elsewhere 010 stays the number 8 of PyYAML."""
    file = tmp_path / "a.yaml"
    file.write_text(
        "names: [yes, 010, 12:30, 1e3, 2024-01-01, null, ~, <<, '7']\nmore:\n  010: off\npath:\nnumber: 010\n"
    )
    data = yaml_load(file, ("names", "more", "path"))
    assert data["names"] == ["yes", "010", "12:30", "1e3", "2024-01-01", "null", "~", "<<", "7"]
    assert data["more"] == {"010": "off"}
    assert data["path"] is None
    assert data["number"] == 8


def test_yaml_load_allows_ordinary_aliases_and_merges(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("base: &b {a: 1, c: [1, 2]}\nnames: {<<: *b, a: 3}\nlist: [*b, *b]\n")
    data = yaml_load(file, ("names",))  # a value that an alias shares with `names` is text in both
    assert data["names"] == {"a": "3", "c": ["1", "2"]}
    assert data["list"] == [data["base"]] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"a\.yaml:3: the key 'a' is also in line 1"),
        ("names:\n  0: a\n  1: b\n  1: c\n", r"a\.yaml:4: the key '1' is also in line 3"),
        ("x: [{a: 1, a: 1}]", r"a\.yaml:1: the key 'a'"),
        ("a: &a [*a]\n", r"a\.yaml:1: this value contains itself"),
        ("a: " + "[" * 5000, "nested too deeply|this is not YAML"),
    ],
)
def test_yaml_load_refuses(text, message, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(YamlError, match=message):
        yaml_load(tmp_path / "a.yaml")


def test_yaml_load_refuses_an_alias_bomb(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    (tmp_path / "a.yaml").write_text("\n".join([*lines, "names: *a29"]))
    with pytest.raises(YamlError, match=r"aliases .* stand for 2e\+30 values"):
        yaml_load(tmp_path / "a.yaml", ("names",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", r"a\.yaml:3: this is not YAML"),
        ("a: 1\n\tb: 2\n", r"a\.yaml:2: this is not YAML: .* \(indent lines with spaces, not with tabs\)"),
        ('a: "C:\\users"\n', r"a\.yaml:1: this is not YAML: .*write C:/data"),
        ("a： 1\nb: 2\n", r"a\.yaml:2: this is not YAML: .*'：' is a different character"),
        ("a： 1\n", r"found 'a： 1' \(a key ends with ':' and a space"),
        ("- a\n- b\n", r"a\.yaml: expected lines of the form 'key: value'"),
        ("just text", "'just text'"),
        ("a: !!python/object/apply:os.getcwd []", r"a\.yaml:1"),  # no code runs
    ],
)
def test_yaml_load_errors(text, message, tmp_path):
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(YamlError, match=message):
        yaml_load(tmp_path / "a.yaml")


def test_yaml_load_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.yaml"):
        yaml_load(tmp_path / "b.yaml")


def test_yaml_round_trip(tmp_path):
    data = {
        "z": Path("a/b"),
        "a": (1, 2),
        "n": np.float32(0.5),
        "f": np.float64(0.1),
        "arr": np.array([1, 2]),
        "none": None,
        "yes": True,
        "small": 1e-5,
        "names": {0: "红细胞", 1: "yes", 2: "1e3"},
    }
    file = tmp_path / "new" / "a.yaml"
    yaml_save(file, data)
    loaded = yaml_load(file)
    assert loaded == {
        "z": str(Path("a/b")),
        "a": [1, 2],
        "n": 0.5,
        "f": 0.1,
        "arr": [1, 2],
        "none": None,
        "yes": True,
        "small": 1e-5,
        "names": {0: "红细胞", 1: "yes", 2: "1e3"},
    }
    assert list(loaded) == list(data)
    assert "红细胞" in file.read_text(encoding="utf-8")


def test_atomic_write_keeps_the_old_content_on_failure(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError, match="interrupted"), atomic_write(file, "w") as f:
        f.write("incomplete")
        raise RuntimeError("interrupted")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_atomic_write_names_the_file_if_the_disk_is_full(tmp_path):
    with pytest.raises(OSError, match=r"No space left.*x\.csv"), atomic_write(tmp_path / "x.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_atomic_write_replaces_at_the_end(tmp_path):
    file = tmp_path / "deep" / "a.bin"
    with atomic_write(file) as f:
        f.write(b"12")
        assert not file.exists()
    assert file.read_bytes() == b"12"
    with atomic_write(file) as f:
        f.write(b"3")
        assert file.read_bytes() == b"12"
    assert file.read_bytes() == b"3"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes and needs rights for links")
def test_atomic_write_mode_and_links(tmp_path):
    mask = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "real", "w") as f:
            f.write("x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o644
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_write(tmp_path / "link", "w") as f:
        f.write("y")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "y"


@pytest.mark.parametrize(
    ("existing", "name", "exist_ok", "expected"),
    [
        ([], "train", False, "train"),
        (["train/"], "train", False, "train2"),
        (["train/", "train2/", "train3/"], "train", False, "train4"),
        (["train/", "train3/"], "train", False, "train2"),
        (["train/"], "train", True, "train"),
        (["of.py"], "of.py", False, "of2.py"),  # an existing file keeps its suffix
        (["v1.5/"], "v1.5", False, "v1.52"),  # a folder has none
    ],
)
def test_increment_path(existing, name, exist_ok, expected, tmp_path):
    for path in existing:
        if path.endswith("/"):
            (tmp_path / path).mkdir()
        else:
            (tmp_path / path).touch()
    assert increment_path(tmp_path / name, exist_ok) == tmp_path / expected
    assert not (tmp_path / expected).exists() or exist_ok


def test_find_file(tmp_path, monkeypatch):
    first, second, here = tmp_path / "first", tmp_path / "second", tmp_path / "here"
    for path in (first / "sub" / "a.yaml", second / "a.yaml", second / "b[1].yaml", here / "c.yaml"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(here)
    folders = [first, second]
    assert find_file("a.yaml", folders) == first / "sub" / "a.yaml"
    assert find_file("sub/a.yaml", folders) == first / "sub" / "a.yaml"
    assert find_file("b[1].yaml", folders) == second / "b[1].yaml"
    assert find_file("c.yaml", folders) == Path("c.yaml")
    (here / "a.yaml").touch()
    assert find_file("a.yaml", folders) == Path("a.yaml")  # the path as given takes precedence
    with pytest.raises(FileNotFoundError) as e:
        find_file("A1.yaml", folders, "recipe")
    for part in ("no recipe 'A1.yaml'", str(here), str(first), str(second), "'a.yaml'"):
        assert part in str(e.value)
    with pytest.raises(FileNotFoundError, match=r"is a folder, not a recipe; did you mean '.*a\.yaml'"):
        find_file(second, folders, "recipe")


def test_files_written_by_the_thousand_do_not_wait_for_the_disk(tmp_path, monkeypatch):
    """A label file took 50 times as long as its writing."""
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_label_file(tmp_path / "a.txt", ["0 0.5 0.5 0.1 0.1"])
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert (synced, (tmp_path / "a.txt").read_text()) == ([], "0 0.5 0.5 0.1 0.1\n")
    with atomic_write(tmp_path / "last.pt") as f:
        f.write(b"weights")
    assert len(synced) == 1
