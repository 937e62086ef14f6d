"""Writes docs/reference/options.md from the package's default.yaml: `python docs/make_options.py` or `make options`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from ultralytics.cfg.options import Option, all_options, word_of

PAGE = Path(__file__).resolve().parent / "reference" / "options.md"
TOP = """# Options

Made from `ultralytics/cfg/default.yaml` by `python docs/make_options.py`; do not edit.

On the command line `yolo train epochs=50`, in the kit `python train/train.py --epochs 50`, in Python
`model.train(epochs=50)`. A name or value that is not possible is an error that says what is. "Works in" names the modes
in which an option has an effect; `train/segment` means in training, and there only for that task.
"""
HEAD = "| option | default | takes | works in | meaning |\n| --- | --- | --- | --- | --- |\n"


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8", newline="\n")


def page() -> str:
    """The whole page."""
    sections = [TOP]
    for group, members in groupby(all_options().values(), key=lambda option: option.group):
        rows = "".join(map(_row, members))
        sections.append(f"\n## {group}\n\n{HEAD}{rows}")
    return "".join(sections)


def _row(option: Option) -> str:
    places = ", ".join(f"{mode}/{task}" if task else mode for mode, task in option.where)
    return f"| `{option.key}` | {word_of(option.default)} | {option.takes()} | {places} | {option.meaning} |\n"


if __name__ == "__main__":
    main()
