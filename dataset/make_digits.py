"""Generates the sample dataset: handwritten digits on paper-like backgrounds, with labels for each task.

用法 / usage:  python dataset/make_digits.py [--out FOLDER]        (needs scikit-learn; using the data does not)

The handwriting is real: 1,797 scans of 8 x 8 pixels that scikit-learn includes (`load_digits`, the test part of the UCI
"Optical Recognition of Handwritten Digits"). Backgrounds, positions, sizes, rotations and ink colors are random with a
fixed seed: every run writes the same labels and the same images (byte for byte, if the JPEG encoder is the same).
Each page has a label file per task (see digit_labels.py); crops of single digits are sorted into folders by class.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from digit_labels import INK_THRESHOLD, LABEL_LINES, Digit

HERE = Path(__file__).resolve().parent
SEED = 20240930
SPLITS = {"train": 200, "val": 50}  # images per split
VAL_SHARE = 0.2  # fraction of the scans that only val uses
SIZES = (224, 240, 256)  # possible heights and widths of an image in pixels
DIGITS = (4, 9)  # smallest and largest number of digits per image
DIGIT_SIDE = (34, 84)  # range of the side length in pixels to which a scan is enlarged
MAX_ROTATION = 25  # degrees in both directions: with more, 6 and 9 become ambiguous
CROPS = {"train": 80, "val": 20}  # largest number of single digits per class and split
CROP_MARGIN = 0.15  # paper on each side of a single digit, as a fraction of the longer side of its box
CROP_SIDE = 48  # pixels
JPEG_QUALITY = 88


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=HERE, help="folder that receives train/, val/, classify/ and classes.txt"
    )
    out = parser.parse_args().out
    for split in SPLITS:
        write_split(out, split)
        print(f"{out / split}: {SPLITS[split]} images")
    (out / "classes.txt").write_text("".join(f"{digit}\n" for digit in range(10)), encoding="utf-8")


def write_split(out: Path, split: str, count: int | None = None) -> None:
    """Writes the first `count` images of a split (by default all) with their labels.

    Raises:
        FileExistsError: the folders contain files that this script did not write, such as a user's own data.
    """
    folder, crops = out / split, out / "classify" / split
    _clear(folder / "images", f"{split}_[0-9][0-9][0-9].jpg")
    for labels in LABEL_LINES:
        _clear(folder / labels, f"{split}_[0-9][0-9][0-9].txt")
    for cls in range(10):
        _clear(crops / str(cls), f"{split}_[0-9][0-9][0-9]_[0-9].jpg")
    num_crops = np.zeros(10, int)
    for index in range(SPLITS[split] if count is None else count):
        image, digits = draw_image(split, index)
        name = f"{split}_{index:03d}"
        _write_jpeg(folder / "images" / f"{name}.jpg", image)
        for labels, line in LABEL_LINES.items():
            lines = [line(digit, image.shape, digits[i + 1 :]) for i, digit in enumerate(digits)]
            (folder / labels / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
        for i, digit in enumerate(digits):
            if num_crops[digit.cls] < CROPS[split] and is_separate(digit, digits):
                num_crops[digit.cls] += 1
                _write_jpeg(crops / str(digit.cls) / f"{name}_{i}.jpg", crop(image, digit))


def _write_jpeg(file: Path, image: np.ndarray) -> None:
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise RuntimeError(f"OpenCV could not encode {file.name}")
    file.write_bytes(data.tobytes())


def _clear(folder: Path, pattern: str) -> None:
    """Deletes files of an earlier run, which match `pattern`; any other file is an error."""
    folder.mkdir(parents=True, exist_ok=True)
    generated = set(folder.glob(pattern))
    others = set(folder.iterdir()) - generated
    if others:
        raise FileExistsError(
            f"{folder} contains files that this script did not write, such as {min(others).name}; "
            "move them, or write the sample data to another folder with --out FOLDER"
        )
    for file in generated:
        file.unlink()


def is_separate(digit: Digit, digits: Sequence[Digit]) -> bool:
    """Whether the box of a digit overlaps none of the others on its page."""
    return all(_overlap(digit.xyxy, other.xyxy) == 0 for other in digits if other is not digit)


def crop(image: np.ndarray, digit: Digit) -> np.ndarray:
    """(CROP_SIDE, CROP_SIDE, 3) square part of a page with the digit in the middle, or nearer to the page's border."""
    x1, y1, x2, y2 = digit.xyxy
    side = min(round(max(x2 - x1, y2 - y1) * (1 + 2 * CROP_MARGIN)), *image.shape[:2])
    x = min(max((x1 + x2 - side) // 2, 0), image.shape[1] - side)
    y = min(max((y1 + y2 - side) // 2, 0), image.shape[0] - side)
    return cv2.resize(image[y : y + side, x : x + side], (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_AREA)


def split_scans(split: str) -> np.ndarray:
    """Indices into `load_digits` of the scans of `split`; the splits are disjoint."""
    total = len(load_scans()[1])
    order = np.random.default_rng(SEED).permutation(total)
    cut = round(total * VAL_SHARE)
    return order[:cut] if split == "val" else order[cut:]


def scans_of_image(split: str, index: int) -> np.ndarray:
    """Candidate scans for image `index` of `split`; some are omitted if there is no free position for them."""
    per_image = DIGITS[1]
    pool = split_scans(split)
    # sequentially, so that every scan is used once before any is used twice
    return pool[np.arange(index * per_image, (index + 1) * per_image) % len(pool)]


def draw_image(split: str, index: int) -> tuple[np.ndarray, list[Digit]]:
    """Image `index` of a split (h, w, 3 uint8, BGR) and its digits; it does not depend on other images."""
    rng = np.random.default_rng([SEED, list(SPLITS).index(split), index])
    scans, classes = load_scans()
    h, w = (int(rng.choice(SIZES)) for _ in range(2))
    image = _paper(rng, h, w)
    color = _ink_color(rng, image)
    digits: list[Digit] = []
    count = int(rng.integers(DIGITS[0], DIGITS[1] + 1))
    for scan in scans_of_image(split, index)[:count]:
        ink, angle = enlarge(rng, scans[scan])
        corner = _find_position(rng, ink, (h, w), [d.xyxy for d in digits])
        if corner is None:
            continue
        if rng.random() < 0.25:
            color = _ink_color(rng, image)
        box = draw_ink(image, ink, corner, color)
        digits.append(Digit(int(classes[scan]), box, ink, angle))
    return image, digits


# ---------------------------------------------------------------------------------------------------------- handwriting
@functools.cache
def load_scans() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 8, 8) float32 ink coverage in [0, 1] and (1797,) classes."""
    from sklearn.datasets import load_digits  # here, because only generating the data needs scikit-learn

    bunch = load_digits()
    return (bunch.images / 16).astype(np.float32), bunch.target.astype(int)


def enlarge(rng: np.random.Generator, scan: np.ndarray) -> tuple[np.ndarray, float]:
    """A scan with random size, aspect ratio, slant and rotation: (h, w) coverage in [0, 1], cropped, and the angle."""
    side = float(rng.uniform(*DIGIT_SIDE))
    aspect = float(rng.uniform(0.8, 1.15))
    angle = np.deg2rad(rng.uniform(-MAX_ROTATION, MAX_ROTATION))
    slant = float(rng.uniform(-0.15, 0.15))
    half = int(side * 0.85)
    scale = side / 8
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    to_image = rotation @ np.array([[scale * aspect, slant * scale], [0, scale]])
    y, x = np.mgrid[-half:half, -half:half]
    xs, ys = np.einsum("ij,jhw->ihw", np.linalg.inv(to_image), np.stack([x, y])) + 3.5
    enlarged = _cubic(scan, xs, ys)
    # interpolation blurs the edges; a steep ramp around a threshold sharpens the stroke, the threshold sets its width
    threshold, slope = float(rng.uniform(0.38, 0.55)), float(rng.uniform(3.0, 6.0))
    ink = np.clip((enlarged - threshold) * slope + 0.5, 0, 1)
    rows, columns = np.where(ink.max(1) > INK_THRESHOLD)[0], np.where(ink.max(0) > INK_THRESHOLD)[0]
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], float(angle)


def _cubic(scan: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """The scan interpolated by cubic convolution (Keys 1981, a = -0.5), 0 outside.

    Implemented here because the rounding of OpenCV's warp differs between major versions, and labels must not.
    """
    pad = 8
    padded = np.pad(scan, pad)
    columns, rows = np.floor(xs).astype(int), np.floor(ys).astype(int)
    out = np.zeros(xs.shape)
    for dy in range(-1, 3):
        for dx in range(-1, 3):
            tap = padded[np.clip(rows + dy + pad, 0, 23), np.clip(columns + dx + pad, 0, 23)]
            out += tap * _keys(ys - rows - dy) * _keys(xs - columns - dx)
    return out


def _keys(t: np.ndarray) -> np.ndarray:
    """The interpolation kernel at distance `t` in pixels."""
    t = np.abs(t)
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0))


def _find_position(
    rng: np.random.Generator, ink: np.ndarray, shape: tuple[int, int], taken: list[tuple[int, int, int, int]]
) -> tuple[int, int] | None:
    """Top left corner (x, y) for the ink, or None; most digits do not overlap, some do by up to a fifth."""
    h, w = ink.shape
    allowed = 0.2 if rng.random() < 0.3 else 0.0
    for _ in range(60):
        x, y = int(rng.integers(2, shape[1] - w - 2)), int(rng.integers(2, shape[0] - h - 2))
        if all(_overlap((x, y, x + w, y + h), other) <= allowed for other in taken):
            return x, y
    return None


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection area as a fraction of the smaller box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return max(width, 0) * max(height, 0) / min(areas)


def _ink_color(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A BGR color with sufficient contrast: light on dark paper, dark on light paper."""
    brightness = float(image.mean())
    if brightness < 110:
        return rng.uniform(190, 250, 3)
    base = [(30, 30, 30), (120, 40, 30), (30, 35, 150), (40, 90, 30), (75, 75, 80)][int(rng.integers(5))]
    return np.clip(np.array(base) + rng.uniform(-20, 20, 3), 0, 255)


def draw_ink(
    image: np.ndarray, ink: np.ndarray, corner: tuple[int, int], color: np.ndarray
) -> tuple[int, int, int, int]:
    """Draws the ink on the image, in place, with its top left corner at (x, y), and returns its box."""
    (h, w), (x, y) = ink.shape, corner
    patch = image[y : y + h, x : x + w]
    alpha = ink[..., None] * 0.93  # slightly transparent
    patch[:] = np.clip(patch * (1 - alpha) + color * alpha, 0, 255).astype(np.uint8)
    return x, y, x + w, y + h


# ---------------------------------------------------------------------------------------------------------- backgrounds
def _paper(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A background (h, w, 3 uint8): a color, an illumination gradient, noise, and mostly lines, squares or stains."""
    dark = rng.random() < 0.15
    base = rng.uniform(30, 75, 3) if dark else np.clip(rng.uniform(185, 245) + rng.uniform(-18, 12, 3), 0, 250)
    image = np.ones((h, w, 3), np.float32) * base.astype(np.float32)
    _PATTERNS[int(rng.integers(len(_PATTERNS)))](rng, image, dark)
    image *= _illumination(rng, h, w)[..., None]
    image += rng.normal(0, rng.uniform(1, 6), (h, w, 1)).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def _illumination(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """(h, w) factors around 1 that decrease linearly in a random direction."""
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.16)
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    return (1 + depth * (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(2)).astype(np.float32)


def _plain(rng: np.random.Generator, paper: np.ndarray, dark: bool) -> None:
    """No pattern."""


def _ruled(rng: np.random.Generator, paper: np.ndarray, dark: bool) -> None:
    gap, start = int(rng.integers(16, 34)), int(rng.integers(0, 16))
    paper[start::gap] += _line_color(rng, dark)


def _squared(rng: np.random.Generator, paper: np.ndarray, dark: bool) -> None:
    gap, color = int(rng.integers(11, 24)), _line_color(rng, dark) * 0.7
    paper[int(rng.integers(gap)) :: gap] += color
    paper[:, int(rng.integers(gap)) :: gap] += color


def _line_color(rng: np.random.Generator, dark: bool) -> np.ndarray:
    """Difference between the color of a printed line, bluish or reddish, and the paper."""
    tint = np.array([(8, 30, 45), (45, 30, 8)][int(rng.integers(2))], np.float32)
    return tint if dark else -tint


def _stained(rng: np.random.Generator, paper: np.ndarray, dark: bool) -> None:
    h, w = paper.shape[:2]
    y, x = np.mgrid[:h, :w]
    for _ in range(int(rng.integers(1, 4))):
        radius, (cy, cx) = rng.uniform(25, 80), rng.uniform(0, (h, w))
        distance = np.hypot(y - cy, x - cx) / radius
        ring = np.exp(-(((distance - 1) / 0.06) ** 2)) if rng.random() < 0.5 else 1 / (1 + np.exp((distance - 1) * 14))
        paper += (ring[..., None] * np.array([-38, -24, -12]) * (-0.6 if dark else 1)).astype(np.float32)


def _textured(rng: np.random.Generator, paper: np.ndarray, dark: bool) -> None:
    h, w = paper.shape[:2]
    for cells, strength in ((6, 9), (20, 6), (60, 4)):
        coarse = rng.normal(0, strength, (cells, cells)).astype(np.float32)
        paper += cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)[..., None]


_PATTERNS = (_plain, _ruled, _squared, _stained, _textured)


if __name__ == "__main__":
    main()
