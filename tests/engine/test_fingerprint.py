"""The fingerprint of a dataset split: what changes it and what does not."""

import os
import shutil

import cv2
import numpy as np
import pytest

from ultralytics.data.dataset import YOLODataset
from ultralytics.engine.fingerprint import split_facts

NAMES = {0: "bright", 1: "dark"}


@pytest.fixture
def copy(tiny_data, tmp_path):
    """Function (name) -> folder with a copy of the dataset."""

    def make(name):
        return shutil.copytree(tiny_data.parent, tmp_path / name)

    return make


def facts(root, names=NAMES, split="train", **options):
    dataset = YOLODataset(root / "images" / split, data={"names": names}, imgsz=64, **options)
    return split_facts(dataset, names)


def test_counts(copy):
    root = copy("a")
    (root / "labels" / "train" / "0.txt").write_text("")
    assert facts(root) | {"fingerprint": ""} == {"fingerprint": "", "images": 12, "instances": 22}
    assert facts(root, split="val")["images"] == 6


def test_a_copy_in_another_folder_has_the_same_fingerprint(copy):
    one, other = copy("a"), copy("b/c")
    for file in other.rglob("*.txt"):
        os.utime(file, (1, 1))
    assert facts(one) == facts(other)
    assert facts(one)["fingerprint"] == facts(other, rect=True)["fingerprint"], "the order of batches does not count"


def larger_image(root):
    path = root / "images" / "train" / "3.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((65, 96, 3), np.uint8))[1].tobytes())


def moved_box(root):
    (root / "labels" / "train" / "3.txt").write_text("0 0.5 0.5 0.25 0.25\n1 0.5 0.5 0.2 0.2\n")


def missing_image(root):
    (root / "images" / "train" / "3.png").unlink()


def renamed_image(root):
    for file in (root / "images" / "train" / "3.png", root / "labels" / "train" / "3.txt"):
        file.rename(file.with_stem("3a"))


@pytest.mark.parametrize("change", [larger_image, moved_box, missing_image, renamed_image])
def test_changes_of_images_and_labels_change_it(copy, change):
    root = copy("a")
    before = facts(root)["fingerprint"]
    change(root)
    assert facts(root)["fingerprint"] != before


def test_class_names_change_it(copy):
    root = copy("a")
    assert facts(root)["fingerprint"] != facts(root, names={0: "dark", 1: "bright"})["fingerprint"]


def test_a_dataset_of_another_design_has_counts_only():
    assert split_facts([1, 2, 3], NAMES) == {"fingerprint": None, "images": 3, "instances": None}
