"""Makes the sample dataset: handwritten digits on paper-like backgrounds, with a box around the ink of each.

用法 / usage:  python dataset/make_digits.py [--out FOLDER]        (needs scikit-learn; using the data does not)

The ink is real handwriting, the 1,797 scans of 8 x 8 pixels that scikit-learn ships (`load_digits`: the test part of
the UCI "Optical Recognition of Handwritten Digits"). Papers, places, sizes, turns and pens are drawn from one fixed
seed: every run writes the same labels and the same pictures (to the byte, if the JPEG encoder is the same).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
SEED = 20240930
SPLITS = {"train": 200, "val": 50}  # images; a fifth of the scans is kept for val alone
VAL_SHARE = 0.2
SIZES = (224, 240, 256)  # sides of an image in pixels, drawn for each side
DIGITS = (4, 9)  # objects in an image, both ends included
DIGIT_SIDE = (34, 84)  # side in pixels of the square a scan is enlarged to
MAX_TURN = 25  # degrees either way: more would make a 6 a 9
INK_SHOWN = 0.35  # coverage from which a pixel counts as ink when the box is measured
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Digit:
    """One drawn digit: its class and its box in pixels, x1 y1 x2 y2 with the far edges outside the ink."""

    cls: int
    xyxy: tuple[int, int, int, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder that receives train/, val/ and classes.txt")
    out = parser.parse_args().out
    for split in SPLITS:
        write_split(out, split)
        print(f"{out / split}: {SPLITS[split]} images")
    (out / "classes.txt").write_text("".join(f"{digit}\n" for digit in range(10)), encoding="utf-8")


def write_split(out: Path, split: str, count: int | None = None) -> None:
    """Writes the first `count` images (all by default) of a split with their labels.

    Raises:
        FileExistsError: the folders hold files that this script did not make, such as a user's own data.
    """
    images, labels = out / split / "images", out / split / "labels"
    _clear(images, f"{split}_[0-9][0-9][0-9].jpg")
    _clear(labels, f"{split}_[0-9][0-9][0-9].txt")
    for index in range(SPLITS[split] if count is None else count):
        image, digits = draw_image(split, index)
        name = f"{split}_{index:03d}"
        ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not ok:
            raise RuntimeError(f"OpenCV could not encode {name}.jpg")
        (images / f"{name}.jpg").write_bytes(data.tobytes())
        (labels / f"{name}.txt").write_text("".join(label_line(d, image.shape) for d in digits), encoding="utf-8")


def _clear(folder: Path, ours: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = set(folder.iterdir())
    made_here = set(folder.glob(ours))
    if files - made_here:
        raise FileExistsError(
            f"{folder} holds files that this script did not make, such as {min(files - made_here).name}; "
            "move them away, or write the sample data elsewhere with --out FOLDER"
        )
    for file in made_here:
        file.unlink()


def label_line(digit: Digit, shape: tuple[int, ...]) -> str:
    """`class x_centre y_centre width height`, the last four as shares of the image's sides."""
    h, w = shape[:2]
    x1, y1, x2, y2 = digit.xyxy
    return f"{digit.cls} {(x1 + x2) / 2 / w:.6f} {(y1 + y2) / 2 / h:.6f} {(x2 - x1) / w:.6f} {(y2 - y1) / h:.6f}\n"


def split_scans(split: str) -> np.ndarray:
    """Indices into `load_digits` of the scans that belong to `split`; the two splits share none."""
    total = len(_scans()[1])
    order = np.random.default_rng(SEED).permutation(total)
    cut = round(total * VAL_SHARE)
    return order[:cut] if split == "val" else order[cut:]


def picked_scans(split: str, index: int) -> np.ndarray:
    """The scans that image number `index` of `split` shows, as far as there is room for them."""
    per_image = DIGITS[1]
    pool = split_scans(split)
    # one after the other through the pool, so that every scan is seen before any is seen twice
    return pool[np.arange(index * per_image, (index + 1) * per_image) % len(pool)]


