"""The sample dataset: as the script makes it, within its size, boxes around the ink, no scan in both splits."""

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
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_digits", DATASET / "make_digits.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_digits"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def read_labels(split: str) -> dict[str, np.ndarray]:
    return {f.stem: np.loadtxt(f, ndmin=2) for f in sorted((DATASET / split / "labels").glob("*.txt"))}


@pytest.mark.parametrize("split", ["train", "val"])
def test_regenerated_images_have_the_shipped_labels(maker: ModuleType, split: str, tmp_path: Path) -> None:
    maker.write_split(tmp_path, split, count=6)
    made = sorted((tmp_path / split / "labels").glob("*.txt"))
    assert [file.name for file in made] == [f"{split}_{i:03d}.txt" for i in range(6)]
    for file in made:
        assert file.read_text() == (DATASET / split / "labels" / file.name).read_text()
        picture = f"{file.stem}.jpg"
        new, shipped = (cv2.imread(str(root / split / "images" / picture)) for root in (tmp_path, DATASET))
        assert new.shape == shipped.shape
        assert np.abs(new.astype(int) - shipped).mean() < 1  # JPEG encoders may differ in the last digit


@pytest.mark.parametrize(("split", "least"), [("train", 160), ("val", 40)])
def test_counts_and_pairs(maker: ModuleType, split: str, least: int) -> None:
    images = {f.stem for f in (DATASET / split / "images").iterdir()}
    labels = read_labels(split)
    assert images == set(labels)
    assert len(images) == maker.SPLITS[split] >= least
    classes = np.concatenate([rows[:, 0] for rows in labels.values()])
    counts = np.bincount(classes.astype(int), minlength=10)
    assert len(counts) == 10
    assert counts.min() > 0.6 * counts.mean()  # no class is rare


@pytest.mark.parametrize("split", ["train", "val"])
def test_boxes_lie_in_the_image_and_have_a_size(split: str) -> None:
    for name, rows in read_labels(split).items():
        assert rows.shape[1] == 5, name
        assert len(rows) >= 2, name
        low, high = rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2
        assert low.min() >= 0, name
        assert high.max() <= 1, name
        assert rows[:, 3:].min() > 0.03, name
        assert set(rows[:, 0]) <= set(range(10)), name


def test_no_scan_is_in_both_splits(maker: ModuleType) -> None:
    used = {
        split: {int(scan) for index in range(count) for scan in maker.picked_scans(split, index)}
        for split, count in maker.SPLITS.items()
    }
    assert not used["train"] & used["val"]
    assert len(used["train"]) > 1000
    assert len(used["val"]) > 300


def test_box_is_tight_around_the_ink(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an empty white sheet with a black pen, the box is where the picture is dark."""
    monkeypatch.setattr(maker, "_paper", lambda rng, h, w: np.full((h, w, 3), 255, np.uint8))
    monkeypatch.setattr(maker, "_pen", lambda rng, image: np.zeros(3))
    monkeypatch.setattr(maker, "DIGITS", (1, 1))
    for index in range(8):
        image, digits = maker.draw_image("train", index)
        (digit,) = digits
        ys, xs = np.where(image[..., 0] < 255 * (1 - 0.3))
        assert digit.xyxy == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_foreign_files_are_not_overwritten(maker: ModuleType, tmp_path: Path) -> None:
    mine = tmp_path / "train" / "images" / "holiday.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"holiday\.jpg"):
        maker.write_split(tmp_path, "train", count=1)
    assert mine.read_bytes() == b"mine"


def test_size_and_class_names() -> None:
    total = sum(f.stat().st_size for f in DATASET.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    assert total <= 5_000_000
    assert (DATASET / "classes.txt").read_text().split() == [str(digit) for digit in range(10)]
