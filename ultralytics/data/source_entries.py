"""What a source of prediction consists of: the files, addresses and images that paths, patterns and lists stand for."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeGuard
from urllib.parse import urlsplit

import numpy as np

from ultralytics.data.image_input import image_from_array, image_from_pil
from ultralytics.data.images import IMG_FORMATS
from ultralytics.utils.text_files import read_path_lines

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

VIDEO_FORMATS = frozenset({"asf", "avi", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "wmv", "webm"})
URL_SCHEMES = ("http://", "https://", "rtsp://", "rtmp://", "tcp://")
ACCEPTED = (
    "a path of an image, a video, a folder, a glob such as 'photos/*.jpg', a .txt list of paths, "
    "a .streams list of addresses; "
    "an http, https, rtsp, rtmp or tcp address; a camera number; a PIL image; an array (H, W, 3) BGR or (H, W) gray; "
    "a tensor (B, 3, H, W) or (3, H, W) RGB in 0..1; or a list of any of these except tensors"
)


@dataclass(frozen=True)
class SourceEntry:
    """One thing to read.

    Attributes:
        media: an image file, a video file or address, an address of an image, or an image in memory.
        path: file or address; empty for an image in memory without a file name.
        image: (H, W, 3) uint8 BGR of an image in memory.
    """

    media: Literal["image", "video", "url", "memory"]
    path: str
    image: np.ndarray | None = None


def list_entries(source: object) -> list[SourceEntry]:
    """All that a source stands for, in its order. Images in memory without a name are called by their index.

    Raises:
        FileNotFoundError: a path, or everything that a pattern or folder could give, is missing.
        TypeError: this type cannot be read.
        ValueError: an array has the wrong shape, or the source is empty.
    """
    entries = _entries(source)
    return [
        entry if entry.path else SourceEntry(entry.media, f"image{i}.jpg", entry.image)
        for i, entry in enumerate(entries)
    ]


def live_addresses(source: object) -> list[str | int]:
    """Camera numbers and addresses of live streams, if the source consists of nothing else; else an empty list.

    Raises:
        ValueError: live streams are mixed with files.
    """
    if isinstance(source, (str, Path)) and str(source).lower().endswith(".streams"):
        # blanks separate addresses as in 8.3.0, but are part of the path of an existing file
        lines = [line for _, line in read_path_lines(Path(source).expanduser())]
        texts = [text for line in lines for text in ([line] if Path(line).is_file() else line.split())]
        if nested := next((text for text in texts if text.lower().endswith(".streams")), None):
            raise ValueError(f"{source}: it names another list, {nested}; give the addresses themselves")
        return [address for text in texts for address in live_addresses(text) or [text]]
    items = list(source) if isinstance(source, (list, tuple)) else [source]
    live: list[str | int] = []
    for item in items:
        text = item.strip() if isinstance(item, str) else ""
        if isinstance(item, int) and not isinstance(item, bool):
            live.append(item)
        elif text.isdigit() and not Path(text).exists():
            live.append(int(text))
        elif text.lower().startswith(URL_SCHEMES) and _url_suffix(text) not in IMG_FORMATS | VIDEO_FORMATS:
            live.append(text)
    if live and len(live) != len(items):
        raise ValueError(f"live streams ({live[0]}) cannot be mixed with files in one source; use one call for each")
    return live


def is_tensor(source: object) -> TypeGuard[Tensor]:
    """Whether it is a torch tensor; decided by name, since arrays and paths need no torch."""
    return type(source).__module__.split(".")[0] == "torch" and hasattr(source, "is_floating_point")


def _is_pil(source: object) -> TypeGuard[Image]:
    return hasattr(source, "convert") and hasattr(source, "getbands")  # without importing Pillow


def _entries(source: object) -> list[SourceEntry]:
    if isinstance(source, (list, tuple)):
        if not source:
            raise ValueError("the source is an empty list: there is nothing to predict")
        return [entry for item in source for entry in _entries(item)]
    if isinstance(source, (str, Path)):
        return _from_text(_stripped(str(source)))
    if isinstance(source, np.ndarray):
        return [SourceEntry("memory", "", image_from_array(source, "source"))]
    if _is_pil(source):
        return [SourceEntry("memory", str(getattr(source, "filename", "")), image_from_pil(source))]
    raise TypeError(f"cannot predict a {type(source).__name__}. Give {ACCEPTED}.")


def _stripped(text: str) -> str:
    """A path without blanks around it, unless there is a file whose name has them."""
    if not text.strip():
        raise ValueError("the source is an empty text: there is nothing to predict")
    return text if Path(text).exists() else text.strip()


def _glob(pattern: str) -> list[Path]:
    """Files of a pattern, sorted; brackets in the names of existing folders are no part of the pattern."""
    path = Path(pattern)
    folder = next(parent for parent in path.parents if parent.is_dir())
    literal = str(Path(glob.escape(str(folder)), path.relative_to(folder)))
    matches = glob.glob(literal, recursive=True) or glob.glob(pattern, recursive=True)  # noqa: PTH207 - any pattern
    return sorted(map(Path, matches))


def _from_text(text: str, inside: tuple[Path, ...] = ()) -> list[SourceEntry]:
    """What a path, pattern or address stands for; `inside`: the lists in which it was found."""
    if text.lower().startswith(URL_SCHEMES):
        return [SourceEntry("url" if _url_suffix(text) in IMG_FORMATS else "video", text)]
    path = Path(text).expanduser()
    if path.is_dir():
        files = (p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        return _images_then_videos(sorted(files), f"the folder {path}")
    if path.is_file():
        if path.suffix.lower() == ".txt":
            return _from_list_file(path, inside)
        return [SourceEntry("video" if _suffix(path) in VIDEO_FORMATS else "image", str(path))]
    if any(c in text for c in "*?["):
        return _images_then_videos(_glob(str(path)), f"the pattern {text}")
    raise FileNotFoundError(f"there is no '{text}' (looked for {path.absolute()})")


def _images_then_videos(files: Sequence[Path], where: str) -> list[SourceEntry]:
    images = [SourceEntry("image", str(f)) for f in files if _suffix(f) in IMG_FORMATS]
    videos = [SourceEntry("video", str(f)) for f in files if _suffix(f) in VIDEO_FORMATS]
    if not images and not videos:
        raise FileNotFoundError(
            f"there is no image or video in {where}. Images end in {', '.join(sorted(IMG_FORMATS))}; "
            f"videos in {', '.join(sorted(VIDEO_FORMATS))}"
        )
    return images + videos


def _from_list_file(file: Path, inside: tuple[Path, ...]) -> list[SourceEntry]:
    if file.resolve() in inside:
        raise ValueError(f"{inside[-1]}: the list names itself, directly or through another list")
    entries = []
    for number, text in read_path_lines(file):
        beside = file.parent / text
        try:
            path = str(beside) if not Path(text).exists() and beside.exists() else text
            entries += _from_text(path, (*inside, file.resolve()))
        except FileNotFoundError as e:
            raise FileNotFoundError(
                f"{file}:{number}: {e}. Paths are relative to the current folder or to the folder of the list"
            ) from e
    if not entries:
        raise ValueError(f"{file}: the list is empty")
    return entries


def _url_suffix(url: str) -> str:
    """Suffix of an http(s) address without its query; rtsp and similar addresses are always live."""
    parts = urlsplit(url.strip())
    return _suffix(Path(parts.path)) if parts.scheme.lower() in ("http", "https") else ""


def _suffix(path: Path) -> str:
    return path.suffix.lower().lstrip(".")