def draw_image(split: str, index: int) -> tuple[np.ndarray, list[Digit]]:
    """Image number `index` of a split (h, w, 3 uint8, BGR) and its digits; independent of all other images."""
    rng = np.random.default_rng([SEED, list(SPLITS).index(split), index])
    scans, classes = _scans()
    h, w = (int(rng.choice(SIZES)) for _ in range(2))
    image = _paper(rng, h, w)
    pen = _pen(rng, image)
    digits: list[Digit] = []
    wanted = int(rng.integers(DIGITS[0], DIGITS[1] + 1))
    for scan in picked_scans(split, index)[:wanted]:
        ink = _enlarge(rng, scans[scan])
        spot = _place(rng, ink, (h, w), [d.xyxy for d in digits])
        if spot is None:
            continue
        if rng.random() < 0.25:
            pen = _pen(rng, image)
        box = _write(image, ink, spot, pen)
        digits.append(Digit(int(classes[scan]), box))
    return image, digits


# ---------------------------------------------------------------------------------------------------------- handwriting
_loaded: list[tuple[np.ndarray, np.ndarray]] = []


def _scans() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 8, 8) float32 ink coverage 0..1 and (1797,) classes, read once."""
    if not _loaded:
        from sklearn.datasets import load_digits  # here, because only making the data needs it

        bunch = load_digits()
        _loaded.append(((bunch.images / 16).astype(np.float32), bunch.target.astype(int)))
    return _loaded[0]


def _enlarge(rng: np.random.Generator, scan: np.ndarray) -> np.ndarray:
    """A scan at its new size and angle, cut to its ink: (h, w) float32 coverage 0..1."""
    side = float(rng.uniform(*DIGIT_SIDE))
    slim = float(rng.uniform(0.8, 1.15))
    angle = np.deg2rad(rng.uniform(-MAX_TURN, MAX_TURN))
    slant = float(rng.uniform(-0.15, 0.15))
    half = int(side * 0.85)
    scale = side / 8
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    to_picture = turn @ np.array([[scale * slim, slant * scale], [0, scale]])
    y, x = np.mgrid[-half:half, -half:half]
    xs, ys = np.einsum("ij,jhw->ihw", np.linalg.inv(to_picture), np.stack([x, y])) + 3.5
    big = _cubic(scan, xs, ys)
    # cubic enlargement leaves soft edges; a steep curve around a level makes a stroke, and the level its breadth
    level, steep = float(rng.uniform(0.38, 0.55)), float(rng.uniform(3.0, 6.0))
    ink = np.clip((big - level) * steep + 0.5, 0, 1)
    rows, columns = np.where(ink.max(1) > INK_SHOWN)[0], np.where(ink.max(0) > INK_SHOWN)[0]
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _cubic(scan: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """The scan read between its pixels by cubic convolution (Keys 1981, a = -0.5), 0 outside of it.

    Written out because OpenCV's warp rounds differently from one major version to the next, and labels must not.
    """
    pad = 8
    wide = np.pad(scan, pad)
    columns, rows = np.floor(xs).astype(int), np.floor(ys).astype(int)
    out = np.zeros(xs.shape)
    for dy in range(-1, 3):
        for dx in range(-1, 3):
            tap = wide[np.clip(rows + dy + pad, 0, 23), np.clip(columns + dx + pad, 0, 23)]
            out += tap * _keys(ys - rows - dy) * _keys(xs - columns - dx)
    return out


def _keys(t: np.ndarray) -> np.ndarray:
    t = np.abs(t)
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0))


def _place(
    rng: np.random.Generator, ink: np.ndarray, shape: tuple[int, int], taken: list[tuple[int, int, int, int]]
) -> tuple[int, int] | None:
    """Left upper corner (x, y) for the ink; most digits stand free, some overlap a neighbour by up to a fifth."""
    h, w = ink.shape
    allowed = 0.2 if rng.random() < 0.3 else 0.0
    for _ in range(60):
        x, y = int(rng.integers(2, shape[1] - w - 2)), int(rng.integers(2, shape[0] - h - 2))
        if all(_covered((x, y, x + w, y + h), other) <= allowed for other in taken):
            return x, y
    return None


def _covered(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Share of the smaller box that the other one covers."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return max(wide, 0) * max(high, 0) / min(areas)


def _pen(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A pen's colour (BGR) that is well visible on the paper: chalk on dark paper, ink on light paper."""
    paper = float(image.mean())
    if paper < 110:
        return rng.uniform(190, 250, 3)
    base = [(30, 30, 30), (120, 40, 30), (30, 35, 150), (40, 90, 30), (75, 75, 80)][int(rng.integers(5))]
    return np.clip(np.array(base) + rng.uniform(-20, 20, 3), 0, 255)


