"""Writes docs/reference/options.md from the package's default.yaml: `python docs/make_options.py` or `make options`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from ultralytics.cfg.options import Option, all_options, format_value

PAGE = Path(__file__).resolve().parent / "reference" / "options.md"
TOP = """# Options

Generated from `ultralytics/cfg/default.yaml` by `python docs/make_options.py`; do not edit.

Options are given as `yolo train epochs=50`, `python train/train.py --epochs 50` or `model.train(epochs=50)`. An unknown
option or an invalid value is an error that names the valid ones. "Applies to" lists the modes in which an option has an
effect; `train/segment` means training of the task segment only.
"""
HEAD = "| option | default | accepts | applies to | description |\n| --- | --- | --- | --- | --- |\n"


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
    cells = (f"`{option.key}`", format_value(option.default), option.accepts(), option.scope_text(), option.meaning)
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
