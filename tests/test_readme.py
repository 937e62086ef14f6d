"""Documents: examples are executed, links and file names exist, both languages have the same code and sections.

A comment above a block of Python or shell code says how it is tested:
    <!-- test: run -->                       executed in a copy of train/ and dataset/
    <!-- test: run | OLD => NEW | ... -->    executed after these replacements, which make it fast
    <!-- test: same as PAGE -->              translation of a page that is executed: the code must be equal
    <!-- test: skip REASON -->               not executed
"""

from __future__ import annotations

import html
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from project import ROOT, copy_train_folder, python_path, run

from ultralytics.cfg import find_model_files

PAGES = [
    p.relative_to(ROOT).as_posix()
    for p in sorted(
        [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "train/训练说明.md", ROOT / "dataset/README.md"]
    )
]
TRANSLATIONS = [
    ("README.md", "README.zh-CN.md"),
    ("docs/principles.md", "docs/改进原理.md"),
    ("docs/procedure.md", "docs/改进流程.md"),
    ("docs/modules.md", "docs/自定义模块.md"),
    ("docs/weights.md", "docs/权重迁移.md"),
    ("docs/compatibility.md", "docs/兼容性.md"),
    ("docs/tasks/classify.md", "docs/tasks/图像分类.md"),
    ("docs/tasks/pose.md", "docs/tasks/关键点检测.md"),
    ("docs/tasks/segment.md", "docs/tasks/实例分割.md"),
    ("docs/tasks/obb.md", "docs/tasks/旋转框检测.md"),
]
_BLOCK = re.compile(r"(?:<!-- test: (?P<mark>[^\n]*?) -->\n)?```(?P<language>python|bash)\n(?P<code>.*?)```", re.S)


@dataclass
class Block:
    language: str
    code: str
    mark: str

    @property
    def runs(self) -> bool:
        return self.mark.split(" | ")[0] == "run"

    def shortened(self) -> str:
        """The code after the replacements of its mark."""
        code = self.code
        for pair in self.mark.split(" | ")[1:]:
            old, new = pair.split(" => ")
            assert old in code, f"'{old}' is no longer in the block"
            code = code.replace(old, new)
        return code


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(m["language"], m["code"], m["mark"] or "") for m in _BLOCK.finditer(text)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_mark(page: str) -> None:
    for block in blocks(page):
        assert block.runs or re.match("skip .|same as .", block.mark), f"{page}: no mark above\n{block.code}"


# a task's page trains a network: these run in CI, beside the default tests
PAGES_THAT_RUN = [
    pytest.param(page, marks=pytest.mark.slow) if page.startswith("docs/tasks/") else page
    for page in PAGES
    if any(b.runs for b in blocks(page))
]


@pytest.mark.parametrize("page", PAGES_THAT_RUN)
def test_examples_run(page: str, tmp_path: Path) -> None:
    """Python blocks of a page run as one program, as a reader would paste them; then each shell block runs."""
    project, env = copy_train_folder(tmp_path / "project"), python_path(tmp_path / "bin")
    program = "\n\n".join(b.shortened() for b in blocks(page) if b.runs and b.language == "python")
    if program:
        (project / "example.py").write_text(program, encoding="utf-8")
        run(["python", "example.py"], project, env)
    for block in blocks(page):
        if block.runs and block.language == "bash":
            run(["bash", "-euc", block.shortened()], project, env)


@pytest.mark.parametrize(("page", "translated"), TRANSLATIONS)
def test_both_languages_show_the_same_code(page: str, translated: str) -> None:
    original, translation = ([(b.language, _without_comments(b.code)) for b in blocks(p)] for p in (page, translated))
    assert original == translation


def _without_comments(code: str) -> list[str]:
    return [re.sub(r"\s+#.*", "", line) for line in code.splitlines()]


@pytest.mark.parametrize(("page", "translated"), TRANSLATIONS)
def test_both_languages_have_the_same_sections_and_tables(page: str, translated: str) -> None:
    """Equal number of headings per level, table rows and list items, in the same order."""
    original, translation = (
        re.findall(r"^(#+ |\||- |\d\. )", (ROOT / p).read_text(encoding="utf-8"), re.M) for p in (page, translated)
    )
    assert original == translation


@pytest.mark.parametrize("page", PAGES)
def test_link_targets_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


def test_pages_name_files_that_exist() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for name in re.findall(r"`((?:yolov8|yolo11)[\w-]*\.yaml)`", text):
            assert find_model_files(name), f"{page} names {name}"


def test_development_pages_name_files_that_exist() -> None:
    """Paths in backquotes are relative to the repository or to the package; `<name>` and `*` are placeholders."""
    for page in (ROOT / "docs/development").glob("*.md"):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        for name in re.findall(r"`([\w.]+(?:/[\w.]*)+|[a-z_]+\.py)`", text):
            roots = (ROOT, ROOT / "ultralytics", ROOT / "ultralytics/models/yolo/detect")
            assert any((root / name).exists() for root in roots), f"{page.name} names {name}"


def test_english_pages_use_the_words_of_the_glossary() -> None:
    glossary = (ROOT / "docs/development/glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"`([^`]+)`", glossary.split("checks it):")[1])
    assert len(words) > 10
    for page in PAGES:
        if page == "docs/development/glossary.md":
            continue  # it lists them
        text = (ROOT / page).read_text(encoding="utf-8").lower()
        for word in words:
            assert not re.search(rf"\b{word}", text), f"{page}: '{word}'"


def test_layers_figure_describes_every_layer() -> None:
    module = _load(ROOT / "docs/development/make_architecture.py")
    svg = (ROOT / "docs/development/layers.svg").read_text(encoding="utf-8")
    layers = module.read_layers()
    assert layers[-1] == "version"
    for layer in layers:
        assert module.CONTENTS[layer] in html.unescape(svg), "run: make figures"


def test_options_page_is_current() -> None:
    expected = _load(ROOT / "docs/make_options.py").page()
    assert (ROOT / "docs/reference/options.md").read_text(encoding="utf-8") == expected, "run: make options"


def _load(file: Path) -> ModuleType:
    """The module of a script that is not in a package."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module
