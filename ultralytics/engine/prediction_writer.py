"""Files of a prediction run: images, videos, frames, labels and crops, each under a unique name."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from ultralytics.data.source_batch import Frame
from ultralytics.engine.file_stems import FileStems, numbered_stem
from ultralytics.engine.results import Results
from ultralytics.utils import IterableSimpleNamespace
from ultralytics.utils.plotting import write_image

WRITABLE = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})  # other images are written as .jpg
VIDEO_SUFFIX, VIDEO_CODE = (".mp4", "mp4v") if sys.platform == "darwin" else (".avi", "MJPG")


class PredictionWriter:
    """Writes what the options `save`, `save_frames`, `save_txt`, `save_conf` and `save_crop` ask for.

    Images of the same name from different folders get different names here: a.jpg, a_2.jpg, ...

    Args:
        folder: of the run; it is made with the first file.
        args: the options.
        live: the source consists of streams, whose frames alternate.

    Attributes:
        num_labels: label files written.
        videos: open video files by their stem.
    """

    def __init__(self, folder: Path, args: IterableSimpleNamespace, live: bool) -> None:
        self.folder = folder
        self.args = args
        self.live = live
        self.num_labels = 0
        self.videos: dict[str, cv2.VideoWriter] = {}
        self._stems = FileStems()

    def write(self, result: Results, drawn: np.ndarray | None, frame: Frame | None) -> None:
        """Write the files of one image; `drawn` is the image with its predictions, None to write no image."""
        args = self.args
        stem = self.stem(result.path, frame)
        numbered = numbered_stem(stem, frame)
        if drawn is not None:
            self._write_image(stem, result.path, drawn, frame)
        if args.save_txt:
            file = Path(result.save_txt(self.folder / "labels" / f"{numbered}.txt", save_conf=bool(args.save_conf)))
            self.num_labels += file.exists()
        if args.save_crop:
            result.save_crop(self.folder / "crops", f"{numbered}.jpg")

    def stem(self, path: str, frame: Frame | None) -> str:
        """The unique file name, without suffix, for this image; the frames of a video share one."""
        return self._stems.stem(path, frame)

    def close(self) -> None:
        """Finish the videos."""
        for video in self.videos.values():
            video.release()
        self.videos.clear()

    def _write_image(self, stem: str, path: str, drawn: np.ndarray, frame: Frame | None) -> None:
        if frame is None:
            if self.args.save:
                suffix = Path(path).suffix
                write_image(self.folder / f"{stem}{suffix if suffix.lower() in WRITABLE else '.jpg'}", drawn)
            return
        if self.args.save:
            if stem not in self.videos:
                self.videos[stem] = self._open_video(stem, drawn, frame.fps)
            self.videos[stem].write(drawn)
        if self.args.save_frames:
            write_image(self.folder / f"{stem}_frames" / f"{frame.number}.jpg", drawn)

    def _open_video(self, stem: str, drawn: np.ndarray, fps: float) -> cv2.VideoWriter:
        if not self.live:
            self.close()  # files are read one after the other: the videos before this one are complete
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{stem}{VIDEO_SUFFIX}"
        code = cv2.VideoWriter.fourcc(*VIDEO_CODE)
        video = cv2.VideoWriter(str(file), code, fps, (drawn.shape[1], drawn.shape[0]))
        if not video.isOpened():
            raise OSError(f"{file}: OpenCV cannot write this video ({VIDEO_CODE}); use save=False")
        return video
