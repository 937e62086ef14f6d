"""Files: YAML with errors that name the line, atomic writing, numbered names, searching, results.csv.

PyYAML is imported when the first YAML file is read or written.
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
from typing import IO, Any, Protocol

from ultralytics.utils.official_names import official_names
from ultralytics.utils.printable import printable
from ultralytics.utils.suggest import did_you_mean
from ultralytics.utils.text_files import read_text

__getattr__ = official_names(__name__)
_TEXT, _NULL, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "null", "merge"))
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "merge", "null", "timestamp", "value")}
_MAX_COPIES = 100_000  # values that the aliases of a YAML file may add; a few lines of them can stand for billions
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff]")  # YAML forbids them


class _Node(Protocol):
    """What is read of PyYAML's nodes; its own classes are not imported before the first file is read."""

    id: str  # "scalar", "sequence" or "mapping"
    tag: str
    value: Any
    start_mark: Any


class YamlError(ValueError):
    """A YAML file is malformed, or its top level is not a mapping."""


def yaml_load(path: str | Path, text_keys: Sequence[str] = ()) -> dict[Any, Any]:
    """Content of a YAML file whose top level is a mapping; an empty file gives {}.

    Numbers follow YAML 1.2: `1e-3` is a number (YAML 1.1 reads it as text).

    Args:
        path: the file, in UTF-8, UTF-16 or GBK.
        text_keys: top-level keys below which all keys and values are text as written: `no` is not False, 010 is not 8.

    Raises:
        FileNotFoundError: there is no such file.
        YamlError: the text is not YAML (names the line), its top level is not a mapping, a key occurs twice in a
            mapping, or its aliases expand to too much.
    """
    import yaml  # takes 20 ms, which `yolo version` does not need

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file '{path}' (searched {path.absolute().parent})")
    text = _CONTROL_CHARACTERS.sub("", read_text(path))
    try:
        data = _construct(text, path, text_keys)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(e, "problem", None) or str(e).splitlines()[0]
        raise YamlError(f"{path}{line}: this is not YAML: {problem}{_yaml_hint(text)}") from e
    except RecursionError as e:
        raise YamlError(f"{path}: the brackets are nested too deeply") from e
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise YamlError(f"{path}: expected lines of the form 'key: value', found {_short(data)}{_yaml_hint(text)}")
    return data


def yaml_save(path: str | Path, data: Mapping[str, object] | Mapping[int, object], header: str = "") -> None:
    """Write a mapping as YAML after the text `header`; see `yaml_text`."""
    text = header + yaml_text(data)
    with atomic_write(path, "w") as f:
        f.write(text)


def yaml_text(data: Mapping[str, object] | Mapping[int, object]) -> str:
    """A mapping as YAML, in its order; paths become strings, tuples lists, NumPy numbers plain numbers."""
    import yaml

    return yaml.dump(_plain(data), Dumper=_yaml_classes()[1], sort_keys=False, allow_unicode=True, width=120)


