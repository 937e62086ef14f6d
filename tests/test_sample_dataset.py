"""The sample dataset: reproduced by its script, small, with labels for each task that fit the ink, disjoint splits."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from ultralytics.data.label_parser import ParsedLabels, parse_labels
from ultralytics.data.polygons import fill_polygons
from ultralytics.tasks import LabelSchema

DATASET = Path(__file__).resolve().parents[1] / "dataset"
SCHEMAS = {
    "labels": LabelSchema("box"),
    "labels-seg": LabelSchema("polygon"),
    "labels-pose": LabelSchema("keypoints", (5, 3)),
    "labels-obb": LabelSchema("oriented_box"),
}


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    sys.path.insert(0, str(DATASET))  # where Python searches the imports of a script
    spec = importlib.util.spec_from_file_location("make_digits", DATASET / "make_digits.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_digits"] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(DATASET))


@pytest.fixture(scope="module")
def pages(generator: ModuleType) -> list[tuple[str, tuple[int, int], list]]:
    """Name, (h, w) and digits of some pages, drawn anew."""
    drawn = [
        (f"{split}_{i:03d}", *generator.draw_image(split, i)) for split in generator.SPLITS for i in (0, 4, 19, 35)
    ]
    return [(name, image.shape[:2], digits) for name, image, digits in drawn]


def read_labels(split: str) -> dict[str, np.ndarray]:
    return {f.stem: np.loadtxt(f, ndmin=2) for f in sorted((DATASET / split / "labels").glob("*.txt"))}


def parsed(name: str, folder: str) -> ParsedLabels:
    file = DATASET / name.split("_")[0] / folder / f"{name}.txt"
    return parse_labels(file.read_bytes(), 10, SCHEMAS[folder])


def ink_mask(digit, shape: tuple[int, int]) -> np.ndarray:
    x1, y1, x2, y2 = digit.xyxy
    mask = np.zeros(shape, bool)
    mask[y1:y2, x1:x2] = digit.ink > 0.35
    return mask


@pytest.mark.parametrize("split", ["train", "val"])
def test_regenerated_images_have_the_shipped_labels(generator: ModuleType, split: str, tmp_path: Path) -> None:
    generator.write_split(tmp_path, split, count=6)
    for folder in SCHEMAS:
        files = sorted((tmp_path / split / folder).glob("*.txt"))
        assert [file.name for file in files] == [f"{split}_{i:03d}.txt" for i in range(6)]
        for file in files:
            assert file.read_text() == (DATASET / split / folder / file.name).read_text()
    images = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.jpg"))
    assert sum(path.parts[0] == "classify" for path in images) > 15
    for path in images:
        new, shipped = (cv2.imread(str(root / path)) for root in (tmp_path, DATASET))
        assert new.shape == shipped.shape
        assert np.abs(new.astype(int) - shipped).mean() < 1  # JPEG encoders may differ in the last digit


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("folder", SCHEMAS)
def test_every_label_is_valid_for_its_task_and_lists_the_digits_of_the_boxes(split: str, folder: str) -> None:
    boxes, errors = read_labels(split), []
    assert {f.stem for f in (DATASET / split / folder).iterdir()} == set(boxes)
    for name, rows in boxes.items():
        labels = parsed(name, folder)
        assert labels.cls.tolist() == rows[:, 0].tolist(), name
        assert not labels.repeated, name
        errors.append(np.abs(labels.boxes - rows[:, 1:]).max(1))
    if folder == "labels-seg":  # outlines end between two pixels, and have no specks
        assert np.quantile(np.concatenate(errors), 0.99) < 0.006
    elif folder != "labels-obb":  # whose box is around the corners
        assert np.concatenate(errors).max() < 1e-6


def test_polygons_are_the_ink(pages: list) -> None:
    """Holes included: a filled 0 would have an IoU below 0.8."""
    ious, holes = [], 0
    for name, shape, digits in pages:
        for polygons, digit in zip(parsed(name, "labels-seg").polygons, digits, strict=True):
            x1, y1, x2, y2 = digit.xyxy
            fine = fill_polygons([(p * shape[::-1] - (x1, y1)) * 8 for p in polygons], ((y2 - y1) * 8, (x2 - x1) * 8))
            filled, ink = fine[4::8, 4::8] > 0, digit.ink > 0.35
            ious.append((filled & ink).sum() / (filled | ink).sum())
            holes += len(polygons) - 1
    assert holes > 15
    assert min(ious) > 0.9
    assert np.mean(ious) > 0.97


def test_a_polygon_with_two_holes_is_read_as_three(generator: ModuleType) -> None:
    ink = np.zeros((40, 30))
    ink[2:-2, 2:-2] = 1
    ink[6:14, 8:20] = ink[22:34, 10:18] = 0
    ink[30:31, 4:5] = 0  # a speck is no hole
    digit = generator.Digit(8, (50, 60, 80, 100), ink)
    labels = parse_labels(
        generator.LABEL_LINES["labels-seg"](digit, (200, 100), ()).encode(), 10, SCHEMAS["labels-seg"]
    )
    areas = sorted(cv2.contourArea(p * np.float32((100, 200))) for p in labels.polygons[0])
    assert areas == pytest.approx([12 * 8, 12 * 8, 26 * 36], rel=0.12)


def test_oriented_boxes_touch_the_ink_on_each_side_at_the_angle_of_the_scan(pages: list) -> None:
    for name, shape, digits in pages:
        for corners, digit in zip(parsed(name, "labels-obb").corners, digits, strict=True):
            points = corners * shape[::-1]
            right, down = points[1] - points[0], points[3] - points[0]
            assert np.arctan2(right[1], right[0]) == pytest.approx(digit.angle, abs=1e-3)
            assert abs(digit.angle) <= np.deg2rad(25)
            ys, xs = np.nonzero(ink_mask(digit, shape))
            pixels = np.stack([xs, ys], 1)[:, None] + [[0, 0], [0, 1], [1, 0], [1, 1]] - points[0]
            for side in (right, down):
                position = pixels @ side / (side @ side)  # 0 and 1 on the two sides across
                assert (position.min(), position.max()) == pytest.approx((0, 1), abs=2e-3)


def test_keypoints_lie_on_the_ink_and_a_hole_does_not(pages: list) -> None:
    visibilities = []
    for name, shape, digits in pages:
        for i, (points, digit) in enumerate(zip(parsed(name, "labels-pose").keypoints, digits, strict=True)):
            pixels = np.floor(points[:, :2] * shape[::-1]).astype(int)
            on_ink = ink_mask(digit, shape)[pixels[:, 1], pixels[:, 0]]
            assert on_ink[:4].all(), name
            assert not on_ink[4] or not points[4, 2], name
            covered = np.zeros(5, bool)
            for later in digits[i + 1 :]:
                covered |= ink_mask(later, shape)[pixels[:, 1], pixels[:, 0]]
            known = points[:, 2] > 0
            assert known[:4].all()
            assert points[known, 2].tolist() == np.where(covered, 1, 2)[known].tolist()
            visibilities += points[:, 2].tolist()
            cos, sin = np.cos(digit.angle), np.sin(digit.angle)
            xy = points[:4, :2] * shape[::-1] @ np.array([[cos, -sin], [sin, cos]])  # as before the scan was turned
            assert xy[0, 1] < xy[1, 1], name  # top above bottom
            assert xy[2, 0] < xy[3, 0], name  # left of right
    assert set(visibilities) == {0, 1, 2}


@pytest.mark.parametrize(("digit", "expected"), [(0, True), (6, True), (1, False), (5, False)])
def test_most_digits_with_a_loop_have_a_hole(digit: int, expected: bool) -> None:
    labels = [parsed(f.stem, "labels-pose") for f in (DATASET / "train" / "labels-pose").iterdir()]
    known = np.concatenate([label.keypoints[label.cls == digit, 4, 2] > 0 for label in labels])
    assert known.mean() > 0.7 if expected else known.mean() < 0.1


@pytest.mark.parametrize(("split", "count"), [("train", 80), ("val", 20)])
def test_crops_show_the_digit_of_their_folder(generator: ModuleType, split: str, count: int) -> None:
    labels = read_labels(split)
    for cls in range(10):
        files = sorted((DATASET / "classify" / split / str(cls)).iterdir())
        assert len(files) == count
        for file in files:
            page, position = file.stem.rsplit("_", 1)
            assert labels[page][int(position), 0] == cls
            assert cv2.imread(str(file)).shape == (48, 48, 3)


def test_a_crop_is_centered_on_its_digit_and_stays_inside_the_page(generator: ModuleType) -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    ink = np.ones((40, 20))
    for box in ((90, 30, 110, 70), (0, 60, 20, 100)):
        x1, y1, x2, y2 = box
        image[:] = 0
        image[y1:y2, x1:x2] = 255
        part = generator.crop(image, generator.Digit(1, box, ink))
        bright = np.argwhere(part[..., 0] > 127)
        assert part.shape == (48, 48, 3)
        assert len(bright) / 48**2 == pytest.approx(40 * 20 / 52**2, rel=0.05)  # the whole digit, with the margin
        if box[0]:
            assert bright.mean(0) == pytest.approx([23.5, 23.5], abs=0.6)


@pytest.mark.parametrize(("split", "minimum"), [("train", 160), ("val", 40)])
def test_every_image_has_labels_and_no_class_is_rare(generator: ModuleType, split: str, minimum: int) -> None:
    images = {f.stem for f in (DATASET / split / "images").iterdir()}
    labels = read_labels(split)
    assert images == set(labels)
    assert len(images) == generator.SPLITS[split] >= minimum
    classes = np.concatenate([rows[:, 0] for rows in labels.values()])
    counts = np.bincount(classes.astype(int), minlength=10)
    assert len(counts) == 10
    assert counts.min() > 0.6 * counts.mean()


@pytest.mark.parametrize("split", ["train", "val"])
def test_boxes_are_inside_the_image_and_not_empty(split: str) -> None:
    for name, rows in read_labels(split).items():
        assert rows.shape[1] == 5, name
        assert len(rows) >= 2, name
        low, high = rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2
        assert low.min() >= 0, name
        assert high.max() <= 1, name
        assert rows[:, 3:].min() > 0.03, name
        assert set(rows[:, 0]) <= set(range(10)), name


def test_no_scan_is_in_both_splits(generator: ModuleType) -> None:
    used = {
        split: {int(scan) for index in range(count) for scan in generator.scans_of_image(split, index)}
        for split, count in generator.SPLITS.items()
    }
    assert not used["train"] & used["val"]
    assert len(used["train"]) > 1000
    assert len(used["val"]) > 300


def test_box_is_tight_around_the_ink(generator: ModuleType) -> None:
    """Black ink on a white image: the box contains exactly the rows and columns with dark pixels."""
    scans, _ = generator.load_scans()
    for index in range(8):
        image = np.full((256, 256, 3), 255, np.uint8)
        ink, _ = generator.enlarge(np.random.default_rng(index), scans[index])
        box = generator.draw_ink(image, ink, (40 + index, 30), np.zeros(3))
        ys, xs = np.where(image[..., 0] < 255 * (1 - 0.3))
        assert box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_files_of_users_are_not_overwritten(generator: ModuleType, tmp_path: Path) -> None:
    user_file = tmp_path / "train" / "images" / "holiday.jpg"
    user_file.parent.mkdir(parents=True)
    user_file.write_bytes(b"data")
    with pytest.raises(FileExistsError, match=r"holiday\.jpg"):
        generator.write_split(tmp_path, "train", count=1)
    assert user_file.read_bytes() == b"data"


def test_size_and_class_names() -> None:
    total = sum(f.stat().st_size for f in DATASET.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    assert total <= 8_000_000
    assert (DATASET / "classes.txt").read_text().split() == [str(digit) for digit in range(10)]
