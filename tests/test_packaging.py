"""Packaging: one version, entry points that exist, a zip that holds what it should and trains where it is unpacked."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from project import ROOT, TINY, run

import ultralytics


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """What setup.py hands to setuptools."""
    import setuptools

    seen: dict[str, Any] = {}
    before, cwd = setuptools.setup, Path.cwd()
    setuptools.setup = lambda **keywords: seen.update(keywords)
    os.chdir(ROOT)  # setup.py runs in its folder, as build tools have it
    try:
        runpy.run_path(str(ROOT / "setup.py"))
    finally:
        setuptools.setup = before
        os.chdir(cwd)
    return seen


@pytest.fixture(scope="module")
def zip_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_zip", ROOT / ".ci" / "make_zip.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_name_version_and_requirements(described: dict[str, Any]) -> None:
    assert described["name"] == "ultralytics"
    assert described["version"] == ultralytics.__version__ == "8.3.0+addmodules.1"
    assert described["python_requires"] == ">=3.10"
    assert {"torch>=2.4", "numpy>=1.26"} <= set(described["install_requires"])
    assert described["license"] == "AGPL-3.0-or-later"


def test_entry_points_exist(described: dict[str, Any]) -> None:
    scripts = dict(line.split(" = ") for line in described["entry_points"]["console_scripts"])
    assert set(scripts) == {"yolo", "ultralytics"}
    for target in scripts.values():
        module, name = target.split(":")
        assert callable(getattr(import_module(module), name))


def test_every_folder_of_code_is_a_package(described: dict[str, Any]) -> None:
    folders = {f.parent.relative_to(ROOT) for f in (ROOT / "ultralytics").rglob("*.py")}
    assert {".".join(folder.parts) for folder in folders} == set(described["packages"])
    yamls = set((ROOT / "ultralytics").rglob("*.yaml"))
    assert yamls == {f for p in described["package_data"]["ultralytics"] for f in (ROOT / "ultralytics").glob(p)}
    assert yamls


def test_requirements_cover_the_imports(described: dict[str, Any]) -> None:
    """Everything that the package imports is asked for, and everything asked for is imported."""
    named = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml"}
    optional = {"triton", "scipy", "psutil", "pandas", "safetensors", "pycocotools"}  # used where they are, not needed
    imported = set().union(*(imports(file) for file in (ROOT / "ultralytics").rglob("*.py")))
    outside = {name for name in imported if name not in sys.stdlib_module_names} - {"ultralytics"} - optional
    asked = {re.split(r"[<>=]", line)[0] for line in described["install_requires"]}
    assert {named.get(name, name) for name in outside} == asked


def imports(file: Path) -> set[str]:
    """First parts of the names of all modules that a file imports, at the top or later."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}


def test_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert len(text) == 34523  # as the Free Software Foundation publishes it
    assert text.lstrip().startswith("GNU AFFERO GENERAL PUBLIC LICENSE")
    assert "How to Apply These Terms to Your New Programs" in text


needs_git = pytest.mark.skipif(
    not all((ROOT / name).exists() for name in (".git", ".ci/make_zip.py")) or not shutil.which("git"),
    reason="the zip is made from a git checkout",
)


@needs_git
def test_zip_holds_source_kit_data_and_docs(zip_maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # the checkout may belong to another user
    files = set(zip_maker.tracked_files())
    assert zip_maker.archive_name() == "ultralytics-8.3.0-addmodules.1"
    assert {
        "README.md",
        "README.zh-CN.md",
        "LICENSE",
        "setup.py",
        "Makefile",
        "ultralytics/__init__.py",
        "ultralytics/cfg/default.yaml",
        "train/train.py",
        "train/训练说明.md",
        "dataset/make_digits.py",
        "dataset/train/images/train_000.jpg",
        "dataset/val/labels/val_049.txt",
        "docs/改进原理.md",
    } <= files
    assert not [f for f in files if f.startswith((".", "runs/", "dist/")) or f.endswith((".pyc", ".cache"))]


@needs_git
def test_a_checkout_on_windows_has_scripts_that_run(tmp_path: Path) -> None:
    """With core.autocrlf, git's setting there, make and the shell would read a carriage return into every line."""
    git = ["git", "-c", "safe.directory=*", "-c", "core.autocrlf=true"]
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for words in (["init", "--quiet"], ["add", "."]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    (tmp_path / "Makefile").unlink()
    subprocess.run([*git, "checkout-index", "Makefile"], cwd=tmp_path, check=True)
    assert (tmp_path / "Makefile").read_bytes() == (ROOT / "Makefile").read_bytes().replace(b"\r\n", b"\n")


@needs_git
@pytest.mark.slow
def test_zip_installs_and_trains_in_a_path_with_blanks_and_chinese(
    zip_maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a student does, but for the download of the requirements, which this interpreter lends."""
    monkeypatch.setattr(zip_maker, "TARGET", tmp_path)
    zip_maker.main()
    home = tmp_path / "课程 作业 (copy)"
    with zipfile.ZipFile(tmp_path / f"{zip_maker.archive_name()}.zip") as archive:
        archive.extractall(home)
    project = home / zip_maker.archive_name()
    assert (project / "train" / "训练说明.md").is_file()
    python = make_environment(home / "my env")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONIOENCODING": "utf-8"}
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "."]
    run(install, project, env)
    text = run([python, project / "train" / "train.py", *TINY], home, env)
    installed = site_packages(python) / "ultralytics"
    first = f"ultralytics {ultralytics.__version__} from {installed} (same as the tree beside this script)"
    assert text.splitlines()[0] == first
    assert (project / "runs" / "detect" / "train" / "weights" / "best.pt").is_file()
    version = run([python.parent / "yolo", "version"], home, env).strip()
    assert version == ultralytics.__version__

    # an edit of the tree that was not installed is noticed; a deleted module is gone after the next install
    extra = project / "ultralytics" / "nn" / "mine.py"
    extra.write_text("x = 1\n")
    assert "nn/mine.py" in run([python, project / "train" / "train.py", "--epoch", "1"], home, env, code=1)
    run([*install, "--force-reinstall"], project, env)
    extra.unlink()
    run([*install, "--force-reinstall"], project, env)
    assert not (installed / "nn" / "mine.py").exists()


def make_environment(folder: Path) -> Path:
    """The Python of a new virtual environment that sees, after its own packages, those of this interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    (site_packages(python) / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip())
