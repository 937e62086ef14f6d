"""Files of a prediction run: images, videos, frames, labels and crops, each under a unique name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ultralytics.data.source_batch import Frame
from ultralytics.engine.file_stems import FileStems, numbered_stem
from ultralytics.engine.results import Results
from ultralytics.engine.video_file import VIDEO_SUFFIX, VideoFile
from ultralytics.utils import IterableSimpleNamespace
from ultralytics.utils.plotting import write_image

WRITABLE = frozenset({".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})  # other images are written as .jpg


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
        self.videos: dict[str, VideoFile] = {}
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
        """Finish the videos.

        Raises:
            OSError: frames of a video are missing, since the disk is full.
        """
        while self.videos:
            self.videos.popitem()[1].close()

    def release(self) -> None:
        """Finish what is open after an error."""
        while self.videos:
            self.videos.popitem()[1].release()

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

    def _open_video(self, stem: str, drawn: np.ndarray, fps: float) -> VideoFile:
        if not self.live:
            self.close()  # files are read one after the other: the videos before this one are complete
        self.folder.mkdir(parents=True, exist_ok=True)
        return VideoFile(self.folder / f"{stem}{VIDEO_SUFFIX}", fps, drawn)
