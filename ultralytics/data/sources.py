"""What predict reads: files, folders, globs, lists, videos, arrays, tensors and streams, as batches of pictures."""

from __future__ import annotations

import glob
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import cv2
import numpy as np

from ultralytics.data.images import IMG_FORMATS, imread
from ultralytics.data.streams import Batch, Clip, LiveStreams
from ultralytics.utils import LOGGER

VIDEO_FORMATS = frozenset({"asf", "avi", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "wmv", "webm"})
URL_SCHEMES = ("http://", "https://", "rtsp://", "rtmp://", "tcp://")
DOWNLOAD_SECONDS = 30
ACCEPTED = (
    "a path of an image, a video, a folder, a glob such as 'photos/*.jpg', a .txt list of paths, "
    "a .streams list of addresses; "
    "an http, https, rtsp, rtmp or tcp address; a camera number; a PIL image; an array (H, W, 3) BGR or (H, W) grey; "
    "a tensor (B, 3, H, W) or (3, H, W) RGB in 0..1; or a list of any of these but tensors"
)

Array = np.ndarray


@dataclass(frozen=True)
class _Entry:
    """One thing to read: `kind` is image, video, url or object."""

    kind: str
    path: str
    content: Any = None


class _Sample(NamedTuple):
    path: str
    image: Array
    info: str
    clip: Clip | None


def load_source(
    source: Any, vid_stride: int = 1, batch: int = 1, stream_buffer: bool = False
) -> FileSource | TensorSource | LiveStreams:
    """Open what the user wants to see predicted.

    Args:
        source: see `ACCEPTED`.
        vid_stride: take every n-th frame of videos and streams.
        batch: pictures in one batch; of live streams it is the number of streams.
        stream_buffer: of live streams, queue the frames that come while others are processed, instead of dropping them.

    Returns:
        An iterable of `Batch`; `len` is the number of batches where it is known (TypeError where not). `is_live` says
        that it may never end, `is_tensor` that batches hold a tensor, `has_video` that there may be very many.

    Raises:
        FileNotFoundError: a path, or all that a pattern or folder could give, is missing.
        TypeError: this type cannot be read.
        ValueError: an array or tensor has the wrong shape, or the source is empty.
    """
    if vid_stride < 1 or batch < 1:
        raise ValueError(f"vid_stride={vid_stride}, batch={batch}: both are at least 1.")
    if _is_tensor(source):
        return TensorSource(source)
    addresses = _live_addresses(source)
    if addresses:
        return LiveStreams(addresses, vid_stride, stream_buffer)
    # pictures in memory are named by their place in the whole source
    entries = [e if e.path else _Entry(e.kind, f"image{i}.jpg", e.content) for i, e in enumerate(_entries(source))]
    return FileSource(entries, vid_stride, batch)


class FileSource:
    """Files and pictures in memory, in batches; what cannot be read is left out, counted and named once at the end."""

    is_live = False
    is_tensor = False

    def __init__(self, entries: Sequence[_Entry], vid_stride: int, batch: int) -> None:
        self.entries = list(entries)
        self.vid_stride = vid_stride
        self.batch = batch
        self.unreadable: list[str] = []

    @property
    def has_video(self) -> bool:
        """True if some of it are videos, whose number of frames is not known beforehand."""
        return any(e.kind == "video" for e in self.entries)

    def __len__(self) -> int:
        if self.has_video:
            raise TypeError("the number of batches is not known: there are videos in the source")
        return -(-len(self.entries) // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        self.unreadable = []
        samples, seen = self._samples(), 0
        while chunk := list(islice(samples, self.batch)):
            seen += len(chunk)
            paths, images, infos, clips = map(list, zip(*chunk, strict=True))
            yield Batch(paths, images, infos, clips)
        if self.unreadable:
            named = ", ".join(self.unreadable[:5]) + (", ..." if len(self.unreadable) > 5 else "")
            if not seen:
                raise ValueError(f"None of the {len(self.unreadable)} files can be read as an image or video: {named}")
            LOGGER.warning(
                f"{len(self.unreadable)} of {len(self.entries)} could not be read and were left out: {named}"
            )

    def _samples(self) -> Iterator[_Sample]:
        total = len(self.entries)
        for i, entry in enumerate(self.entries):
            if entry.kind == "video":
                yield from self._frames(entry.path, f"video {i + 1}/{total} ")
                continue
            if entry.kind == "object":
                yield _Sample(entry.path, entry.content, f"{i}: ", None)
                continue
            image = read_url(entry.path) if entry.kind == "url" else read_image(entry.path)
            if image is None:
                self.unreadable.append(entry.path)
            else:
                yield _Sample(entry.path, image, f"image {i + 1}/{total} {entry.path}: ", None)

    def _frames(self, path: str, info: str) -> Iterator[_Sample]:
        video = cv2.VideoCapture(path)
        try:
            frames = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0) // self.vid_stride
            fps = (video.get(cv2.CAP_PROP_FPS) or 30.0) / self.vid_stride
            number = 0
            while all(video.grab() for _ in range(self.vid_stride)):
                ok, image = video.retrieve()
                if not ok:
                    break
                number += 1
                yield _Sample(path, image, f"{info}(frame {number}/{frames or '?'}) {path}: ", Clip(number, fps, path))
            if not number:
                self.unreadable.append(path)
        finally:
            video.release()


