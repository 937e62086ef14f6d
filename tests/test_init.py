"""Importing the package: no torch, no file access, its names; the logger and the facts read from the environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ultralytics

ROOT = Path(ultralytics.__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "cv2", "yaml", "PIL", "matplotlib", "scipy", "torchvision")


def python(code: str, cwd: Path) -> str:
    """Output of `code` in a new interpreter that imports this copy of the package."""
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


def test_import_reads_and_writes_no_data_files(tmp_path):
    code = (
        "opened = []; sys.addaudithook(lambda event, args: opened.append(args[0]) if event == 'open' else None); "
        "import ultralytics, ultralytics.cfg; "
        "print([str(p) for p in opened if str(p).endswith(('.yaml', '.json', '.txt'))])"
    )
    assert python(code, tmp_path) == "[]\n"
    assert list(tmp_path.iterdir()) == []


def test_names():
    assert (ultralytics.__version__, ultralytics.__build__) == ("8.3.0", "addmodules.1")
    parts = ultralytics.__version__.split(".")
    assert [int(part) for part in parts] == [8, 3, 0]
    assert set(ultralytics.__all__) <= set(dir(ultralytics))
    assert ultralytics.settings["weights_dir"]
    from ultralytics.nn.registry import register

    assert ultralytics.register is register
    with pytest.raises(AttributeError, match="no attribute 'YOLOO'"):
        ultralytics.YOLOO  # noqa: B018


def test_a_closed_pipe_does_not_stop_the_program(tmp_path):
    """`yolo predict ... | head -1`: later messages cause no traceback, and neither does the exit of the interpreter."""
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


def test_imports_are_not_part_of_the_inference_time(tiny_model, tmp_path):
    """torchvision, which NMS needs, takes seconds to import: it is imported before timing starts."""
    code = (
        "import numpy as np; from ultralytics import YOLO; "
        f"model = YOLO({str(tiny_model)!r}); "
        "model.add_callback('on_predict_start', lambda p: print('torchvision.ops' in sys.modules)); "
        "model.predict(np.zeros((32, 32, 3), np.uint8), imgsz=32, verbose=False)"
    )
    assert python(code, tmp_path).splitlines()[-1] == "True"


def test_ranks_are_read_at_each_access(monkeypatch):
    from ultralytics import utils

    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
        assert getattr(utils, name) == -1
        monkeypatch.setenv(name, "2")
        assert getattr(utils, name) == 2
    monkeypatch.setenv("YOLO_VERBOSE", "false")
    assert utils.VERBOSE is False
    with pytest.raises(AttributeError, match="no attribute 'RANKS'"):
        utils.RANKS  # noqa: B018


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({}, "info error"),
        ({"RANK": "0"}, "info error"),
        ({"RANK": "1"}, "error"),  # only the main process prints more than errors
        ({"YOLO_VERBOSE": "false"}, "error"),
    ],
)
def test_messages_depend_on_the_environment_of_the_moment(environment, printed, monkeypatch, capsys):
    from ultralytics.utils import LOGGER

    for name in ("RANK", "YOLO_VERBOSE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    LOGGER.info("info")
    LOGGER.error("error")
    assert capsys.readouterr().out.split() == printed.split()
