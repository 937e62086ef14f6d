"""Files of a prediction run: images, videos, frames, labels and crops, each under a unique name."""

from __future__ import annotations

import re
import sys
from itertools import chain, count
from pathlib import Path

import cv2
import numpy as np

from ultralytics.data.source_batch import Frame
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
        # stems in use, in lower case, since some file systems do not distinguish case
        self._image_stems: set[str] = set()
        self._video_stems: set[str] = set()
        self._stem_of_video: dict[str, str] = {}

    def write(self, result: Results, drawn: np.ndarray | None, frame: Frame | None) -> None:
        """Write the files of one image; `drawn` is the image with its predictions, None to write no image."""
        args = self.args
        stem = self.stem(result.path, frame)
        numbered = stem if frame is None else f"{stem}_{frame.number}"
        if drawn is not None:
            self._write_image(stem, result.path, drawn, frame)
        if args.save_txt:
            file = Path(result.save_txt(self.folder / "labels" / f"{numbered}.txt", save_conf=bool(args.save_conf)))
            self.num_labels += file.exists()
        if args.save_crop:
            result.save_crop(self.folder / "crops", f"{numbered}.jpg")

    def stem(self, path: str, frame: Frame | None) -> str:
        """The unique file name, without suffix, for this image; the frames of a video share one."""
        if frame is not None and frame.number > 1:
            return self._stem_of_video[frame.path]
        base, suffix = Path(path).stem or "image", Path(path).suffix.lstrip(".").lower() or "image"
        while frame is None and base.casefold() in self._video_stems:
            base = f"{base}_{suffix}"  # <base>_2 and so on could be frames of that video
        names = chain([base], (f"{base}_{n}" for n in count(2)))
        stem = next(name for name in names if self._is_free(name.casefold(), frame is not None))
        (self._image_stems if frame is None else self._video_stems).add(stem.casefold())
        if frame is not None:
            self._stem_of_video[frame.path] = stem
        return stem

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

    def _is_free(self, name: str, is_video: bool) -> bool:
        """Whether the name is neither in use nor, since frames are called <video>_<number>, that of a frame."""
        if name in self._image_stems or name in self._video_stems:
            return False
        if is_video:
            frame = re.compile(rf"{re.escape(name)}_\d+")
            return not any(frame.fullmatch(stem) for stem in self._image_stems)
        numbered = re.fullmatch(r"(.+)_\d+", name)
        return not (numbered and numbered[1] in self._video_stems)
