"""Images by file name with the signatures of OpenCV, for any file name, as 8.3.0 has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ultralytics.utils.printable import printable


def imread(filename: str | Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """The image of a file, as `cv2.imread`; None if it cannot be decoded."""
    return cv2.imdecode(np.fromfile(filename, np.uint8), flags)


def imwrite(filename: str | Path, img: np.ndarray, params: Sequence[int] | None = None) -> bool:
    """Write an image, as `cv2.imwrite`; False if the format or the folder does not exist."""
    try:
        ok, data = cv2.imencode(Path(filename).suffix, img, list(params or []))
        if ok:
            Path(filename).write_bytes(data.tobytes())
        return bool(ok)
    except (OSError, cv2.error):
        return False


def imshow(winname: str, mat: np.ndarray) -> None:
    """Show an image in a window, as `cv2.imshow`; the title may be any Unicode text."""
    cv2.imshow(printable(winname).encode("unicode_escape").decode(), mat)
