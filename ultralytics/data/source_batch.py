"""What sources of prediction give: batches of images, and the position of a frame in its video."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


class Frame(NamedTuple):
    """Position of an image in a video or stream.

    Attributes:
        number: from 1.
        fps: rate of the frames that are read: the video's own rate divided by vid_stride.
        path: of the video, or name of the stream.
    """

    number: int
    fps: float
    path: str


class SourceBatch(NamedTuple):
    """Images that go through the network together; the lists have one entry per image.

    Attributes:
        paths: file or name of each image.
        images: (H, W, 3) uint8 BGR each.
        infos: beginning of the log line of each image.
        frames: position in the video; None for still images.
        tensor: (B, 3, H, W) float RGB in 0..1 if a tensor was given; it goes into the network as it is.
    """

    paths: list[str]
    images: list[np.ndarray]
    infos: list[str]
    frames: list[Frame | None]
    tensor: Tensor | None = None


class Source(Protocol):
    """Something that predict can read.

    Attributes:
        mode: "image", "video" or "stream".
        bs: maximum number of images in a batch.
        is_live: it may never end.
        has_video: it contains videos, so that the number of images is not known.
    """

    mode: str
    bs: int
    is_live: bool

    @property
    def has_video(self) -> bool: ...

    def __iter__(self) -> Iterator[SourceBatch]: ...
