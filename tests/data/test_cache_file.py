"""Files of decoded images: one per dataset, reserved on the disk, and removed when outdated."""

import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from toy_dataset import write_image, write_label

from ultralytics.data import cache_file as module
from ultralytics.data.cache_file import image_tokens, map_file
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.dataset_config import check_det_dataset
from ultralytics.utils import LOGGER


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Names of the files of decoded images."""
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    return lambda: sorted(path.name for path in (tmp_path / "settings" / "cache").glob("images-*"))


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(LOGGER, "warning", lambda text, *args: lines.append(text % args if args else text))
    return lines


def make(toy, **options):
    return YOLODataset(toy.parent / "images", data=check_det_dataset(toy), imgsz=64, cache="disk", **options)


def images(dataset):
    return [dataset.images(i, i).copy() for i in range(len(dataset))]


def test_edited_labels_keep_the_file(toy, cache):
    first = make(toy)
    images(first)
    (name,) = cache()
    write_label(Path(first.im_files[0]), "1 0.5 0.5 0.25 0.25\n")
    second = make(toy)
    assert cache() == [name]
    assert all(second.images.store.get(i, i) is not None for i in range(len(second)))


def test_an_edited_image_is_decoded_again(toy, cache):
    first = make(toy)
    before = images(first)
    path = Path(first.im_files[0])
    write_image(path, *first.shapes[0], seed=99)
    second = make(toy)
    assert len(cache()) == 1
    assert second.images.store.get(0, 0) is None
    assert second.images.store.get(1, 1) is not None
    after = images(second)
    assert not np.array_equal(after[0], before[0])
    assert all(np.array_equal(a, b) for a, b in zip(after[1:], before[1:], strict=True))


def test_added_images_replace_the_file(toy, cache):
    make(toy)
    (old,) = cache()
    write_image(toy.parent / "images" / "train" / "new.png")
    make(toy)
    (new,) = cache()
    assert new != old


def test_training_and_validation_on_one_folder_have_a_file_each(toy, cache):
    make(toy)
    make(toy, augment=True)
    assert len(cache()) == 2
    make(toy)
    assert len(cache()) == 2


def test_unused_files_of_other_datasets_are_removed(toy, cache, tmp_path):
    folder = tmp_path / "settings" / "cache"
    folder.mkdir(parents=True)
    for name, days in (("images-old.bin", 31), ("images-recent.bin", 29), ("labels-old.bin", 400)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - days * 86400,) * 2)
    make(toy)
    assert "images-recent.bin" in cache()
    assert "images-old.bin" not in cache()
    assert (folder / "labels-old.bin").exists()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve blocks")
def test_all_blocks_are_reserved(tmp_path):
    """A page without a block ended the process with SIGBUS when the disk was full."""
    file = tmp_path / "a.bin"
    with file.open("wb") as f:
        f.truncate(1 << 20)  # as older versions made it
    map_file(file, 1 << 20)
    assert file.stat().st_blocks * 512 >= 1 << 20


@pytest.mark.parametrize("full", ["disk_usage", "posix_fallocate"])
def test_a_full_disk_costs_time_only(toy, cache, monkeypatch, warnings, full):
    if full == "disk_usage":
        usage = shutil.disk_usage(toy)._replace(free=module.FREE_BYTES - 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    else:

        def fail(fd, start, size):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", fail, raising=False)
    dataset = make(toy)
    assert dataset.images.store is None
    assert len(images(dataset)) == 6
    assert cache() == []
    assert "cannot be kept" in warnings[-1]
    assert "No space left" in warnings[-1]


def test_a_file_of_another_size_is_replaced_not_shortened(tmp_path):
    """Another process may have mapped it, and would be ended by the system."""
    file = tmp_path / "a.bin"
    mapped = map_file(file, 5000)
    mapped[4999] = 7
    assert map_file(file, 100)[:] == bytes(100)
    assert mapped[4999] == 7


def test_tokens():
    stamps = np.random.default_rng(0).integers(0, 1 << 62, (1000, 3))
    tokens = image_tokens(stamps)
    assert (tokens.dtype, len(set(tokens.tolist())), bool((tokens != 0).all())) == (np.int64, 1000, True)
    for column in range(3):
        changed = stamps.copy()
        changed[:, column] += 2
        assert (image_tokens(changed) != tokens).all()
