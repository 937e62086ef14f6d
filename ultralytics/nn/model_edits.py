"""Model files that change another model file: `base`, `replace` and `insert`, with row references kept right.

    base: yolo11-seg.yaml
    replace:
      - {rows: [5, 7, 20], module: AKConv}                # what is not given stays: from, repeats, args
      - {rows: outputs, module: C2f_DLKA, args: [c2]}     # c2: the first argument of the row that is replaced
    insert:
      - {after: outputs, module: ACmix, args: []}         # whatever read the row before reads the new one

Row numbers are those of the base file, backbone and head counted together from 0, whatever is inserted before them. In
place of numbers stand `outputs`, the rows that the last row reads, and `downsampling`, the convolutions with stride 2
except the first row. Other keys (nc, scales, kpt_shape, ...) take the place of the base's. A base may have a base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ultralytics.utils.suggest import did_you_mean

MAX_BASES = 10  # a file whose base leads back to itself never ends
EDIT_KEYS = ("base", "replace", "insert")
_REPLACE_KEYS = ("rows", "module", "args", "repeats", "from")
_INSERT_KEYS = ("after", "module", "args", "repeats")
_OLD_WIDTH = "c2"


class ModelEditError(ValueError):
    """An edit of a model file cannot be made; the text names the file, the edit and what would be right."""


@dataclass
class _Row:
    """A row with its sources as positions in the list of rows, -1 for the image."""

    sources: list[int]
    single: bool  # `from` is a number and not a list
    repeats: Any
    module: Any
    args: list[Any]
    part: str


def apply_edits(content: Mapping[str, Any], load: Callable[[str], Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The content of a model file with its edits applied to its base; a file without `base` is returned as it is.

    Args:
        content: the file; not changed.
        load: content of the model file of a name.
        name: the file's name, for errors.

    Raises:
        ModelEditError: an unknown key, a row that does not exist, or edits without a base.
    """
    chain = [dict(content)]
    while "base" in chain[-1]:
        if len(chain) > MAX_BASES:
            raise ModelEditError(f"{name}: `base` leads through more than {MAX_BASES} files; does one name itself?")
        chain.append(dict(load(str(chain[-1]["base"]))))
    if len(chain) == 1 and not any(key in content for key in EDIT_KEYS):
        return chain[0]
    result = chain.pop()
    if lost := [key for key in EDIT_KEYS if key in result]:
        raise ModelEditError(f"{name}: `{lost[0]}` needs a `base:`, the model file whose rows it changes")
    for layer in reversed(chain):
        result = _edited(result, layer, name)
    return result


def _edited(base: dict[str, Any], edits: dict[str, Any], name: str) -> dict[str, Any]:
    if double := [key for key in ("backbone", "head") if key in edits]:
        raise ModelEditError(f"{name}: `{double[0]}` comes from the base file; change its rows by replace and insert")
    rows = _read(base, name)
    replaced = list(rows)
    for edit in _edits(edits, "replace", _REPLACE_KEYS, name):
        for i in _chosen(edit["rows"], rows, name, edit):
            replaced[i] = _replacement(replaced[i], edit, i, name)
    inserted: dict[int, list[_Row]] = {}
    for edit in _edits(edits, "insert", _INSERT_KEYS, name):
        for i in _chosen(edit["after"], rows, name, edit):
            inserted.setdefault(i, []).append(_new_row(edit, rows[i]))
    merged = {**base, **{key: value for key, value in edits.items() if key not in EDIT_KEYS}}
    return merged | _written(replaced, inserted)


def _read(base: Mapping[str, Any], name: str) -> list[_Row]:
    rows: list[_Row] = []
    for part in ("backbone", "head"):
        for row in base.get(part) or []:
            if not (isinstance(row, (list, tuple)) and len(row) == 4):
                raise ModelEditError(
                    f"{name}: the base's row {len(rows)} is {row!r}; it must be [from, repeats, module, args]"
                )
            source, repeats, module, args = row
            sources = list(source) if isinstance(source, (list, tuple)) else [source]
            absolute = [len(rows) + s if s < 0 else s for s in sources]
            rows.append(_Row(absolute, not isinstance(source, (list, tuple)), repeats, module, list(args), part))
    return rows