@contextmanager
def atomic_write(path: str | Path, mode: str = "wb", durable: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary file next to `path` for writing and rename it to `path` at the end of the block.

    At any time `path` has either the old or the complete new content; after an exception the old one.

    Args:
        path: the target; missing folders are created, symbolic links are followed.
        mode: "wb", or "w" for UTF-8 text.
        durable: also survive a power failure, for which the disk must finish writing; this takes longer than all the
            rest, so that files which a run writes by the thousand do without.
    """
    target = Path(path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")  # not longer than the target may be
    options: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with temporary.open(mode.replace("w", "x"), **options) as f:
            yield f
            if durable:
                f.flush()
                os.fsync(f.fileno())
        temporary.replace(target)
    except OSError as e:
        e.filename = e.filename or str(target)  # the error of a full disk does not name a file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def read_results(file: str | Path) -> dict[str, list[float]]:
    """Columns of a results.csv of this package or of 8.3.0; missing or invalid cells become NaN."""
    with Path(file).open(newline="", encoding="utf-8") as stream:
        rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if row]
    header, body = (rows[0], rows[1:]) if rows else ([], [])

    def number(row: list[str], i: int) -> float:
        try:
            return float(row[i])
        except (ValueError, IndexError):
            return math.nan

    return {key: [number(row, i) for row in body] for i, key in enumerate(header) if key}


def increment_path(path: str | Path, exist_ok: bool = False, sep: str = "", mkdir: bool = False) -> Path:
    """`path` if it does not exist (or `exist_ok`), else the first of path2, path3, ... that does not.

    The number of an existing file goes before its suffix: out.py, out2.py.

    Args:
        path: file or folder.
        exist_ok: give `path` although it exists.
        sep: goes before the number.
        mkdir: make the result as a folder.
    """
    free = _free_path(Path(path), exist_ok, sep)
    if mkdir:
        free.mkdir(parents=True, exist_ok=True)
    return free


def _free_path(path: Path, exist_ok: bool, sep: str) -> Path:
    if exist_ok or not _exists(path):
        return path
    suffix = path.suffix if path.is_file() else ""
    stem = path.name.removesuffix(suffix) if suffix else path.name
    number = 2
    while _exists(candidate := path.with_name(f"{stem}{sep}{number}{suffix}")):
        number += 1
    return candidate


def make_numbered_dir(path: str | Path, exist_ok: bool = False) -> Path:
    """Make the folder `path` (or with `exist_ok` use it), else the first of path2, path3, ... that does not exist.

    Processes that start together each get a folder of their own: making it is what decides.
    """
    if exist_ok:
        Path(path).mkdir(parents=True, exist_ok=True)
        return Path(path)
    while True:
        candidate = increment_path(path)
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            if not _exists(candidate):
                raise  # a file takes the name of a parent folder
        else:
            return candidate


def missing_parents(path: Path) -> list[Path]:
    """The folders above `path` that do not exist, innermost first: what making it will make as well."""
    return [folder for folder in path.parents if not folder.exists()]


def remove_empty_dirs(folders: Sequence[Path]) -> bool:
    """Remove folders, innermost first, up to the first that holds something; returns whether any was removed."""
    for number, folder in enumerate(folders):
        try:
            folder.rmdir()
        except OSError:  # it holds files, or is gone
            return number > 0
    return bool(folders)


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()  # a link to nowhere takes a name too


def find_file(name: str | Path, folders: Sequence[Path], description: str = "file") -> Path:
    """The file `name` as given, else a file of that name in one of `folders` or their subfolders.

    Args:
        name: path or file name.
        folders: searched in this order if the path as given does not exist.
        description: type of the file for the error message, such as "model file".

    Raises:
        FileNotFoundError: there is no such file; the text lists the folders searched and similar names.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    for folder in folders:
        if (direct := folder / path).is_file():
            return direct
        if path.parent == Path():
            for match in sorted(folder.rglob(glob.escape(path.name))):
                if match.is_file():
                    return match
    raise FileNotFoundError(_not_found(path, folders, description))


def _not_found(path: Path, folders: Sequence[Path], description: str) -> str:
    if path.is_dir():
        inside = sorted(path.glob("*.yaml"))
        hint = f"; did you mean '{inside[0]}'?" if inside else ""
        return f"'{path}' is a folder, not a {description}{hint}"
    current = path.absolute().parent
    pattern = "*.y*ml" if path.suffix.lower() in (".yaml", ".yml") else f"*{path.suffix}"
    known = {file.name for folder in folders for file in folder.rglob(pattern) if file.is_file()}
    known |= {file.name for file in current.glob(pattern) if file.is_file()} if current.is_dir() else set()
    folders_searched = ", ".join(map(str, [current, *folders]))
    return f"there is no {description} '{path}' (searched {folders_searched}){did_you_mean(path.name, known)}"


def _construct(text: str, path: Path, text_keys: Sequence[str]) -> object:
    """The checked value of a YAML text."""
    loader = _yaml_classes()[0](text)
    try:
        root: _Node | None = loader.get_single_node()
        if root is None:
            return None
        _check_aliases(root, path)
        for key, value in root.value if root.id == "mapping" else ():
            if key.value in text_keys and value.tag != _NULL:
                _keep_text(value)
        _check_keys(root, path)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _children(node: _Node) -> list[_Node]:
    if node.id == "mapping":
        return [child for pair in node.value for child in pair]
    return list(node.value) if node.id == "sequence" else []


def _check_aliases(root: _Node, path: Path) -> None:
    """Refuse aliases that contain themselves, or that stand for so many values that using them never ends."""
    sizes: dict[int, int] = {}

    def size(node: _Node) -> int:
        """Values below a node when aliases are written out."""
        if id(node) not in sizes:
            sizes[id(node)] = -1
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
        if sizes[id(node)] < 0:
            raise YamlError(f"{path}:{node.start_mark.line + 1}: this value contains itself (&name and *name)")
        return sizes[id(node)]

    if size(root) > len(sizes) + _MAX_COPIES:
        raise YamlError(f"{path}: the aliases (*name) of this file stand for {size(root):.0e} values; write them out")


def _check_keys(root: _Node, path: Path) -> None:
    """Refuse a key that occurs twice in a mapping, of which only the last value would count."""
    seen, rest = {id(root)}, [root]
    while rest:
        node = rest.pop()
        if node.id == "mapping":
            _check_keys_of(node, path)
        new = [child for child in _children(node) if id(child) not in seen]
        seen.update(map(id, new))
        rest += new


def _check_keys_of(node: _Node, path: Path) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if key.id != "scalar" or key.tag == _MERGE:
            continue
        identity, line = (key.tag, key.value), key.start_mark.line + 1
        if identity in lines:
            raise YamlError(
                f"{path}:{line}: the key '{key.value}' is also in line {lines[identity]}; remove or rename one of them"
            )
        lines[identity] = line


def _keep_text(node: _Node) -> None:
    """Mark the scalars below a node as text, except `<<` as a key and what has a tag of its own."""
    if node.id == "scalar":
        node.tag = _TEXT if node.tag in _PLAIN else node.tag
    for child in node.value if node.id == "sequence" else ():
        _keep_text(child)
    for key, value in node.value if node.id == "mapping" else ():
        if key.tag != _MERGE:
            _keep_text(key)
        _keep_text(value)


def _yaml_hint(text: str) -> str:
    """The probable cause, if the text contains one of the common mistakes."""
    mistakes = {
        "：": "a key ends with ':' and a space; '：' is a different character",
        r"(?m)^ *\t": "indent lines with spaces, not with tabs",
        r'"[^"\n]*\\': r"\ is an escape character between double quotes; write C:/data, or omit the quotes",
    }
    hint = next((advice for pattern, advice in mistakes.items() if re.search(pattern, text)), "")
    return f" ({hint})" if hint else ""


@cache
def _yaml_classes() -> tuple[type, type]:
    """Loader and dumper that support exponents without a decimal point: 1e-3 is a number, "1e3" is quoted."""
    import yaml

    # new classes, because the resolvers of PyYAML's own apply to the whole process
    Loader: Any = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    Dumper: Any = type("Dumper", (getattr(yaml, "CSafeDumper", yaml.SafeDumper),), {})

    exponent = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
    for yaml_class in (Loader, Dumper):
        yaml_class.add_implicit_resolver("tag:yaml.org,2002:float", exponent, list("-+.0123456789"))
    return Loader, Dumper


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, int, float, str)):
        # PyYAML does not write subclasses such as numpy.float64 and string enums as numbers and strings
        if isinstance(value, str):
            return printable(str(value))
        for base in (bool, int, float):
            if isinstance(value, base):
                return value if type(value) is base else base(value)
        return None
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy and torch
        return _plain(value.tolist())
    return printable(str(value))


def _short(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "...")
