"""Model files that change another model file: `base`, `replace` and `insert`, with row references kept right.

    base: yolo11-seg.yaml
    replace:
      - {rows: [5, 7, 20], module: AKConv}                # the rest of the row stays: from, repeats, args
      - {rows: outputs, module: C2f_DLKA, args: [c2]}     # c2: the first argument of the row that is replaced
    insert:
      - {after: outputs, module: ACmix, args: []}         # readers of the row before it read the new one

Row numbers are those of the base file, backbone and head counted together from 0, whatever is inserted before them.
Instead of numbers, `outputs` selects the rows that the last row reads, and `downsampling` the convolutions with
stride 2 except the first row. Other keys (nc, scales, kpt_shape, ...) replace those of the base. A base may itself
have a base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultralytics.nn.model_source import EDIT_KEYS, ModelFileError, ModelSource, read_source
from ultralytics.utils.suggest import did_you_mean

MAX_BASES = 10  # a file whose base leads back to itself never ends
_REPLACE_KEYS = ("rows", "module", "args", "repeats", "from")
_INSERT_KEYS = ("after", "module", "args", "repeats")
_OLD_WIDTH = "c2"

Load = Callable[[str, Path | None], ModelSource]  # (name, folder that is searched first) -> the file


class ModelEditError(ModelFileError):
    """An edit of a model file cannot be made; the text names the file, the edit and what would be right."""


@dataclass(frozen=True)
class Expanded:
    """A model file with its edits applied.

    Attributes:
        content: the file's content; without `base`, `replace` and `insert`.
        origins: for each row, `file:line` of the row or the edit that it comes from.
        bases: the names of the files it is based on, nearest first.
    """

    content: dict[str, Any]
    origins: list[str]
    bases: list[str]


@dataclass
class _Row:
    """A row with its sources as positions in the list of rows, -1 for the image."""

    sources: list[int]
    relative: list[bool]  # which of them were written as negative numbers
    single: bool  # `from` is a number and not a list
    repeats: Any
    module: Any
    args: list[Any]
    part: str
    origin: str


def expand(source: ModelSource, load: Load = read_source) -> Expanded:
    """A model file with its edits applied to its base; a file without `base` keeps its content.

    Args:
        source: the file; not changed.
        load: reads the file that `base` names.

    Raises:
        FileNotFoundError: there is no file of the name of a `base`.
        ModelEditError: an unknown key, a row that does not exist, or edits without a base.
    """
    chain = [source]
    while "base" in chain[-1].content:
        if len(chain) > MAX_BASES:
            raise ModelEditError(f"{source.name}: `base` leads through more than {MAX_BASES} files; is it circular?")
        chain.append(load(str(chain[-1].content["base"]), chain[-1].folder))
    root = chain.pop()
    if lost := [key for key in EDIT_KEYS if key in root.content]:
        raise ModelEditError(f"{root.name}: `{lost[0]}` needs a `base:`, the model file whose rows it changes")
    content = dict(root.content)
    origins = [root.at(row) for part in ("backbone", "head") for row in _list(content.get(part))]
    for layer in reversed(chain):
        content, origins = _edited(content, origins, layer)
    return Expanded(content, origins, [str(layer.content["base"]) for layer in chain])


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _edited(base: dict[str, Any], origins: list[str], layer: ModelSource) -> tuple[dict[str, Any], list[str]]:
    edits = layer.content
    if double := [key for key in ("backbone", "head") if key in edits]:
        raise ModelEditError(
            f"{layer.name}: `{double[0]}` comes from the base file; change its rows by replace and insert"
        )
    rows = _read(base, origins)
    if not rows:
        raise ModelEditError(f"{layer.name}: its base, '{edits['base']}', has no rows")
    replaced = list(rows)
    for edit in _edits(layer, "replace", _REPLACE_KEYS):
        for i in _chosen(edit["rows"], rows, layer, edit):
            replaced[i] = _replacement(replaced[i], edit, i, layer)
    inserted: dict[int, list[_Row]] = {}
    for edit in _edits(layer, "insert", _INSERT_KEYS):
        for i in _chosen(edit["after"], rows, layer, edit):
            inserted.setdefault(i, []).append(_new_row(edit, rows[i], layer))
    merged = {**base, **{key: value for key, value in edits.items() if key not in EDIT_KEYS}}
    parts, origins = _written(replaced, inserted)
    return merged | parts, origins


def _read(base: Mapping[str, Any], origins: list[str]) -> list[_Row]:
    rows: list[_Row] = []
    for part in ("backbone", "head"):
        for row in _list(base.get(part)):
            rows.append(_read_row(row, len(rows), part, origins[len(rows)]))
    return rows


def _read_row(row: object, i: int, part: str, origin: str) -> _Row:
    where = f"{origin}: row {i} {row!r}"
    if not (isinstance(row, (list, tuple)) and len(row) == 4):
        raise ModelEditError(f"{where}: a row is [from, repeats, module, args]")
    source, repeats, module, args = row
    single = not isinstance(source, (list, tuple))
    sources = [source] if single else list(source)
    if not all(isinstance(s, int) for s in sources) or not isinstance(args, (list, tuple)):
        raise ModelEditError(f"{where}: `from` must be a row number or a list of them, the last part a list")
    absolute = [i + s if s < 0 else s for s in sources]
    if any(not -1 <= s < i for s in absolute):
        raise ModelEditError(f"{where}: `from` must name rows before it")
    return _Row(absolute, [s < 0 for s in sources], single, repeats, module, list(args), part, origin)


def _edits(layer: ModelSource, key: str, known: tuple[str, ...]) -> list[Mapping[str, Any]]:
    edits = layer.content.get(key) or []
    if not isinstance(edits, list) or not all(isinstance(edit, Mapping) for edit in edits):
        raise ModelEditError(
            f"{layer.name}: `{key}:` must be a list of mappings such as {{{known[0]}: [5], module: AKConv}}"
        )
    for edit in edits:
        where = f"{layer.at(edit)}: {key} {edit}"
        for word in edit:
            if word not in known:
                hint = did_you_mean(str(word), known) or f"; known: {', '.join(known)}"
                raise ModelEditError(f"{where}: unknown key '{word}'{hint}")
        if missing := [word for word in known[:2] if word not in edit and (word != "module" or key == "insert")]:
            raise ModelEditError(f"{where}: '{missing[0]}' is missing")
        if not isinstance(edit.get("args", []), list):
            raise ModelEditError(f"{where}: `args` must be a list, found {edit['args']!r}")
    return edits


def _chosen(selection: Any, rows: list[_Row], layer: ModelSource, edit: Mapping[str, Any]) -> list[int]:
    """Positions that `rows:` or `after:` means."""
    where = f"{layer.at(edit)}: {dict(edit)}"
    if isinstance(selection, str) and selection in _SELECTORS:
        if positions := _SELECTORS[selection](rows):
            return positions
        raise ModelEditError(f"{where}: the base has no row that `{selection}` selects; write row numbers instead")
    numbers = selection if isinstance(selection, list) else [selection]
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(rows):
            raise ModelEditError(
                f"{where}: {number!r} is not a row of the base; rows are 0 to {len(rows) - 1}, "
                "`outputs` or `downsampling`"
            )
    return numbers


def _outputs(rows: list[_Row]) -> list[int]:
    return [i for i in rows[-1].sources if i >= 0]


def _downsampling(rows: list[_Row]) -> list[int]:
    return [i for i, row in enumerate(rows) if i and row.module == "Conv" and len(row.args) > 2 and row.args[2] == 2]


_SELECTORS = {"outputs": _outputs, "downsampling": _downsampling}


def _replacement(row: _Row, edit: Mapping[str, Any], i: int, layer: ModelSource) -> _Row:
    sources, relative, single = row.sources, row.relative, row.single
    if "from" in edit:
        source = edit["from"]
        single = not isinstance(source, list)
        written = [source] if single else source
        if any(not isinstance(s, int) or not -1 <= (i + s if s < 0 else s) < i for s in written):
            raise ModelEditError(f"{layer.at(edit)}: replace {edit}: `from` must name rows before row {i} of the base")
        sources, relative = [i + s if s < 0 else s for s in written], [s < 0 for s in written]
    return _Row(
        sources,
        relative,
        single,
        edit.get("repeats", row.repeats),
        edit.get("module", row.module),
        _with_width(edit["args"], row) if "args" in edit else row.args,
        row.part,
        layer.at(edit),
    )


def _new_row(edit: Mapping[str, Any], before: _Row, layer: ModelSource) -> _Row:
    args = _with_width(edit.get("args", []), before)
    return _Row([], [True], True, edit.get("repeats", 1), edit["module"], args, before.part, layer.at(edit))


def _with_width(args: list[Any], row: _Row) -> list[Any]:
    return [row.args[0] if arg == _OLD_WIDTH and row.args else arg for arg in args]


def _written(rows: list[_Row], inserted: Mapping[int, list[_Row]]) -> tuple[dict[str, list[Any]], list[str]]:
    """Backbone and head as lists of rows, and their origins; -1 stays -1 where it still is the row before."""
    last: dict[int, int] = {-1: -1}  # position in the base -> position of what its readers read now
    own: list[tuple[_Row, list[int]]] = []
    for i, row in enumerate(rows):
        own.append((row, [last[s] for s in row.sources]))
        for new in inserted.get(i, []):
            own.append((new, [len(own) - 1]))
        last[i] = len(own) - 1
    parts: dict[str, list[Any]] = {"backbone": [], "head": []}
    for position, (row, sources) in enumerate(own):
        short = [-1 if rel and s == position - 1 else s for s, rel in zip(sources, row.relative, strict=True)]
        parts[row.part].append([short[0] if row.single else short, row.repeats, row.module, list(row.args)])
    return parts, [row.origin for row, _ in own]
