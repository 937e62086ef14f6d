"""Labels of drawn digits for each task: one line per digit, computed from its ink and from how its scan was turned.

Coordinates in a line are fractions of the image's width and height. Pixel (x, y) covers [x, x + 1] x [y, y + 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

INK_THRESHOLD = 0.35  # minimum coverage of a pixel that counts as ink
KEYPOINTS = ("top", "bottom", "left", "right", "hole")
FINENESS = 4  # outlines are traced on a grid this much finer than the pixels
TOLERANCE = 0.35  # pixels that a simplified outline may deviate
MIN_AREA = 4.0  # square pixels; smaller specks and holes are not part of an outline and have no keypoint
BAND = 0.1  # a keypoint such as "top" is in the outermost tenth of the ink in its direction


@dataclass(frozen=True)
class Digit:
    """One instance.

    Attributes:
        cls: the digit.
        xyxy: box in pixels, x1 y1 x2 y2, where x2 and y2 are exclusive.
        ink: (h, w) coverage in [0, 1] of the pixels of the box.
        angle: how far the scan was turned, radians, from the x axis towards the y axis.
    """

    cls: int
    xyxy: tuple[int, int, int, int]
    ink: np.ndarray = field(repr=False)
    angle: float = 0.0

    @property
    def mask(self) -> np.ndarray:
        """(h, w) bool, where there is ink."""
        return self.ink > INK_THRESHOLD

    @property
    def axes(self) -> np.ndarray:
        """(2, 2) unit vectors to the right and down in the scan before it was turned."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, sin], [-sin, cos]])


# ------------------------------------------------------------------------------------------------------- lines of files
def box_line(digit: Digit, shape: tuple[int, ...], above: Sequence[Digit] = ()) -> str:
    """`class x_center y_center width height`.

    Args:
        digit: the instance.
        shape: (h, w, ...) of the image.
        above: digits that were drawn later and may cover this one.
    """
    h, w = shape[:2]
    x1, y1, x2, y2 = digit.xyxy
    return f"{digit.cls} {(x1 + x2) / 2 / w:.6f} {(y1 + y2) / 2 / h:.6f} {(x2 - x1) / w:.6f} {(y2 - y1) / h:.6f}\n"


def polygon_line(digit: Digit, shape: tuple[int, ...], above: Sequence[Digit] = ()) -> str:
    """`class x1 y1 x2 y2 ...`: the outline of the ink, also where another digit covers it; arguments as for a box."""
    return f"{digit.cls} {_fractions(joined(outlines(digit)), shape, 4)}\n"


def oriented_box_line(digit: Digit, shape: tuple[int, ...], above: Sequence[Digit] = ()) -> str:
    """`class x1 y1 x2 y2 x3 y3 x4 y4`: the corners from the scan's top left one clockwise; arguments as for a box."""
    return f"{digit.cls} {_fractions(corners(digit), shape, 6)}\n"


def keypoint_line(digit: Digit, shape: tuple[int, ...], above: Sequence[Digit] = ()) -> str:
    """The line of the box, then x, y and visibility of each of KEYPOINTS; arguments as for a box."""
    values = []
    for point in keypoints(digit):
        if point is None:
            values.append(f"{0:.6f} {0:.6f} 0")
        else:
            values.append(f"{_fractions(point[None], shape, 6)} {1 if any(_covers(d, point) for d in above) else 2}")
    return f"{box_line(digit, shape).rstrip()} {' '.join(values)}\n"


# folder of the label files of each task, beside `images`
LABEL_LINES: dict[str, Callable[[Digit, tuple[int, ...], Sequence[Digit]], str]] = {
    "labels": box_line,
    "labels-seg": polygon_line,
    "labels-pose": keypoint_line,
    "labels-obb": oriented_box_line,
}


def _fractions(points: np.ndarray, shape: tuple[int, ...], decimals: int) -> str:
    return " ".join(f"{value:.{decimals}f}" for value in (points / (shape[1], shape[0])).ravel())


# ------------------------------------------------------------------------------------------------------------- outlines
def outlines(digit: Digit) -> list[np.ndarray]:
    """Closed polygons (m, 2) in pixels around each part of the ink and each hole in it, simplified."""
    fine = (_interpolated(digit.ink) > INK_THRESHOLD).astype(np.uint8)
    rings, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    large = [ring for ring in rings if cv2.contourArea(ring) > MIN_AREA * FINENESS**2]
    simple = [cv2.approxPolyDP(ring, TOLERANCE * FINENESS, True)[:, 0] for ring in large]
    # + 0.5: from the index of a cell of the grid to its center
    return [(ring + 0.5) / FINENESS + digit.xyxy[:2] for ring in simple if len(ring) > 2]


