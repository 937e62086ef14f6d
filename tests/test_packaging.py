"""Packaging: the wheel's metadata and contents; the coursework zip and a training run from where it is unpacked."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from project import ROOT, TINY, run

from ultralytics.version import FULL_VERSION


@dataclass(frozen=True)
class Wheel:
    """The contents of a built wheel: its file names, its metadata and its console scripts."""

    files: set[str]
    metadata: Message
    scripts: dict[str, str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """The wheel that `pip install .` builds, from a copy of the sources, so that build files stay out of the tree."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "ultralytics", copy / "ultralytics", ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    run([sys.executable, "-c", build, out], copy, os.environ)
    (file,) = out.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        (info,) = (name.removesuffix("METADATA") for name in names if name.endswith(".dist-info/METADATA"))
        entry_points = configparser.ConfigParser()
        entry_points.read_string(archive.read(f"{info}entry_points.txt").decode())
        metadata = message_from_string(archive.read(f"{info}METADATA").decode())
    return Wheel(names, metadata, dict(entry_points["console_scripts"]))


@pytest.fixture(scope="module")
def zip_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_zip", ROOT / ".ci" / "make_zip.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_metadata(wheel: Wheel) -> None:
    assert wheel.metadata["Name"] == "ultralytics"
    assert wheel.metadata["Version"] == FULL_VERSION == "8.3.0+addmodules.1"
    assert wheel.metadata["Requires-Python"] == ">=3.10"
    assert wheel.metadata["License-Expression"] == "AGPL-3.0-or-later"
    assert wheel.metadata["Description-Content-Type"] == "text/markdown"


def test_entry_points_exist(wheel: Wheel) -> None:
    assert set(wheel.scripts) == {"yolo", "ultralytics"}
    for target in wheel.scripts.values():
        module, name = target.split(":")
        assert callable(getattr(import_module(module), name))


def test_wheel_holds_all_code_and_all_model_files(wheel: Wheel) -> None:
    suffixes = (".py", ".yaml", ".jpg")
    sources = {f for f in (ROOT / "ultralytics").rglob("*") if f.suffix in suffixes or f.name == "py.typed"}
    assert ROOT / "ultralytics/py.typed" in sources
    contents = {name for name in wheel.files if name.startswith("ultralytics/")}
    assert contents == {f.relative_to(ROOT).as_posix() for f in sources}


def test_requirements_cover_the_imports(wheel: Wheel) -> None:
    """Everything that the package imports is a requirement, and every requirement is imported."""
    distributions = {"cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml"}
    optional = {"triton", "scipy", "psutil", "pandas", "safetensors", "pycocotools"}  # used if installed
    for_users = {"einops"}  # modules that users paste from papers import it
    imported = set().union(*(imports(file) for file in (ROOT / "ultralytics").rglob("*.py")))
    third_party = {name for name in imported if name not in sys.stdlib_module_names} - {"ultralytics"} - optional
    lines = [line for line in wheel.metadata.get_all("Requires-Dist") if "extra ==" not in line]
    required = {re.split(r"[<>=; ]", line)[0].lower() for line in lines}
    headless = "opencv-python-headless"  # the Linux build of the same library
    assert {distributions.get(name, name) for name in third_party} == required - for_users - {headless}


@pytest.mark.parametrize(
    ("system", "expected"),
    [("Linux", "opencv-python-headless"), ("Windows", "opencv-python"), ("Darwin", "opencv-python")],
)
def test_each_system_gets_one_build_of_opencv(wheel: Wheel, system: str, expected: str) -> None:
    requirements = [Requirement(line) for line in wheel.metadata.get_all("Requires-Dist")]
    environment = {"platform_system": system, "extra": ""}
    names = [r.name for r in requirements if r.name.startswith("opencv") and r.marker.evaluate(environment)]
    assert names == [expected]


def imports(file: Path) -> set[str]:
    """Top-level names of all modules that a file imports, at its top or inside functions."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}


def test_license_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert len(text) == 34523  # as the Free Software Foundation publishes it
    assert text.lstrip().startswith("GNU AFFERO GENERAL PUBLIC LICENSE")
    assert "How to Apply These Terms to Your New Programs" in text


def test_citation_file_has_the_required_fields() -> None:
    """Fields that the Citation File Format 1.2 requires; the version is the package's."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == FULL_VERSION
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= reference.keys()
        assert all({"family-names", "given-names"} <= author.keys() for author in reference["authors"])


needs_git = pytest.mark.skipif(
    not all((ROOT / name).exists() for name in (".git", ".ci/make_zip.py")) or not shutil.which("git"),
    reason="the zip is made from a git checkout",
)


@needs_git
def test_zip_holds_source_sample_and_docs(zip_maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
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
        "ultralytics/assets/bus.jpg",
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
def test_checkout_on_windows_keeps_line_feeds(tmp_path: Path) -> None:
    """With core.autocrlf, as Git for Windows sets it, make and the shell would see a carriage return in every line."""
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
def test_zip_installs_and_trains_in_a_path_with_spaces_and_chinese(
    zip_maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps of a student, except that the requirements come from this interpreter and are not downloaded."""
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
    first = f"ultralytics {FULL_VERSION} from {installed} (identical to the source tree of this script)"
    assert text.splitlines()[0] == first
    assert (project / "runs" / "detect" / "train" / "weights" / "best.pt").is_file()
    version = run([python.parent / "yolo", "version"], home, env).strip()
    assert version == FULL_VERSION

    # an edit of the tree that was not installed is reported; a deleted module is gone after the next install
    extra = project / "ultralytics" / "nn" / "extra.py"
    extra.write_text("x = 1\n")
    assert "nn/extra.py" in run([python, project / "train" / "train.py", "--epoch", "1"], home, env, code=1)
    run([*install, "--force-reinstall"], project, env)
    extra.unlink()
    run([*install, "--force-reinstall"], project, env)
    assert not (installed / "nn" / "extra.py").exists()


def make_environment(folder: Path) -> Path:
    """The Python of a new virtual environment that also sees the packages of this interpreter, after its own."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    (site_packages(python) / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip())