class TensorSource:
    """A tensor of pictures that are ready for the network, as one batch.

    Args:
        source: (B, 3, H, W) or (3, H, W) RGB, float in 0..1 (larger values are taken as 0..255) or integers in 0..255.
    """

    is_live = False
    is_tensor = True
    has_video = False

    def __init__(self, source: Any) -> None:
        tensor = source[None] if source.ndim == 3 else source
        if tensor.ndim != 4 or tensor.shape[1] != 3:
            raise ValueError(
                f"A tensor of shape {tuple(source.shape)} is not a batch of pictures; it is (B, 3, H, W) or (3, H, W). "
                "Pictures as (H, W, 3) go in as numpy arrays, BGR."
            )
        if not len(tensor):
            raise ValueError("The tensor holds no picture.")
        if not tensor.is_floating_point():
            tensor = tensor.float() / 255
        elif float(tensor.max()) > 1 + 1e-3:  # rounding of half precision is no reason to divide
            LOGGER.warning("The tensor has values over 1: they are read as 0..255 and divided by 255.")
            tensor = tensor / 255
        self.tensor = tensor.detach()

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        n = len(self.tensor)
        pixels = (self.tensor.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()[..., ::-1]
        paths = [f"image{i}.jpg" for i in range(n)]
        yield Batch(
            paths, [np.ascontiguousarray(p) for p in pixels], [f"{i}: " for i in range(n)], [None] * n, self.tensor
        )


def read_image(path: str | Path) -> Array | None:
    """(H, W, 3) uint8 BGR of an image file, turned as its EXIF orientation says; None if it cannot be read."""
    try:
        image = imread(path)
        return image if image is not None else _decode_with_pillow(Path(path).read_bytes())
    except (OSError, cv2.error):
        return None


def read_url(url: str) -> Array | None:
    """As `read_image`, of an http(s) address; nothing is written to disk."""
    request = urllib.request.Request(
        url, headers={"User-Agent": "Mozilla/5.0"}
    )  # some servers refuse Python's own name
    try:
        with urllib.request.urlopen(request, timeout=DOWNLOAD_SECONDS) as reply:
            data = reply.read()
    except OSError as e:  # URLError and time-outs are OSErrors
        LOGGER.warning(f"{url}: {e}")
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return image if image is not None else _decode_with_pillow(data)


def _decode_with_pillow(data: bytes) -> Array | None:
    """For formats that this OpenCV was built without."""
    from io import BytesIO

    from PIL import Image  # here: rarely needed

    try:
        with Image.open(BytesIO(data)) as image:
            return _from_pil(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # how Pillow says that a file is damaged
        return None


def _from_pil(image: Any) -> Array:
    from PIL import ImageOps

    return np.ascontiguousarray(np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[..., ::-1])


def _from_array(array: Array, where: str) -> Array:
    """Any picture as (H, W, 3) uint8 BGR: grey, one channel, with alpha; floats in 0..1 or 0..255, 16 bit."""
    shape = array.shape
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ValueError(f"{where}: an array of shape {shape} is no picture; it is (H, W, 3) BGR or (H, W) grey.")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        array = np.nan_to_num(array)
        array = np.rint(np.clip(array * (255 if array.max() <= 1 else 1), 0, 255)).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.integer) and array.dtype != np.uint8:
        array = np.clip(array, 0, 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise TypeError(f"{where}: an array of {array.dtype} is no picture; it holds uint8, or floats in 0..1.")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, 2)
    return np.ascontiguousarray(array[..., :3])


def _entries(source: Any) -> list[_Entry]:
    """All that a source means, in its order; pictures in memory have an empty path."""
    if isinstance(source, (list, tuple)):
        if not source:
            raise ValueError("The source is an empty list: there is nothing to predict.")
        entries = [entry for item in source for entry in _entries(item)]
    elif isinstance(source, (str, Path)):
        entries = _from_text(str(source).strip())
    elif isinstance(source, np.ndarray):
        entries = [_Entry("object", "", _from_array(source, "source"))]
    elif hasattr(source, "convert") and hasattr(source, "getbands"):  # PIL, without importing it
        entries = [_Entry("object", str(getattr(source, "filename", "")), _from_pil(source))]
    else:
        raise TypeError(f"{type(source).__name__} cannot be predicted. Give {ACCEPTED}.")
    return entries


def _from_text(text: str) -> list[_Entry]:
    if text.lower().startswith(URL_SCHEMES):
        return [_Entry("url" if _url_suffix(text) in IMG_FORMATS else "video", text)]
    path = Path(text).expanduser()
    if path.is_dir():
        files = (p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        return _images_then_videos(sorted(files), f"the folder {path}")
    if path.is_file():
        if path.suffix.lower() == ".txt":
            return _from_list_file(path)
        return [_Entry("video" if _suffix(path) in VIDEO_FORMATS else "image", str(path))]
    if any(c in text for c in "*?["):
        found = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        return _images_then_videos(sorted(map(Path, found)), f"the pattern {text}")
    raise FileNotFoundError(f"There is no '{text}' (looked for {path.absolute()}).")


def _images_then_videos(files: list[Path], where: str) -> list[_Entry]:
    images = [_Entry("image", str(f)) for f in files if _suffix(f) in IMG_FORMATS]
    videos = [_Entry("video", str(f)) for f in files if _suffix(f) in VIDEO_FORMATS]
    if not images and not videos:
        raise FileNotFoundError(
            f"There is no image or video in {where}. Images end in {', '.join(sorted(IMG_FORMATS))}; "
            f"videos in {', '.join(sorted(VIDEO_FORMATS))}."
        )
    return images + videos


def _from_list_file(file: Path) -> list[_Entry]:
    entries = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
        text = line.strip()
        if not text:
            continue
        beside = file.parent / text
        try:
            entries += _from_text(str(beside) if not Path(text).exists() and beside.exists() else text)
        except FileNotFoundError as e:
            raise FileNotFoundError(
                f"{file}:{number}: {e} Lines are relative to the current folder or to the list's."
            ) from e
    if not entries:
        raise ValueError(f"{file}: the list is empty.")
    return entries


def _live_addresses(source: Any) -> list[str | int]:
    """Camera numbers and addresses, if the source is made of nothing else; a mixture with files is an error."""
    if isinstance(source, (str, Path)) and str(source).lower().endswith(".streams"):
        lines = map(str.strip, Path(source).read_text(encoding="utf-8-sig").splitlines())
        # blanks part addresses as in 8.3.0, but not the path of a file that is there
        texts = [t for line in lines for t in ([line] if line and Path(line).is_file() else line.split())]
        return [a for text in texts for a in _live_addresses(text) or [text]]
    items = list(source) if isinstance(source, (list, tuple)) else [source]
    live: list[str | int] = []
    for item in items:
        text = item.strip() if isinstance(item, str) else ""
        if (isinstance(item, int) and not isinstance(item, bool)) or (text.isdigit() and not Path(text).exists()):
            live.append(int(item))
        elif text.lower().startswith(URL_SCHEMES) and _url_suffix(text) not in IMG_FORMATS | VIDEO_FORMATS:
            live.append(text)
    if live and len(live) != len(items):
        raise ValueError(
            f"Live streams ({live[0]}) cannot be mixed with files in one source; predict them one after the other."
        )
    return live


def _url_suffix(url: str) -> str:
    """Suffix of an http(s) address without its query; rtsp and the like are always live."""
    parts = urlsplit(url.strip())
    return _suffix(Path(parts.path)) if parts.scheme.lower() in ("http", "https") else ""


def _suffix(path: Path) -> str:
    return path.suffix.lower().lstrip(".")


def _is_tensor(source: Any) -> bool:
    # by name: numpy and path sources need no torch
    return type(source).__module__.split(".")[0] == "torch" and hasattr(source, "is_floating_point")
