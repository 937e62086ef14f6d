"""Finding and decoding images."""

import os

import cv2
import numpy as np
import pytest
from toy_dataset import write_image

from ultralytics.data.dataset_config import DatasetError, DatasetNotFoundError
from ultralytics.data.images import (
    find_images,
    imread,
    label_path,
    load_resized,
    resized_shape,
)


def test_find_in_folders(tmp_path):
    for name in ("b/2.PNG", "a.b/1.jpg", ".hidden/3.jpg", "b/.4.jpg", "b/notes.txt", "5.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert find_images(tmp_path) == [str(tmp_path / "a.b" / "1.jpg"), str(tmp_path / "b" / "2.PNG")]
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"no images in .*empty"):
        find_images([tmp_path / "empty"])


def test_find_in_lists(tmp_path, monkeypatch):
    listed = tmp_path / "lists" / "train.txt"
    listed.parent.mkdir()
    (tmp_path / "elsewhere.jpg").touch()
    monkeypatch.chdir(tmp_path)
    listed.write_bytes("\ufeff./图 1.jpg\r\n\r\nsub/2.png\n/abs/3.jpg\nreadme.md\n".encode())
    folder = str(listed.parent)
    assert find_images(listed) == ["/abs/3.jpg", f"{folder}/sub/2.png", f"{folder}/图 1.jpg"]
    listed.write_text("elsewhere.jpg\n")  # not beside the list, but in the current folder, as 8.3.0 reads it
    assert find_images([listed]) == [str(tmp_path / "elsewhere.jpg")]


@pytest.mark.parametrize("encoding", ["utf-16", "gbk"])
def test_lists_in_other_encodings(tmp_path, encoding):
    (tmp_path / "l.txt").write_bytes("./马.jpg\n./b.txt\n".encode(encoding))
    assert find_images(tmp_path / "l.txt") == [str(tmp_path / "马.jpg")]


def test_a_single_image(tmp_path, monkeypatch):
    (tmp_path / "one.JPG").touch()
    monkeypatch.chdir(tmp_path)
    assert find_images("one.JPG") == [str(tmp_path / "one.JPG")]
    (tmp_path / "l.txt").write_text("l.txt\n")
    with pytest.raises(DatasetError, match=r"no images in .*l\.txt"):
        find_images("l.txt")


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/images/x/images/a.b.png", "/images/x/labels/a.b.txt"),  # the last one counts
        ("/d/pictures/a.jpg", "/d/pictures/a.txt"),
        ("/d/myimages/a.jpg", "/d/myimages/a.txt"),
    ],
)
def test_label_path(image, label):
    assert label_path(image.replace("/", os.sep)) == label.replace("/", os.sep)


def test_labels_in_another_folder():
    image = os.path.join("d", "images", "train", "a.jpg")
    assert label_path(image, "labels-seg") == os.path.join("d", "labels-seg", "train", "a.txt")
    assert label_path("a.jpg", "labels-seg") == "a.txt"  # beside the image


def test_imread_any_path(tmp_path):
    path = write_image(tmp_path / "空 格" / "é图.png")
    assert np.array_equal(imread(path), cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), 1))
    path.write_bytes(b"no picture")
    assert imread(path) is None
    path.write_bytes(b"")
    assert imread(path) is None
    assert load_resized(str(path.with_name("none.png")), 64) is None


@pytest.mark.parametrize(
    ("shape", "imgsz", "expected"),
    [
        ((480, 640), 640, (480, 640)),
        ((333, 500), 640, (427, 640)),
        ((640, 427), 160, (160, 107)),
        ((10, 4000), 64, (1, 64)),
    ],
)
def test_resized_shape(shape, imgsz, expected):
    assert resized_shape(*shape, imgsz) == expected


def test_load_resized(tmp_path):
    path = write_image(tmp_path / "a.png", 48, 64)
    image, original = load_resized(str(path), 32)
    assert (image.shape, original) == ((24, 32, 3), (48, 64))
    assert np.array_equal(image, cv2.resize(imread(path), (32, 24), interpolation=cv2.INTER_LINEAR))
