"""What predict reads, as batches of images: files, folders, lists, videos, arrays, tensors and streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from ultralytics.data.image_input import read_image, read_url
from ultralytics.data.source_batch import Frame, Source, SourceBatch
from ultralytics.data.source_entries import SourceEntry, is_tensor, list_entries, live_addresses
from ultralytics.data.streams import DEFAULT_FPS, LiveStreams
from ultralytics.utils import LOGGER
from ultralytics.utils.printable import unicode_path

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FileSource", "LiveStreams", "Source", "SourceBatch", "TensorSource", "load_source", "read_image"]

MAX_NAMED = 5  # unreadable files that a message names


class _Sample(NamedTuple):
    path: str
    image: np.ndarray
    info: str
    frame: Frame | None


def load_source(source: object, vid_stride: int = 1, batch: int = 1, stream_buffer: bool = False) -> Source:
    """Open a source of prediction.

    Args:
        source: see `source_entries.ACCEPTED`.
        vid_stride: read every n-th frame of videos and streams.
        batch: number of images in a batch; for live streams it is the number of streams.
        stream_buffer: of live streams, queue the frames that arrive during processing instead of dropping them.

    Returns:
        An iterable of `SourceBatch`; `len` is the number of batches where it is known (TypeError where not).

    Raises:
        FileNotFoundError: a path, or everything that a pattern or folder could give, is missing.
        TypeError: this type cannot be read.
        ValueError: an array or tensor has the wrong shape, or the source is empty.
    """
    if vid_stride < 1 or batch < 1:
        raise ValueError(f"vid_stride={vid_stride}, batch={batch}: both must be at least 1")
    if is_tensor(source):
        return TensorSource(source)
    addresses = live_addresses(source)
    if addresses:
        return LiveStreams(addresses, vid_stride, stream_buffer)
    return FileSource(list_entries(source), vid_stride, batch)


class FileSource:
    """Files and images in memory, in batches; unreadable files are left out, counted and named once at the end.

    Args:
        entries: what to read.
        vid_stride: read every n-th frame of videos.
        batch: number of images in a batch.
    """

    is_live = False

    def __init__(self, entries: Sequence[SourceEntry], vid_stride: int = 1, batch: int = 1) -> None:
        self.entries = list(entries)
        self.vid_stride = vid_stride
        self.bs = batch
        self.mode = "image"
        self.unreadable: list[str] = []
        self.too_short: list[str] = []  # videos of fewer frames than vid_stride

    @property
    def has_video(self) -> bool:
        """Whether there are videos, whose number of frames is not known beforehand."""
        return any(entry.media == "video" for entry in self.entries)

    def __len__(self) -> int:
        if self.has_video:
            raise TypeError("the number of batches is not known: there are videos in the source")
        return -(-len(self.entries) // self.bs)

    def __iter__(self) -> Iterator[SourceBatch]:
        self.unreadable, self.too_short = [], []
        samples, count = self._samples(), 0
        while chunk := list(islice(samples, self.bs)):
            count += len(chunk)
            self.mode = "image" if chunk[0].frame is None else "video"
            paths, images, infos, frames = map(list, zip(*chunk, strict=True))
            yield SourceBatch(paths, images, infos, frames)
        self._report(count)

    def _report(self, count: int) -> None:
        """Name what was left out.

        Args:
            count: number of images that were read.
        """
        if self.unreadable:
            if not count and not self.too_short:
                raise ValueError(
                    f"none of the {len(self.unreadable)} files can be read as an image or video: "
                    f"{_first(self.unreadable)}"
                )
            LOGGER.warning(
                f"{len(self.unreadable)} of {len(self.entries)} files were skipped as unreadable: "
                f"{_first(self.unreadable)}"
            )
        if self.too_short:
            problem = f"vid_stride={self.vid_stride} exceeds the number of frames of {_first(self.too_short)}"
            if not count:
                raise ValueError(f"{problem}; no frame was read")
            LOGGER.warning(f"{problem}; no frame of them was read")

    def _samples(self) -> Iterator[_Sample]:
        total = len(self.entries)
        for i, entry in enumerate(self.entries):
            if entry.media == "video":
                yield from self._frames(entry.path, f"video {i + 1}/{total} ")
                continue
            if entry.image is not None:
                yield _Sample(entry.path, entry.image, f"{i}: ", None)
                continue
            image = read_url(entry.path) if entry.media == "url" else read_image(entry.path)
            if image is None:
                self.unreadable.append(entry.path)
            else:
                yield _Sample(entry.path, image, f"image {i + 1}/{total} {entry.path}: ", None)

    def _frames(self, path: str, info: str) -> Iterator[_Sample]:
        with unicode_path(path) as readable:
            video = cv2.VideoCapture(readable)
        try:
            total = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0) // self.vid_stride
            fps = (video.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS) / self.vid_stride
            number = grabbed = 0
            while True:
                grabbed = sum(1 for _ in takewhile(bool, (video.grab() for _ in range(self.vid_stride))))
                if grabbed < self.vid_stride:
                    break
                ok, image = video.retrieve()
                if not ok:
                    break
                number += 1
                yield _Sample(path, image, f"{info}(frame {number}/{total or '?'}) {path}: ", Frame(number, fps, path))
            if not number:
                (self.too_short if grabbed else self.unreadable).append(path)
        finally:
            video.release()


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")


class TensorSource:
    """A tensor of images that are ready for the network, as one batch.

    Args:
        source: (B, 3, H, W) or (3, H, W) RGB, float in 0..1 (larger values are taken as 0..255) or integers in 0..255.

    Raises:
        ValueError: the tensor has another shape or no image.
    """

    is_live = False
    has_video = False
    mode = "image"

    def __init__(self, source: Tensor) -> None:
        tensor = source[None] if source.ndim == 3 else source
        if tensor.ndim != 4 or tensor.shape[1] != 3:
            raise ValueError(
                f"a tensor of shape {tuple(source.shape)} is not a batch of images; expected (B, 3, H, W) or (3, H, W)."
                " Give images of shape (H, W, 3) as NumPy arrays, BGR"
            )
        if not len(tensor):
            raise ValueError("the tensor has no image")
        if not tensor.is_floating_point():
            tensor = tensor.float() / 255
        elif float(tensor.max()) > 1 + 1e-3:  # values that half precision rounds up are not meant
            LOGGER.warning("the tensor has values above 1: they are read as 0..255 and divided by 255")
            tensor = tensor / 255
        self.tensor = tensor.detach()
        self.bs = len(tensor)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[SourceBatch]:
        # (B, 3, H, W) RGB -> (B, H, W, 3) BGR
        pixels = (self.tensor.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()[..., ::-1]
        paths, infos = ([form.format(i) for i in range(self.bs)] for form in ("image{}.jpg", "{}: "))
        yield SourceBatch(paths, [np.ascontiguousarray(p) for p in pixels], infos, [None] * self.bs, self.tensor)
