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
