"""Writing a video, with an error if it is not complete: OpenCV itself ignores a full disk."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np

from ultralytics.utils.printable import unicode_path

VIDEO_SUFFIX, VIDEO_CODE = (".mp4", "mp4v") if sys.platform == "darwin" else (".avi", "MJPG")


class VideoFile:
    """A video that is being written.

    Args:
        file: its suffix is VIDEO_SUFFIX.
        fps: frames per second.
        frame: (H, W, 3) uint8 BGR, of the size of the video.

    Raises:
        OSError: OpenCV cannot write this video.
    """

    def __init__(self, file: Path, fps: float, frame: np.ndarray) -> None:
        self.file = file
        self.size = frame.shape[1], frame.shape[0]
        self.num_frames = 0
        with unicode_path(file) as writable:
            self._video = cv2.VideoWriter(writable, cv2.VideoWriter.fourcc(*VIDEO_CODE), fps, self.size)
        if not self._video.isOpened():
            raise OSError(f"{file}: OpenCV cannot write this video ({VIDEO_CODE}); use save=False")

    def write(self, frame: np.ndarray) -> None:
        """Append a frame (H, W, 3) uint8 BGR; one of another size is resized.

        Raises:
            OSError: the disk is full.
        """
        if shutil.disk_usage(self.file.parent).free < frame.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.file))
        if (frame.shape[1], frame.shape[0]) != self.size:
            frame = cv2.resize(frame, self.size)  # OpenCV would leave it out
        self._video.write(frame)
        self.num_frames += 1

    def release(self) -> None:
        """Finish the file without a check."""
        self._video.release()

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: frames are missing.
        """
        self.release()
        with unicode_path(self.file) as readable:
            video = cv2.VideoCapture(readable)
        count = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0) if video.isOpened() else 0
        video.release()
        if count < self.num_frames:
            raise OSError(
                f"{self.file}: the video is damaged, only {count} of {self.num_frames} frames can be read; is the disk "
                "full?"
            )
