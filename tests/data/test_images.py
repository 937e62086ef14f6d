"""Finding, decoding and keeping pictures."""

import os
import pickle

import cv2
import numpy as np
import pytest
from toy_dataset import write_image

from ultralytics.data.dataset_config import DatasetError, DatasetNotFoundError
from ultralytics.data.images import (
    ImageStore,
    available_memory,
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


class TestStore:
    def picture(self, seed, h=4, w=5):
        return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)

    def test_keeps_and_forgets(self):
        store = ImageStore([60, 60], whole=False)
        assert store.get(0, 0) is None
        store.put(0, 0, self.picture(1), (8, 10))
        image, original = store.get(0, 0)
        assert np.array_equal(image, self.picture(1))
        assert original == (8, 10)
        assert store.get(0, 2) is None  # another picture of the same slot
        store.put(0, 2, self.picture(2), (4, 5))
        assert store.get(0, 0) is None
        assert np.array_equal(store.get(0, 2)[0], self.picture(2))
        assert np.array_equal(image, self.picture(1))  # what was handed out stays as it was

    def test_too_large_is_not_kept(self):
        store = ImageStore([59, 60])
        store.put(0, 0, self.picture(1), (4, 5))
        assert store.get(0, 0) is None
        assert store.get(1, 1) is None

    def test_read_only(self):
        store = ImageStore([60])
        store.put(0, 0, self.picture(1), (4, 5))
        with pytest.raises(ValueError, match="read-only"):
            store.get(0, 0)[0][:] = 0

    def test_file_is_found_again_and_another_layout_is_not_believed(self, tmp_path):
        file = tmp_path / "sub" / "store.bin"
        ImageStore([60, 60], file).put(1, 1, self.picture(3), (4, 5))
        assert np.array_equal(ImageStore([60, 60], file).get(1, 1)[0], self.picture(3))
        assert ImageStore([60, 90], file).get(1, 1) is None

    def test_pickled_memory_is_new_and_a_file_is_shared(self, tmp_path):
        for file in (None, tmp_path / "s.bin"):
            store = ImageStore([60], file)
            store.put(0, 0, self.picture(1), (4, 5))
            other = pickle.loads(pickle.dumps(store))
            assert (other.get(0, 0) is None) == (file is None)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
    def test_a_forked_process_sees_what_another_put(self):
        store = ImageStore([60])
        child = os.fork()
        if not child:
            store.put(0, 0, self.picture(1), (4, 5))
            os._exit(0)
        os.waitpid(child, 0)
        assert np.array_equal(store.get(0, 0)[0], self.picture(1))


def test_available_memory():
    assert available_memory() > 1 << 20
