"""Files of a prediction run: pictures, videos, frames, labels and crops, each under a name of its own."""

from __future__ import annotations

import re
import sys
from itertools import chain, count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ultralytics.data.streams import Clip
from ultralytics.engine.results import Results
from ultralytics.utils.plotting import write_image

WRITABLE = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})  # other pictures are written as .jpg
VIDEO_SUFFIX, VIDEO_CODE = (".mp4", "mp4v") if sys.platform == "darwin" else (".avi", "MJPG")


class PredictionWriter:
    """Writes what the settings `save`, `save_frames`, `save_txt`, `save_conf` and `save_crop` ask for.

    Pictures of the same name from different folders get different names here: a.jpg, a_2.jpg, ...

    Args:
        folder: the run's folder; it is made with the first file.
        args: the settings.
        live: the source is made of streams, whose frames alternate.
    """

    def __init__(self, folder: Path, args: Any, live: bool) -> None:
        self.folder = folder
        self.args = args
        self.live = live
        self.labels = 0  # label files written
        self._stills: set[str] = set()  # names given, in lower case: some file systems see no difference
        self._clips: set[str] = set()
        self._clip_stems: dict[str, str] = {}
        self._videos: dict[str, cv2.VideoWriter] = {}

    def write(self, result: Results, drawn: np.ndarray | None, clip: Clip | None) -> None:
        """Write the files of one picture; `drawn` is the picture with its boxes, None to write none."""
        args = self.args
        stem = self.stem(result.path, clip)
        numbered = stem if clip is None else f"{stem}_{clip.frame}"
        if drawn is not None:
            self._picture(stem, result.path, drawn, clip)
        if args.save_txt:
            file = Path(result.save_txt(self.folder / "labels" / f"{numbered}.txt", save_conf=bool(args.save_conf)))
            self.labels += file.exists()
        if args.save_crop:
            result.save_crop(self.folder / "crops", f"{numbered}.jpg")

    def stem(self, path: str, clip: Clip | None) -> str:
        """The name without suffix under which this picture's files go; all frames of a video have the same."""
        if clip is not None and clip.frame > 1:
            return self._clip_stems[clip.path]
        base, kind = Path(path).stem or "image", Path(path).suffix.lstrip(".").lower() or "image"
        while clip is None and base.casefold() in self._clips:
            base = f"{base}_{kind}"  # <base>_2 and so on could be frames of that video
        names = chain([base], (f"{base}_{n}" for n in count(2)))
        stem = next(name for name in names if self._free(name.casefold(), clip is not None))
        (self._stills if clip is None else self._clips).add(stem.casefold())
        if clip is not None:
            self._clip_stems[clip.path] = stem
        return stem

    def close(self) -> None:
        """Finish the videos."""
        for video in self._videos.values():
            video.release()
        self._videos.clear()

    def _picture(self, stem: str, path: str, drawn: np.ndarray, clip: Clip | None) -> None:
        if clip is None:
            if not self.args.save:
                return
            suffix = Path(path).suffix
            write_image(self.folder / f"{stem}{suffix if suffix.lower() in WRITABLE else '.jpg'}", drawn)
            return
        if self.args.save:
            if stem not in self._videos:
                self._videos[stem] = self._open_video(stem, drawn, clip.fps)
            self._videos[stem].write(drawn)
        if self.args.save_frames:
            write_image(self.folder / f"{stem}_frames" / f"{clip.frame}.jpg", drawn)

    def _open_video(self, stem: str, drawn: np.ndarray, fps: float) -> cv2.VideoWriter:
        if not self.live:
            self.close()  # files are read one after the other: those before are complete
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{stem}{VIDEO_SUFFIX}"
        code = cv2.VideoWriter.fourcc(*VIDEO_CODE)
        video = cv2.VideoWriter(str(file), code, fps, (drawn.shape[1], drawn.shape[0]))
        if not video.isOpened():
            raise OSError(f"{file}: OpenCV cannot write this video ({VIDEO_CODE}); save=False does without.")
        return video

    def _free(self, name: str, is_clip: bool) -> bool:
        """True if neither the name is taken nor, since frames are called <video>_<number>, a frame's."""
        if name in self._stills or name in self._clips:
            return False
        if is_clip:
            frame = re.compile(rf"{re.escape(name)}_\d+")
            return not any(frame.fullmatch(still) for still in self._stills)
        numbered = re.fullmatch(r"(.+)_\d+", name)
        return not (numbered and numbered[1] in self._clips)