def _interpolated(ink: np.ndarray) -> np.ndarray:
    """(h * FINENESS, w * FINENESS) coverage between the centers of the pixels, bilinear; 0 beyond the box."""
    for axis in (0, 1):
        size = ink.shape[axis]
        positions = (np.arange(size * FINENESS) + 0.5) / FINENESS + 0.5  # in pixels of the padded array
        padded = np.pad(ink, [(1, 1) if a == axis else (0, 0) for a in (0, 1)])
        low = np.floor(positions).astype(int)
        share = (positions - low).reshape((-1, 1) if axis == 0 else (1, -1))
        ink = padded.take(low, axis) * (1 - share) + padded.take(low + 1, axis) * share
    return ink


def joined(rings: Sequence[np.ndarray]) -> np.ndarray:
    """One polygon (m, 2) of several: each is reached from the nearest one over a line that is passed twice."""
    polygon, *rest = sorted(rings, key=lambda ring: -cv2.contourArea(ring.astype(np.float32)))
    while rest:
        distances = [np.linalg.norm(polygon[:, None] - ring, axis=2) for ring in rest]
        nearest = int(np.argmin([d.min() for d in distances]))
        i, j = np.unravel_index(distances[nearest].argmin(), distances[nearest].shape)
        ring = np.roll(rest.pop(nearest), -int(j), axis=0)
        polygon = np.concatenate([polygon[: i + 1], ring, ring[:1], polygon[i:]])
    return polygon


# ------------------------------------------------------------------------------------------- oriented box and keypoints
def corners(digit: Digit) -> np.ndarray:
    """(4, 2) corners in pixels of the smallest box around the ink whose sides are parallel to those of the scan."""
    half = np.abs(digit.axes).sum(1) / 2  # of a pixel, seen along the axes
    along = _pixel_centers(digit.mask) @ digit.axes.T
    (left, top), (right, bottom) = along.min(0) - half, along.max(0) + half
    box = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    return box @ digit.axes + digit.xyxy[:2]


def keypoints(digit: Digit) -> list[np.ndarray | None]:
    """(2,) x, y in pixels of each of KEYPOINTS; None for the hole of a digit without one.

    Directions are those of the scan before it was turned. The first four lie on the ink.
    """
    right, down = digit.axes
    points = [_extreme(digit.mask, direction) for direction in (-down, down, -right, right)]
    hole = _largest_hole(digit.mask)
    offset = np.array(digit.xyxy[:2])
    return [*(point + offset for point in points), None if hole is None else hole + offset]


def _extreme(mask: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """(2,) middle of the ink that lies farthest in `direction`, on the ink itself."""
    centers = _pixel_centers(mask)
    along = centers @ direction
    band = np.zeros(mask.shape, np.uint8)
    band[mask] = along >= along.max() - max(BAND * np.ptp(along), 1.0)
    count, parts = cv2.connectedComponents(band, connectivity=8)
    largest = 1 + int(np.argmax(np.bincount(parts.ravel(), minlength=count)[1:]))
    candidates = _pixel_centers(parts == largest)
    return candidates[np.linalg.norm(candidates - candidates.mean(0), axis=1).argmin()]


def _largest_hole(mask: np.ndarray) -> np.ndarray | None:
    """(2,) centroid of the largest area without ink that ink encloses."""
    paper = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    count, parts = cv2.connectedComponents(paper, connectivity=4)
    areas = np.bincount(parts.ravel(), minlength=count)
    areas[[0, parts[0, 0]]] = 0  # ink, and the paper around the digit
    largest = int(areas.argmax())
    return _pixel_centers(parts == largest).mean(0) - 1 if areas[largest] > MIN_AREA else None


def _covers(digit: Digit, point: np.ndarray) -> bool:
    x, y = np.floor(point).astype(int) - digit.xyxy[:2]
    h, w = digit.ink.shape
    return bool(0 <= x < w and 0 <= y < h and digit.mask[y, x])


def _pixel_centers(mask: np.ndarray) -> np.ndarray:
    """(n, 2) x, y of the centers of the pixels in the mask, row by row."""
    return np.argwhere(mask)[:, ::-1] + 0.5
