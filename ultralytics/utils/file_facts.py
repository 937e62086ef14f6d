"""Facts about files and folders for scripts, under the names of 8.3.0's `utils.files`."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType


class WorkingDirectory(contextlib.ContextDecorator):
    """Context manager and decorator: the current folder is `new_dir` inside, and the present one again afterwards."""

    def __init__(self, new_dir: str | Path) -> None:
        self.dir, self.cwd = new_dir, Path.cwd().resolve()

    def __enter__(self) -> None:
        os.chdir(self.dir)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.chdir(self.cwd)


@contextlib.contextmanager
def spaces_in_path(path: str | Path) -> Iterator[str | Path]:
    """Gives a path without blanks: a temporary copy that is copied back at the end; else `path` itself."""
    if " " not in str(path):
        yield path
        return
    path = Path(path)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name.replace(" ", "_")
        _copy(path, copy)
        yield copy
        _copy(copy, path)


def file_age(path: str | Path = __file__) -> int:
    """Whole days since a file was changed."""
    return (datetime.now() - datetime.fromtimestamp(Path(path).stat().st_mtime)).days


def file_date(path: str | Path = __file__) -> str:
    """Day on which a file was changed, as 2024-1-31."""
    day = datetime.fromtimestamp(Path(path).stat().st_mtime)
    return f"{day.year}-{day.month}-{day.day}"


def file_size(path: str | Path) -> float:
    """Size of a file, or of all files in a folder, in MiB; 0 if there is none."""
    path = Path(path)
    files = [path] if path.is_file() else path.rglob("*") if path.is_dir() else []
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


def get_latest_run(search_dir: str | Path = ".") -> str:
    """The newest last*.pt in a folder and its subfolders; empty if there is none."""
    files = [file for file in Path(search_dir).rglob("last*.pt") if file.is_file()]
    return str(max(files, key=lambda file: file.stat().st_ctime)) if files else ""


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