def _edits(content: Mapping[str, Any], key: str, known: tuple[str, ...], name: str) -> list[dict[str, Any]]:
    edits = content.get(key) or []
    if not isinstance(edits, list) or not all(isinstance(edit, Mapping) for edit in edits):
        raise ModelEditError(f"{name}: `{key}:` must be a list of mappings such as {{{known[0]}: [5], module: AKConv}}")
    for edit in edits:
        for word in edit:
            if word not in known:
                hint = did_you_mean(str(word), known) or f"; known: {', '.join(known)}"
                raise ModelEditError(f"{name}: {key} {dict(edit)}: unknown key '{word}'{hint}")
        if missing := [word for word in known[:2] if word not in edit and (word != "module" or key == "insert")]:
            raise ModelEditError(f"{name}: {key} {dict(edit)}: '{missing[0]}' is missing")
    return [dict(edit) for edit in edits]


def _chosen(selection: Any, rows: list[_Row], name: str, edit: Mapping[str, Any]) -> list[int]:
    """Positions that `rows:` or `after:` means."""
    if selection == "outputs":
        return [i for i in rows[-1].sources if i >= 0]
    if selection == "downsampling":
        return [
            i for i, row in enumerate(rows) if i and row.module == "Conv" and len(row.args) > 2 and row.args[2] == 2
        ]
    numbers = selection if isinstance(selection, list) else [selection]
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(rows):
            raise ModelEditError(
                f"{name}: {dict(edit)}: {number!r} is not a row of the base; rows are 0 to {len(rows) - 1}, "
                "`outputs` or `downsampling`"
            )
    return numbers


def _replacement(row: _Row, edit: Mapping[str, Any], i: int, name: str) -> _Row:
    sources, single = row.sources, row.single
    if "from" in edit:
        source = edit["from"]
        single = not isinstance(source, list)
        given = source if isinstance(source, list) else [source]
        sources = [i + s if s < 0 else s for s in given]
        if any(not isinstance(s, int) or not -1 <= s < i for s in sources):
            raise ModelEditError(f"{name}: replace {dict(edit)}: `from` must name rows before row {i} of the base")
    args = _with_width(edit["args"], row) if "args" in edit else row.args
    return _Row(sources, single, edit.get("repeats", row.repeats), edit.get("module", row.module), args, row.part)


def _new_row(edit: Mapping[str, Any], before: _Row) -> _Row:
    return _Row(
        [], True, edit.get("repeats", 1), edit["module"], _with_width(edit.get("args", []), before), before.part
    )


def _with_width(args: Any, row: _Row) -> list[Any]:
    return [row.args[0] if arg == _OLD_WIDTH and row.args else arg for arg in args]


def _written(rows: list[_Row], inserted: Mapping[int, list[_Row]]) -> dict[str, list[list[Any]]]:
    """Backbone and head as lists of rows; a reference is -1 where it is the row before, as people write it."""
    last: dict[int, int] = {-1: -1}  # position in the base -> position of what its readers read now
    own: list[tuple[_Row, list[int]]] = []
    for i, row in enumerate(rows):
        own.append((row, [last[s] for s in row.sources]))
        for new in inserted.get(i, []):
            own.append((new, [len(own) - 1]))
        last[i] = len(own) - 1
    parts: dict[str, list[list[Any]]] = {"backbone": [], "head": []}
    for position, (row, sources) in enumerate(own):
        short = [-1 if s == position - 1 else s for s in sources]
        parts[row.part].append([short[0] if row.single else short, row.repeats, row.module, list(row.args)])
    return parts
