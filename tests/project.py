"""Helpers for the tests of train/, documents and packaging: a copy of train/ and dataset/, and running commands."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
# options of train.py for a complete training in seconds
TINY = "--epochs=1 --imgsz=32 --batch=2 --workers=0 --fraction=0.02 --plots=false --device=cpu".split()  # noqa: SIM905


def copy_train_folder(target: Path) -> Path:
    """Copy train/ and dataset/ to `target`, so that runs and caches are not written to the source tree."""
    for name in ("train", "dataset"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("*.cache", "__pycache__"))
    return target


def python_path(tools: Path) -> dict[str, str]:
    """Environment in which `python` and `yolo` use this interpreter and this source tree, installed or not."""
    tools.mkdir(parents=True, exist_ok=True)
    lines = {"python": f'exec "{sys.executable}" "$@"', "yolo": f'exec "{sys.executable}" -m ultralytics "$@"'}
    for name, line in lines.items():
        script = tools / name
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "OMP_NUM_THREADS": "1",
    }


def run(command: Sequence[str | Path], cwd: Path, env: Mapping[str, str], code: int = 0) -> str:
    """Standard output and error of a command that must exit with `code`."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=dict(env), capture_output=True, text=True, encoding="utf-8", timeout=600
    )
    text = done.stdout + done.stderr
    assert done.returncode == code, f"{command} exited with {done.returncode}:\n{text[-4000:]}"
    return text


def load_module(path: Path) -> ModuleType:
    """The module in a file outside the package, such as a script."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
