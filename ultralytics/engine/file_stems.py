"""Names of the files that a run writes for its images: images of the same name from different folders differ."""

from __future__ import annotations

import re
from itertools import chain, count
from pathlib import Path

from ultralytics.data.source_batch import Frame


class FileStems:
    """Gives every image and video of a run a file name, without suffix, of its own: a, a_2, a_3, ..."""

    def __init__(self) -> None:
        # in lower case, since some file systems do not distinguish case
        self._image_stems: set[str] = set()
        self._video_stems: set[str] = set()
        self._stem_of_video: dict[str, str] = {}

    def stem(self, path: str, frame: Frame | None) -> str:
        """A new name for an image; the frames of a video share one."""
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

    def _is_free(self, name: str, is_video: bool) -> bool:
        """Whether the name is neither in use nor, since frames are called <video>_<number>, that of a frame."""
        if name in self._image_stems or name in self._video_stems:
            return False
        if is_video:
            frame = re.compile(rf"{re.escape(name)}_\d+")
            return not any(frame.fullmatch(stem) for stem in self._image_stems)
        numbered = re.fullmatch(r"(.+)_\d+", name)
        return not (numbered and numbered[1] in self._video_stems)


def numbered_stem(stem: str, frame: Frame | None) -> str:
    """The name for a frame of the video `stem`; that of a still image is its own."""
    return stem if frame is None else f"{stem}_{frame.number}"
