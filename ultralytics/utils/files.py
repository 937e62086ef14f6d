"""Reading and writing of files: YAML with errors that name the line, whole-or-nothing writing, numbering, finding.

Standard library only until a YAML file is read or written.
"""

from __future__ import annotations

import csv
import glob
import math
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from ultralytics.utils import LOGGER
from ultralytics.utils.suggest import did_you_mean

_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff]")  # YAML forbids them


class YamlError(ValueError):
    """A YAML file cannot be read, or is not a list of `key: value` lines."""


def yaml_load(path: str | Path) -> dict[Any, Any]:
    """Content of a YAML file whose top level is a mapping; an empty file gives {}.

    Numbers follow YAML 1.2: `1e-3` is a number (YAML 1.1 reads it as text).

    Raises:
        FileNotFoundError: there is no such file.
        YamlError: the text is not YAML (names the line), or its top level is not a mapping.
    """
    import yaml  # 20 ms that `yolo version` does not spend

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file '{path}' (looked in {path.absolute().parent})")
    text = _CONTROL_CHARACTERS.sub("", _decoded(path))
    try:
        data = yaml.load(text, Loader=_yaml_classes()[0])
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(e, "problem", None) or str(e).splitlines()[0]
        raise YamlError(f"{path}{line}: this is not YAML: {problem}{_yaml_hint(text)}") from e
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise YamlError(f"{path}: expected lines of the form 'key: value', found {_short(data)}{_yaml_hint(text)}")
    return data


def yaml_save(path: str | Path, data: Mapping[Any, Any]) -> None:
    """Write a mapping as YAML in its own order; paths become text, tuples lists, numpy numbers plain numbers."""
    import yaml

    text = yaml.dump(_plain(data), Dumper=_yaml_classes()[1], sort_keys=False, allow_unicode=True, width=120)
    with atomic_write(path, "w") as f:
        f.write(text)


@contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file beside `path` for writing and move it over `path` at the end of the block.

    Whoever looks at `path` sees the old or the new content, never a part; after an exception it is the old one.

    Args:
        path: the target; missing folders are made, a link is followed.
        mode: "wb", or "w" for UTF-8 text.
    """
    target = Path(path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    options: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with beside.open(mode.replace("w", "x"), **options) as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        beside.replace(target)
    except OSError as e:
        e.filename = e.filename or str(target)  # a full disk names no file
        raise
    finally:
        beside.unlink(missing_ok=True)


def read_results(file: str | Path) -> dict[str, list[float]]:
    """Columns of a results.csv, ours or one of 8.3.0; padding is taken off, a missing or bad cell becomes NaN."""
    with Path(file).open(newline="", encoding="utf-8") as stream:
        rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if row]
    header, body = (rows[0], rows[1:]) if rows else ([], [])

    def number(row: list[str], i: int) -> float:
        try:
            return float(row[i])
        except (ValueError, IndexError):
            return math.nan

    return {key: [number(row, i) for row in body] for i, key in enumerate(header) if key}


def increment_path(path: str | Path, exist_ok: bool = False) -> Path:
    """`path` if it is free (or `exist_ok`), else the first free one of path2, path3, ...; nothing is created.

    The number of an existing file goes before its suffix: out.py, out2.py.
    """
    path = Path(path)
    if exist_ok or not path.exists():
        return path
    suffix = path.suffix if path.is_file() else ""
    stem = path.name.removesuffix(suffix) if suffix else path.name
    number = 2
    while (free := path.with_name(f"{stem}{number}{suffix}")).exists():
        number += 1
    return free


def find_file(name: str | Path, folders: Sequence[Path], what: str = "file") -> Path:
    """The file `name` as given, else the one of that name in or below one of `folders`.

    Args:
        name: path, or file name.
        folders: where to look after the path as given, in this order.
        what: the word for it in the error, such as "model file".

    Raises:
        FileNotFoundError: it is nowhere; the text lists where it was looked for, and names that are close.
    """
    given = Path(name).expanduser()
    if given.is_file():
        return given
    for folder in folders:
        if (direct := folder / given).is_file():
            return direct
        if given.parent == Path():
            for below in sorted(folder.rglob(glob.escape(given.name))):
                if below.is_file():
                    return below
    raise FileNotFoundError(_not_found(given, folders, what))


def _not_found(given: Path, folders: Sequence[Path], what: str) -> str:
    if given.is_dir():
        inside = sorted(given.glob("*.yaml"))
        hint = f"; did you mean '{inside[0]}'?" if inside else ""
        return f"'{given}' is a folder, not a {what}{hint}"
    here = given.absolute().parent
    ending = "*.y*ml" if given.suffix.lower() in (".yaml", ".yml") else f"*{given.suffix}"
    known = {path.name for folder in folders for path in folder.rglob(ending) if path.is_file()}
    known |= {path.name for path in here.glob(ending) if path.is_file()} if here.is_dir() else set()
    folders_searched = ", ".join(map(str, [here, *folders]))
    return f"there is no {what} '{given}' (searched {folders_searched}){did_you_mean(given.name, known)}"


def _decoded(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        # older Chinese editors write GBK; a class name read that way is right, and one that is not shows at once
        LOGGER.warning("%s:%d is not UTF-8; reading the file as GBK", path, raw.count(b"\n", 0, e.start) + 1)
        return raw.decode("gb18030", errors="replace")


def _yaml_hint(text: str) -> str:
    """What the reason probably is, where a text that is no YAML has one of the usual slips."""
    slips = {
        "：": "a key ends in ':' and a blank, and '：' is another character",
        r"(?m)^ *\t": "lines are indented by blanks, not by tabs",
        r'"[^"\n]*\\': r"between double quotes \ has a meaning of its own; write C:/data, or leave the quotes out",
    }
    found = next((says for slip, says in slips.items() if re.search(slip, text)), "")
    return f" ({found})" if found else ""


@cache
def _yaml_classes() -> tuple[type, type]:
    """Loader and dumper that know exponents without a decimal point: 1e-3 is a number, the text "1e3" gets quotes."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        pass

    exponent = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
    for kind in (Loader, Dumper):
        kind.add_implicit_resolver("tag:yaml.org,2002:float", exponent, list("-+.0123456789"))
    return Loader, Dumper


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        # subclasses such as numpy.float64 and string enums would not be written as numbers and text
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                return value if type(value) is kind else kind(value)
        return None
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and torch
        return _plain(value.tolist())
    return str(value)


def _short(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "...")
