"""Facts about files, numbered paths and batch sizes for scripts."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from torch import nn

from ultralytics.utils import files
from ultralytics.utils.autobatch import autobatch, check_train_batch_size, fitting_batch_size


def test_increment_path_has_the_official_parameters(tmp_path):
    assert files.increment_path(tmp_path / "exp", mkdir=True) == tmp_path / "exp"
    assert files.increment_path(tmp_path / "exp", sep="_") == tmp_path / "exp_2"
    assert not (tmp_path / "exp_2").exists()


def test_working_directory(tmp_path):
    before = Path.cwd()
    with files.WorkingDirectory(tmp_path):
        assert Path.cwd() == tmp_path
    assert Path.cwd() == before


def test_spaces_in_path(tmp_path):
    file = tmp_path / "a b.txt"
    file.write_text("old")
    with files.spaces_in_path(file) as copy:
        assert " " not in copy.name
        copy.write_text("new")
    assert file.read_text() == "new"
    with files.spaces_in_path("plain.txt") as same:
        assert same == "plain.txt"


def test_size_and_age(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(2**20))
    (tmp_path / "b.bin").write_bytes(bytes(2**19))
    assert files.file_size(tmp_path / "a.bin") == 1
    assert files.file_size(tmp_path) == 1.5
    assert files.file_age(tmp_path / "a.bin") == 0
    assert re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", files.file_date(tmp_path / "a.bin"))


def test_latest_run(tmp_path):
    assert files.get_latest_run(tmp_path) == ""
    file = tmp_path / "exp" / "weights" / "last.pt"
    file.parent.mkdir(parents=True)
    file.touch()
    assert files.get_latest_run(str(tmp_path)) == os.fspath(file)


@pytest.mark.parametrize(
    ("sizes", "memory", "limit", "expected"),
    [
        ([1, 2, 4], [1.5, 2.0, 3.0], 11.0, 20),
        ([1, 2, 4], [1.5, 2.0, 3.0], 0.5, 1),
        ([1, 2], [1.0, 1.0], 9.0, None),
        ([1], [1.0], 9.0, None),
    ],
)
def test_fitting_batch_size(sizes, memory, limit, expected):
    assert fitting_batch_size(sizes, memory, limit) == expected


def test_batch_size_on_a_cpu():
    layer = nn.Conv2d(3, 4, 3)
    assert autobatch(layer, 64, batch_size=8) == 8
    assert check_train_batch_size(layer, 64, amp=False) == 16
