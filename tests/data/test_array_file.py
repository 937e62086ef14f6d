"""The column file: what is written comes back mapped, and damage is noticed."""

import json

import numpy as np
import pytest

from ultralytics.data.array_file import (
    ArrayFileError,
    join_offsets,
    load_arrays,
    pack_text,
    save_arrays,
    take_ragged,
    unpack_text,
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "列.bin"
    save_arrays(
        path, {"a": np.arange(6.0).reshape(2, 3), "none": np.zeros((0, 4), np.float32), "b": np.uint8([7])}, "1"
    )
    return path


def test_round_trip(file):
    arrays = load_arrays(file, "1")
    assert list(arrays) == ["a", "none", "b"]
    assert arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (arrays["none"].shape, arrays["none"].dtype) == ((0, 4), np.float32)
    assert arrays["b"].tolist() == [7]
    assert not arrays["a"].flags.writeable
    assert not arrays["a"].flags.owndata  # a view of the mapped file


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: b"",
        lambda raw: b"\x93NUMPY" + raw[6:],
        lambda raw: raw[:8] + (1 << 60).to_bytes(8, "little") + raw[16:],
        lambda raw: raw.replace(b'"dtype": "<f8"', b'"dtype": "|O8"'),
        lambda raw: raw.replace(b'"arrays"', b'"arroys"'),
        lambda raw: raw.replace(b'"shape": [2, 3]', b'"shape": [9, 3]'),
    ],
)
def test_damage_is_noticed(file, damage):
    raw = file.read_bytes()
    file.write_bytes(damage(raw))
    assert file.read_bytes() != raw
    with pytest.raises(ArrayFileError):
        load_arrays(file, "1")


def test_other_version(file):
    with pytest.raises(ArrayFileError, match=r"version 1 .* expected 2"):
        load_arrays(file, "2")
    with pytest.raises(FileNotFoundError):
        load_arrays(file.with_name("no"), "1")


def test_ragged():
    offsets = np.array([0, 2, 2, 5])  # rows of 2, 0 and 3 items
    new, items = take_ragged(offsets, np.array([2, 1, 0, 2]))
    assert new.tolist() == [0, 3, 3, 5, 8]
    assert items.tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
    assert take_ragged(offsets, np.array([], int))[0].tolist() == [0]
    assert join_offsets([offsets, np.array([0, 4])]).tolist() == [0, 2, 2, 5, 9]


def test_text():
    texts = ["", "图/a b.jpg", b"bad\xff".decode("utf-8", "surrogateescape")]
    blob, offsets = pack_text(texts)
    assert [unpack_text(blob, offsets, i) for i in range(3)] == texts
    assert json.dumps(offsets.tolist()) == "[0, 0, 11, 15]"
