"""Live sources: cameras and network streams, each read by its own thread."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator

import cv2
import numpy as np

from ultralytics.data.source_batch import Frame, SourceBatch
from ultralytics.utils.printable import unicode_path

BUFFERED_FRAMES = 30
DEFAULT_FPS = 30.0  # of cameras and videos that do not report it


class LiveStreams:
    """Frames of several cameras or network streams; a batch holds the next frame of each that is still running.

    Args:
        addresses: camera numbers and addresses that OpenCV opens.
        vid_stride: read every n-th frame.
        buffer: queue up to 30 frames; otherwise only the newest one is kept and the others are dropped.

    Raises:
        ConnectionError: one of them cannot be opened; raised when the iteration starts.
    """

    is_live = True
    has_video = True
    mode = "stream"

    def __init__(self, addresses: list[str | int], vid_stride: int = 1, buffer: bool = False) -> None:
        self.addresses = addresses
        self.vid_stride = vid_stride
        self.buffer = buffer
        self.bs = len(addresses)

    def __iter__(self) -> Iterator[SourceBatch]:
        readers: list[_Reader] = []
        try:
            for address in self.addresses:
                readers.append(_Reader(address, self.vid_stride, self.buffer))
            while True:
                batch = SourceBatch([], [], [], [])
                for i, reader in enumerate(readers):
                    image = reader.next()
                    if image is None:
                        continue
                    batch.paths.append(reader.name)
                    batch.images.append(image)
                    batch.infos.append(f"{i}: ")
                    batch.frames.append(Frame(reader.count, reader.fps, reader.name))
                if not batch.images:
                    return
                yield batch
        finally:
            for reader in readers:
                reader.close()


def _open(address: str | int) -> cv2.VideoCapture:
    if isinstance(address, int):
        return cv2.VideoCapture(address)
    with unicode_path(address) as readable:
        return cv2.VideoCapture(readable)


class _Reader:
    """One stream and the thread that reads it."""

    def __init__(self, address: str | int, vid_stride: int, buffer: bool) -> None:
        self.name = re.sub(r"[^\w.-]+", "_", str(address))  # usable in a file name
        self.count = 0
        self._video = _open(address)
        if not self._video.isOpened():
            self._video.release()
            raise ConnectionError(
                f"the stream '{address}' cannot be opened; check that the camera is connected and the address reachable"
            )
        self.fps = (self._video.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS) / vid_stride
        self._stride, self._buffer = vid_stride, buffer
        self._frames: deque[np.ndarray] = deque(maxlen=BUFFERED_FRAMES if buffer else 1)
        self._changed = threading.Condition()
        self._running = True
        self._thread = threading.Thread(target=self._read, daemon=True, name=f"stream {address}")
        self._thread.start()

    def next(self) -> np.ndarray | None:
        """The next frame, waiting for it; None when the stream has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or not self._running)
            if not self._frames:
                return None
            self._changed.notify_all()
            self.count += 1
            return self._frames.popleft()

    def close(self) -> None:
        """End the thread and release the camera."""
        with self._changed:
            self._running = False
            self._changed.notify_all()
        self._thread.join(timeout=5)
        self._video.release()

    def _read(self) -> None:
        try:
            while self._running and all(self._video.grab() for _ in range(self._stride)):
                ok, image = self._video.retrieve()
                if not ok:
                    break
                with self._changed:
                    if self._buffer:  # wait for space in the queue, no frame is lost
                        self._changed.wait_for(lambda: len(self._frames) < BUFFERED_FRAMES or not self._running)
                    self._frames.append(image)
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._running = False
                self._changed.notify_all()
