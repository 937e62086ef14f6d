"""Fonts: text outside ASCII on machines with and without a font for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib

from ultralytics.utils.fonts import font_for, mpl_families

FONT_FILE = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"

# a process of its own, since the fonts of the machine are read once per process
WITHOUT_FONTS = """
import numpy as np
from matplotlib import font_manager
from ultralytics.utils import text
from ultralytics.utils.charts import plot_confusion_matrix
from ultralytics.utils.plotting import Annotator

font_manager.findSystemFonts = lambda *args, **kwargs: []
text.CV2_DRAWS_UNICODE = False  # as OpenCV 4
annotator = Annotator(np.full((120, 200, 3), 127, np.uint8))
for name in ("红细胞 0.9", "白细胞 0.9", "血小板"):
    annotator.box_label((60, 60, 120, 100), name, (0, 0, 255))
assert (annotator.result() != 127).any()
plot_confusion_matrix(np.eye(3), {0: "红细胞", 1: "白细胞"}, "c.png")
"""


def test_without_a_font_there_is_one_warning_and_a_chart(tmp_path):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-W", "error::UserWarning", "-c", WITHOUT_FONTS]
    environment = {"PYTHONPATH": str(root), "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("fonts-noto-cjk") == 1
    assert (tmp_path / "c.png").exists()


def test_latin_letters_with_accents_have_a_font_on_every_machine():
    assert font_for("café Ω") == FONT_FILE
    assert mpl_families(["cat", "naïve"]) == ["DejaVu Sans"]


# the only font with Chinese characters has neither letters nor digits, as some installed ones
PARTIAL_FONT = """
import numpy as np
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from ultralytics.utils import text
from ultralytics.utils.fonts import font_runs, mpl_families

font = TTFont({own!r})
for table in font["cmap"].tables:
    table.cmap = {{0x7EA2: "A", 0x767D: "B"}}
for record in font["name"].names:
    record.string = "Partial"
font.save("partial.ttf")
font_manager.findSystemFonts = lambda *args, **kwargs: ["partial.ttf"]
text.CV2_DRAWS_UNICODE = False  # as OpenCV 4
runs = [(part, path.name) for part, path in font_runs("红白 0.9 cat红", "红白")]
assert runs == [("红白 ", "partial.ttf"), ("0.9 cat", "DejaVuSans.ttf"), ("红", "partial.ttf")], runs
assert mpl_families(["红 0.92"]) == ["DejaVu Sans", "Partial"]


def draw(line, example):
    renderer = text.TextRenderer(20, example=example, pil=True)
    image = np.zeros((40, 200, 3), np.uint8)
    renderer.draw(image, (5, 30), line, (255, 255, 255))
    return image


# the glyphs of the two characters are those of A and B
assert (draw("红白0.9", "红白") == draw("AB0.9", "")).all() and draw("AB0.9", "").any()
"""


def test_fonts_are_combined_where_none_has_all_characters(tmp_path):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-W", "error::UserWarning", "-c", PARTIAL_FONT.format(own=str(FONT_FILE))]
    environment = {"PYTHONPATH": str(root), "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
