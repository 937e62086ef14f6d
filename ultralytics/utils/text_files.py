"""Text files of users: decoded from UTF-8, UTF-16, UTF-32 or GBK, whatever the editor wrote."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

from ultralytics.utils import LOGGER

_LINE_END = re.compile("\r\n|\n|\r")  # str.splitlines knows more, which file names may contain
_MARKS = (  # byte order marks; that of UTF-16 is the beginning of that of UTF-32
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: str | Path) -> str:
    """Text of a file in UTF-8, UTF-16 or UTF-32, or with a warning in GBK.

    Raises:
        OSError: the file cannot be read.
    """
    raw = Path(path).read_bytes()
    try:
        return decode_unicode(raw)
    except UnicodeDecodeError as e:
        _warn(path, raw, e)
        return raw.decode("gb18030", errors="replace")


def read_path_lines(path: str | Path) -> list[tuple[int, str]]:
    """The paths of a file that has one in each line: line numbers from 1, and texts without the blanks around them.

    Blanks are kept, and bytes that are not UTF-8 as Python represents them in file names, where there is such a file,
    seen from the list's folder or from the current one. `~` at the beginning is the home folder.

    Raises:
        OSError: the file cannot be read.
    """
    raw = Path(path).read_bytes()
    base = Path(path).absolute().parent
    try:
        lines = [(line, line) for line in _LINE_END.split(decode_unicode(raw))]
    except UnicodeDecodeError as e:
        _warn(path, raw, e)
        rows = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        lines = [(row.decode("gb18030", "replace"), row.decode("utf-8", "surrogateescape")) for row in rows]
    found = []
    for number, (text, name) in enumerate(lines, 1):
        stripped = text.strip()
        if stripped == name or not stripped:
            chosen = stripped
        else:  # lists may have millions of lines, so that only unusual ones are searched on the disk
            candidates = (name, name.strip(), text)
            chosen = next((c for c in candidates if (base / c).exists() or Path(c).exists()), stripped)
        if stripped:
            found.append((number, os.path.expanduser(chosen) if chosen[0] == "~" else chosen))  # noqa: PTH111 - see above
    return found


def decode_unicode(raw: bytes) -> str:
    """Text in UTF-8, UTF-16 or UTF-32, without its byte order mark.

    Without a mark, UTF-16 is recognized by the zero byte of the first character, which must be ASCII then.

    Raises:
        UnicodeDecodeError: it is none of these.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding)
    if len(raw) > 1 and len(raw) % 2 == 0 and (raw[0] == 0) != (raw[1] == 0):
        return raw.decode("utf-16-be" if raw[0] == 0 else "utf-16-le")
    return raw.decode("utf-8")


def _warn(path: str | Path, raw: bytes, error: UnicodeDecodeError) -> None:
    # older Chinese editors save as GBK; if the guess is wrong, class names are visibly garbled
    LOGGER.warning("%s:%d is not UTF-8; reading the file as GBK", path, raw.count(b"\n", 0, error.start) + 1)
