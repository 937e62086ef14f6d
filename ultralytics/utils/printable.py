"""Text for logs, JSON, YAML and images from file names that are not UTF-8, such as those of a GBK archive on Linux.

Python represents the bytes of such a name as surrogates, with which any file can be opened. They cannot be encoded:
files of text cannot be written with them, and OpenCV ends the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_WORD = re.compile(r"[^\s/:;,'\"()]*[\ud800-\udfff][^\s/:;,'\"()]*")  # none of these bytes is part of a GBK character


def is_unicode(text: str) -> bool:
    """Whether the text can be encoded, so that any program can read it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """The text itself, or if parts of it are not Unicode, those parts as GBK or with replacement characters."""
    return text if text.isascii() or is_unicode(text) else _WORD.sub(lambda match: _decoded(match[0]), text)


def printable_values(value: object) -> object:
    """A value of dicts, lists, texts, paths and other things, with all its texts printable."""
    if isinstance(value, (str, Path)):
        return printable(str(value))
    if isinstance(value, Mapping):
        return {printable_values(key): printable_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_values(item) for item in value]
    return value


@contextmanager
def unicode_path(path: str | Path) -> Iterator[str]:
    """A path of the same file for libraries that need Unicode; OpenCV ends the process otherwise.

    A file whose path is none is reached through a temporary link. If it does not exist, it gets a printable name in its
    folder.
    """
    if is_unicode(str(path)):
        yield str(path)
        return
    path = Path(path).absolute()
    with TemporaryDirectory() as folder:
        if path.exists():
            link = Path(folder) / f"link{printable(path.suffix)}"
            link.symlink_to(path)
            yield str(link)
        else:
            link = Path(folder) / "link"
            link.symlink_to(path.parent, target_is_directory=True)
            yield str(link / printable(path.name))


def _decoded(word: str) -> str:
    try:
        raw = word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that are no bytes, of a file name on Windows
        return word.encode("utf-8", "replace").decode()
    try:
        return raw.decode("gb18030")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace")
