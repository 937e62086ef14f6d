"""The sample dataset: reproduced by its script, small, with tight boxes and disjoint splits."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

DATASET = Path(__file__).resolve().parents[1] / "dataset"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_digits", DATASET / "make_digits.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_digits"] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


def read_labels(split: str) -> dict[str, np.ndarray]:
    return {f.stem: np.loadtxt(f, ndmin=2) for f in sorted((DATASET / split / "labels").glob("*.txt"))}


@pytest.mark.parametrize("split", ["train", "val"])
def test_regenerated_images_have_the_shipped_labels(generator: ModuleType, split: str, tmp_path: Path) -> None:
    generator.write_split(tmp_path, split, count=6)
    files = sorted((tmp_path / split / "labels").glob("*.txt"))
    assert [file.name for file in files] == [f"{split}_{i:03d}.txt" for i in range(6)]
    for file in files:
        assert file.read_text() == (DATASET / split / "labels" / file.name).read_text()
        name = f"{file.stem}.jpg"
        new, shipped = (cv2.imread(str(root / split / "images" / name)) for root in (tmp_path, DATASET))
        assert new.shape == shipped.shape
        assert np.abs(new.astype(int) - shipped).mean() < 1  # JPEG encoders may differ in the last digit


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
        ink = generator.enlarge(np.random.default_rng(index), scans[index])
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
    assert total <= 5_000_000
    assert (DATASET / "classes.txt").read_text().split() == [str(digit) for digit in range(10)]
