"""Texts and paths that are not Unicode."""

import os
from pathlib import Path

import numpy as np
import pytest

from ultralytics.utils.printable import is_unicode, printable, printable_values, unicode_path
from ultralytics.utils.text import TextRenderer

GBK = os.fsdecode("图像".encode("gbk"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("图", "图"),
        (f"/数据/{GBK}1.png", "/数据/图像1.png"),
        (f"image 1/4 /数据/{GBK}.png: 64x64 1 狗, {GBK}", "image 1/4 /数据/图像.png: 64x64 1 狗, 图像"),
        (os.fsdecode(b"a\xff"), "a\ufffd"),  # not GBK either
        ("\ud83d", "?"),  # half of a character, no byte
        (os.fsdecode("表".encode("shift-jis")), "昞"),  # readable as GBK, though wrong
    ],
)
def test_printable(text, expected):
    assert printable(text) == expected
    assert is_unicode(printable(text))
    assert is_unicode(text) == (text == expected)


def test_printable_values():
    value = {GBK: [Path(GBK), (1, None, GBK)], 2: 0.5}
    assert printable_values(value) == {"图像": ["图像", [1, None, "图像"]], 2: 0.5}


@pytest.mark.parametrize("pil", [False, True])
def test_text_on_images(pil):
    image = np.zeros((40, 200, 3), np.uint8)
    renderer = TextRenderer(20, pil=pil)
    assert renderer.measure(GBK)[0] > 0
    assert renderer.shortened(f"{GBK}{GBK}.png", 40)
    renderer.draw(image, (5, 30), f"{GBK} 1.png", (255, 255, 255))
    assert image.any()


def test_unicode_path(tmp_path):
    with unicode_path(tmp_path / "图.txt") as path:
        assert path == str(tmp_path / "图.txt")
    file = tmp_path / f"{GBK}.txt"
    try:
        file.write_text("x")
    except OSError:
        pytest.skip("this file system has Unicode names only")
    with unicode_path(file) as path:
        assert is_unicode(path)
        assert Path(path).read_text() == "x"
    with unicode_path(file.with_suffix(".new")) as path:
        Path(path).write_text("y")
    assert not Path(path).exists(), "the link is temporary"
    assert (tmp_path / "图像.new").read_text() == "y"