def _write(image: np.ndarray, ink: np.ndarray, spot: tuple[int, int], pen: np.ndarray) -> tuple[int, int, int, int]:
    """Puts the ink on the image (changed in place) and returns its box."""
    (h, w), (x, y) = ink.shape, spot
    patch = image[y : y + h, x : x + w]
    cover = ink[..., None] * 0.93  # the paper shows through a little
    patch[:] = np.clip(patch * (1 - cover) + pen * cover, 0, 255).astype(np.uint8)
    return x, y, x + w, y + h


# --------------------------------------------------------------------------------------------------------------- papers
def _paper(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A sheet (h, w, 3 uint8): one colour, light falling from a side, grain, and mostly lines, squares or stains."""
    dark = rng.random() < 0.15
    base = rng.uniform(30, 75, 3) if dark else np.clip(rng.uniform(185, 245) + rng.uniform(-18, 12, 3), 0, 250)
    sheet = np.ones((h, w, 3), np.float32) * base.astype(np.float32)
    _PAPERS[int(rng.integers(len(_PAPERS)))](rng, sheet, dark)
    sheet *= _light(rng, h, w)[..., None]
    sheet += rng.normal(0, rng.uniform(1, 6), (h, w, 1)).astype(np.float32)
    return np.clip(sheet, 0, 255).astype(np.uint8)


def _light(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """(h, w) brightness around 1 that falls off towards one side, as under a desk lamp."""
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.16)
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    return (1 + depth * (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(2)).astype(np.float32)


def _plain(rng: np.random.Generator, sheet: np.ndarray, dark: bool) -> None:
    """Nothing on it."""


def _ruled(rng: np.random.Generator, sheet: np.ndarray, dark: bool) -> None:
    gap, start = int(rng.integers(16, 34)), int(rng.integers(0, 16))
    sheet[start::gap] += _line_colour(rng, dark)


def _squared(rng: np.random.Generator, sheet: np.ndarray, dark: bool) -> None:
    gap, colour = int(rng.integers(11, 24)), _line_colour(rng, dark) * 0.7
    sheet[int(rng.integers(gap)) :: gap] += colour
    sheet[:, int(rng.integers(gap)) :: gap] += colour


def _line_colour(rng: np.random.Generator, dark: bool) -> np.ndarray:
    """What a printed line adds to the paper's colour: rather blue or rather red."""
    tint = np.array([(8, 30, 45), (45, 30, 8)][int(rng.integers(2))], np.float32)
    return tint if dark else -tint


def _stained(rng: np.random.Generator, sheet: np.ndarray, dark: bool) -> None:
    h, w = sheet.shape[:2]
    y, x = np.mgrid[:h, :w]
    for _ in range(int(rng.integers(1, 4))):
        radius, (cy, cx) = rng.uniform(25, 80), rng.uniform(0, (h, w))
        far = np.hypot(y - cy, x - cx) / radius
        ring = np.exp(-(((far - 1) / 0.06) ** 2)) if rng.random() < 0.5 else 1 / (1 + np.exp((far - 1) * 14))
        sheet += (ring[..., None] * np.array([-38, -24, -12]) * (-0.6 if dark else 1)).astype(np.float32)


def _textured(rng: np.random.Generator, sheet: np.ndarray, dark: bool) -> None:
    h, w = sheet.shape[:2]
    for cells, strength in ((6, 9), (20, 6), (60, 4)):
        coarse = rng.normal(0, strength, (cells, cells)).astype(np.float32)
        sheet += cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)[..., None]


_PAPERS = (_plain, _ruled, _squared, _stained, _textured)


if __name__ == "__main__":
    main()
