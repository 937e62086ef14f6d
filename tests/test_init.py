"""Importing the package: no torch, no file, and the names it offers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ultralytics

ROOT = Path(ultralytics.__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "cv2", "yaml", "PIL", "matplotlib", "scipy", "torchvision")


def python(code: str, cwd: Path) -> str:
    """Output of `code` in a fresh interpreter that finds this copy of the package."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import ultralytics; ultralytics.__version__",
        "from ultralytics import settings; settings['runs_dir']",
        "from ultralytics.cli import entrypoint; assert entrypoint(['version']) == 0",
        "from ultralytics.cli import entrypoint; assert entrypoint([]) == 0",
    ],
)
def test_nothing_heavy_is_imported(code, tmp_path):
    out = python(f"{code}; print([m for m in {HEAVY} if m in sys.modules])", tmp_path)
    assert out.splitlines()[-1] == "[]"


def test_options_need_no_torch(tmp_path):
    code = "from ultralytics.cfg import get_cfg; print(get_cfg({'epochs': 3}).epochs, 'torch' in sys.modules)"
    assert python(code, tmp_path) == "3 False\n"


def test_import_opens_no_file_of_its_own_and_writes_none(tmp_path):
    code = (
        "seen = []; sys.addaudithook(lambda event, args: seen.append(args[0]) if event == 'open' else None); "
        "import ultralytics, ultralytics.cfg; "
        "print([str(p) for p in seen if str(p).endswith(('.yaml', '.json', '.txt'))])"
    )
    assert python(code, tmp_path) == "[]\n"
    assert list(tmp_path.iterdir()) == []


def test_names():
    assert ultralytics.__version__ == "8.3.0+addmodules.1"
    assert set(ultralytics.__all__) <= set(dir(ultralytics))
    assert ultralytics.settings["weights_dir"]
    from ultralytics.nn.registry import register

    assert ultralytics.register is register
    with pytest.raises(AttributeError, match="no attribute 'YOLOO'"):
        ultralytics.YOLOO  # noqa: B018


def test_a_reader_that_goes_away_stops_no_work(tmp_path):
    """`yolo predict ... | head -1`: no traceback for every further message, and no complaint at the end."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path; from ultralytics.utils import LOGGER\n"
        "for i in range(20000): LOGGER.info('line %d', i)\n"
        "Path('done').touch()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "line 0\n"
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 0
    assert (tmp_path / "done").exists()


def test_the_first_picture_is_not_charged_with_imports(tiny_model, tmp_path):
    """What suppression needs takes seconds to import: it is there before the clocks run."""
    code = (
        "import numpy as np; from ultralytics import YOLO; "
        f"model = YOLO({str(tiny_model)!r}); "
        "model.add_callback('on_predict_start', lambda p: print('torchvision.ops' in sys.modules)); "
        "model.predict(np.zeros((32, 32, 3), np.uint8), imgsz=32, verbose=False)"
    )
    assert python(code, tmp_path).splitlines()[-1] == "True"
