"""Image files and crops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from ultralytics.utils.image_files import save_one_box, write_image


def gray(h=120, w=200):
    return np.full((h, w, 3), 127, np.uint8)


class TestWriteImage:
    @pytest.mark.parametrize("name", ["a.png", "红 细胞/b.PNG", "c.bmp"])
    def test_any_path_comes_back_the_same(self, tmp_path, name):
        image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
        write_image(tmp_path / name, image)
        assert (cv2.imdecode(np.fromfile(tmp_path / name, np.uint8), 1) == image).all()
        assert len(list((tmp_path / name).parent.iterdir())) == 1  # nothing temporary is left

    def test_unknown_suffix(self, tmp_path):
        with pytest.raises(ValueError, match=r"'\.xyz'.*\.jpg or \.png"):
            write_image(tmp_path / "a.xyz", gray())
        assert not list(tmp_path.iterdir())


class TestSaveOneBox:
    def test_size_of_the_crop(self, tmp_path):
        image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
        crop = save_one_box(torch.tensor([20.0, 20, 60, 50]), image, tmp_path / "c.png", BGR=True)
        assert crop.shape == (41, 51, 3)
        assert (cv2.imread(str(tmp_path / "c.png")) == crop).all()
        assert (crop == image[14:55, 14:65]).all()

    @pytest.mark.parametrize(
        ("box", "options", "shape"),
        [
            ([0, 0, 100, 100], {}, (100, 100)),  # clipped to the image
            ([40, 40, 60, 50], {"gain": 1.0, "pad": 0}, (10, 20)),
            ([40, 40, 60, 50], {"gain": 1.0, "pad": 0, "square": True}, (20, 20)),
            (torch.tensor([[40, 40, 60, 50]]), {"gain": 1.0, "pad": 0}, (10, 20)),
        ],
    )
    def test_options(self, box, options, shape):
        assert save_one_box(box, gray(100, 100), save=False, **options).shape[:2] == shape

    def test_channels_and_numbering(self, tmp_path):
        image = gray(50, 50)
        image[:] = (1, 2, 3)
        for _ in range(3):
            crop = save_one_box([10, 10, 30, 30], image, tmp_path / "c.png")
        assert crop[0, 0].tolist() == [3, 2, 1]  # RGB, as 8.3.0 returns it by default
        assert sorted(p.name for p in tmp_path.iterdir()) == ["c.png", "c2.png", "c3.png"]
        assert cv2.imread(str(tmp_path / "c3.png"))[0, 0].tolist() == [1, 2, 3]
