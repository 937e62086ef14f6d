"""Sources of prediction as 8.3.0 gives them: iterating yields (paths, images, beginnings of log lines).

sources.py and streams.py do the work; the predictor uses them directly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from torch import Tensor

from ultralytics.data.images import IMG_FORMATS
from ultralytics.data.source_entries import VIDEO_FORMATS as VID_FORMATS
from ultralytics.data.source_entries import list_entries, live_addresses
from ultralytics.data.sources import FileSource, LiveStreams, Source, TensorSource, load_source

__all__ = [
    "IMG_FORMATS",
    "VID_FORMATS",
    "InferenceLoader",
    "LoadImagesAndVideos",
    "LoadPilAndNumpy",
    "LoadStreams",
    "LoadTensor",
    "SourceTypes",
    "load_inference_source",
]

Loaded: TypeAlias = tuple[list[str], "list[np.ndarray] | Tensor", list[str]]


@dataclass
class SourceTypes:
    """Which type of source a loader reads; all False for files."""

    stream: bool = False
    screenshot: bool = False
    from_img: bool = False
    tensor: bool = False


class InferenceLoader:
    """Batches of a source.

    Attributes:
        source: what is read.
        source_type: its type.
        bs: maximum number of images in a batch.
        mode: "image", "video" or "stream"; of files that of the current batch.
    """

    def __init__(self, source: Source, source_type: SourceTypes) -> None:
        self.source, self.source_type = source, source_type

    @property
    def bs(self) -> int:
        return self.source.bs

    @property
    def mode(self) -> str:
        return self.source.mode

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]  # of live streams there is none: TypeError

    def __iter__(self) -> Iterator[Loaded]:
        for batch in self.source:
            yield batch.paths, batch.images if batch.tensor is None else batch.tensor, batch.infos


class LoadImagesAndVideos(InferenceLoader):
    """Images and videos of files, folders, patterns and lists."""

    def __init__(self, path: str | Path | list[str | Path], batch: int = 1, vid_stride: int = 1) -> None:
        super().__init__(FileSource(list_entries(path), vid_stride, batch), SourceTypes())


class LoadPilAndNumpy(InferenceLoader):
    """PIL images and (H, W, 3) BGR arrays, as one batch."""

    def __init__(self, im0: object) -> None:
        images = im0 if isinstance(im0, (list, tuple)) else [im0]
        super().__init__(FileSource(list_entries(list(images)), batch=max(len(images), 1)), SourceTypes(from_img=True))


class LoadTensor(InferenceLoader):
    """A (B, 3, H, W) tensor, as one batch."""

    def __init__(self, im0: Tensor) -> None:
        super().__init__(TensorSource(im0), SourceTypes(tensor=True))


class LoadStreams(InferenceLoader):
    """Frames of cameras and network streams: an address, or a .streams file with one per line."""

    def __init__(self, sources: str = "file.streams", vid_stride: int = 1, buffer: bool = False) -> None:
        addresses = live_addresses(sources)
        if not addresses:
            raise ValueError(f"'{sources}' is neither a camera, a stream nor a .streams file")
        super().__init__(LiveStreams(addresses, vid_stride, buffer), SourceTypes(stream=True))


def load_inference_source(
    source: object = None, batch: int = 1, vid_stride: int = 1, buffer: bool = False
) -> InferenceLoader:
    """Loader of a source; arguments and errors as of `sources.load_source`."""
    opened = load_source(source, vid_stride, batch, buffer)
    if isinstance(opened, TensorSource):
        return InferenceLoader(opened, SourceTypes(tensor=True))
    if isinstance(opened, FileSource):
        in_memory = any(entry.image is not None for entry in opened.entries)
        return InferenceLoader(opened, SourceTypes(from_img=in_memory))
    return InferenceLoader(opened, SourceTypes(stream=True))
