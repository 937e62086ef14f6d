"""Text files in the encodings of common editors, and lists of paths."""

import os

import pytest

from ultralytics.utils.text_files import read_path_lines, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gbk"])
def test_encodings(tmp_path, encoding):
    file = tmp_path / "a.txt"
    file.write_bytes("a/苹果.jpg\r\n\r\n b.jpg \n".encode(encoding))
    assert read_text(file) == "a/苹果.jpg\r\n\r\n b.jpg \n"
    assert read_path_lines(file) == [(1, "a/苹果.jpg"), (3, "b.jpg")]


def test_blanks_of_existing_files_stay(tmp_path):
    (tmp_path / " a.jpg").touch()
    (tmp_path / "l.txt").write_text(" a.jpg\n b.jpg\n")
    assert read_path_lines(tmp_path / "l.txt") == [(1, " a.jpg"), (2, "b.jpg")]


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "l.txt").write_text("~/a.jpg\n./~b.jpg\n")
    assert read_path_lines(tmp_path / "l.txt") == [(1, f"{tmp_path}/a.jpg"), (2, "./~b.jpg")]


def test_names_that_are_not_utf_8(tmp_path):
    """A list made in the same archive as the images has the bytes of their names."""
    name = os.fsdecode("马.jpg".encode("gbk"))
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("this file system has Unicode names only")
    (tmp_path / "l.txt").write_bytes("马.jpg\n狗.jpg\n".encode("gbk"))
    assert read_path_lines(tmp_path / "l.txt") == [(1, name), (2, "狗.jpg")]
