"""Web addresses: without credentials, and the file that they name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit


def clean_url(url: str) -> str:
    """The address without its query, in which keys and passwords may be, and with %20 and the like decoded."""
    text = Path(url).as_posix().replace(":/", "://") if ":/" in url else url  # Path joins the slashes after the colon
    return unquote(text).split("?")[0]


def url2file(url: str) -> str:
    """Name of the file that an address names."""
    return Path(clean_url(url)).name


def is_url(url: object) -> bool:
    """Whether the text is a whole address with a scheme and a host; nothing is requested."""
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)
