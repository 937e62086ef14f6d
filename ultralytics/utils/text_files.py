"""Text files of users: decoded from UTF-8, UTF-16, UTF-32 or GBK, whatever the editor wrote."""

from __future__ import annotations

import codecs
from pathlib import Path

from ultralytics.utils import LOGGER

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
        # older Chinese editors save as GBK; if the guess is wrong, class names are visibly garbled
        LOGGER.warning("%s:%d is not UTF-8; reading the file as GBK", path, raw.count(b"\n", 0, e.start) + 1)
        return raw.decode("gb18030", errors="replace")


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
