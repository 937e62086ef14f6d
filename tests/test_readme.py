"""README and docs stay true: their examples run, their links lead somewhere, both languages show the same code.

A comment above a block of Python or shell says what happens to it here:
    <!-- test: run -->                       executed, in a copy of the kit
    <!-- test: run | OLD => NEW | ... -->    executed after these replacements, which make it small
    <!-- test: same as PAGE -->              the translation of a page that is executed: the code must be equal
    <!-- test: skip REASON -->               neither
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from project import ROOT, copy_train_folder, python_path, run

PAGES = [
    p.relative_to(ROOT).as_posix()
    for p in sorted(
        [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "train/训练说明.md", ROOT / "dataset/README.md"]
    )
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

    def small(self) -> str:
        """The code with the replacements that its mark names."""
        code = self.code
        for pair in self.mark.split(" | ")[1:]:
            old, new = pair.split(" => ")
            assert old in code, f"'{old}' is not in the block any more"
            code = code.replace(old, new)
        return code


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(m["language"], m["code"], m["mark"] or "") for m in _BLOCK.finditer(text)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_happens_to_it(page: str) -> None:
    for block in blocks(page):
        assert block.runs or re.match("skip .|same as .", block.mark), f"{page}: no mark above\n{block.code}"


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.runs for b in blocks(page))])
def test_examples_run(page: str, tmp_path: Path) -> None:
    """A page's blocks run in their order: Python as one program (as a reader would paste it), then each shell block."""
    project, env = copy_train_folder(tmp_path / "project"), python_path(tmp_path / "bin")
    program = "\n\n".join(b.small() for b in blocks(page) if b.runs and b.language == "python")
    if program:
        (project / "example.py").write_text(program, encoding="utf-8")
        run(["python", "example.py"], project, env)
    for block in blocks(page):
        if block.runs and block.language == "bash":
            run(["bash", "-euc", block.small()], project, env)


@pytest.mark.parametrize(
    ("page", "translated"),
    [
        ("README.md", "README.zh-CN.md"),
        ("docs/procedure.md", "docs/改进流程.md"),
        ("docs/weights.md", "docs/权重迁移.md"),
    ],
)
def test_both_languages_show_the_same_code(page: str, translated: str) -> None:
    ours, theirs = ([(b.language, _without_comments(b.code)) for b in blocks(p)] for p in (page, translated))
    assert ours == theirs


def _without_comments(code: str) -> list[str]:
    return [re.sub(r"\s+#.*", "", line) for line in code.splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


def test_pages_name_files_that_exist() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for name in re.findall(r"`((?:yolov8|yolo11)[\w-]*\.yaml)`", text):
            plain = re.sub(r"^(yolov8|yolo11)[nslmx]", r"\1", name)
            assert list((ROOT / "ultralytics/cfg/models").rglob(plain)), f"{page} names {name}"


def test_nothing_waits_to_be_filled_in() -> None:
    for page in PAGES:
        assert "@@" not in (ROOT / page).read_text(encoding="utf-8"), f"{page} has a placeholder"


def test_options_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("make_options", ROOT / "docs" / "make_options.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (ROOT / "docs" / "reference" / "options.md").read_text(encoding="utf-8")
    assert written == module.page(), "run: python docs/make_options.py"
    assert written.count("\n| `") == 106
