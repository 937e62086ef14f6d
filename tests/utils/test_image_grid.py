"""Mosaics of batches and grids of feature maps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from ultralytics.utils.image_grid import MAX_MOSAIC_SIDE, SMALL_TILE_SIDE, plot_feature_maps, plot_images
from ultralytics.utils.plotting import colors

RED = colors(0, bgr=True)


def draw(path, images, rows, **options):
    """rows: (image, class, x, y, w, h)."""
    data = np.array(rows, np.float32).reshape(-1, 6)
    plot_images(images, data[:, 0], data[:, 1], data[:, 2:], path=path, **options)
    return cv2.imread(str(path))


def close(pixel, color, slack=40):
    """JPEG blurs colours a little; the tests that need exact ones write PNG."""
    return np.abs(pixel.astype(int) - np.array(color)).max() <= slack


@pytest.mark.parametrize(
    ("count", "side", "shape"),
    [
        (1, 64, (400, 400)),  # enlarged, so that labels can be read
        (2, 64, (400, 800)),
        (3, 640, (1280, 1280)),
        (5, 64, (800, 1200)),  # no empty rows
        (16, 640, (1920, 1920)),  # shrunk
        (20, 64, (1600, 1600)),  # the first 16
    ],
)
def test_size_of_the_mosaic(tmp_path, count, side, shape):
    image = draw(tmp_path / "m.jpg", np.zeros((count, 3, side, side), np.uint8), [])
    assert image.shape[:2] == shape
    assert max(shape) <= MAX_MOSAIC_SIDE


@pytest.mark.parametrize("kind", ["uint8", "float", "half"])
def test_pixels_become_bgr_in_their_tile(tmp_path, kind):
    batch = torch.zeros(4, 3, 32, 48, dtype=torch.uint8)
    batch[2, 0] = 255  # the third picture is red: second row, first column
    images = {"uint8": batch.numpy(), "float": batch.float() / 255, "half": batch.half() / 255}[kind]
    mosaic = draw(tmp_path / "m.png", images, [])
    h, w = mosaic.shape[:2]
    assert mosaic[h * 3 // 4, w // 4].tolist() == [0, 0, 255]
    assert mosaic[h // 4, w // 4].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("box_format", "box"), [("xywhn", (0.5, 0.5, 0.5, 0.25)), ("xyxy", (16.0, 24.0, 48.0, 40.0))])
def test_box_is_drawn_where_it_is(tmp_path, box_format, box):
    mosaic = draw(tmp_path / "m.png", np.zeros((2, 3, 64, 64), np.uint8), [(1, 0, *box)], box_format=box_format)
    scale = SMALL_TILE_SIDE / 64
    left, right, bottom = (400 + int(16 * scale), 400 + int(48 * scale), int(40 * scale))
    assert mosaic[bottom, (left + right) // 2].tolist() == list(RED)
    assert mosaic[bottom - 20, left].tolist() == list(RED)
    assert mosaic[bottom - 20, right].tolist() == list(RED)
    assert mosaic[2:-2, 2:398].max() == 0  # nothing in the other tile


def test_unsure_predictions_are_left_out(tmp_path):
    rows = [(0, 0, 0.5, 0.5, 0.5, 0.5)]
    images = np.zeros((1, 3, 64, 64), np.uint8)
    sure = draw(tmp_path / "a.png", images, rows, confs=np.array([0.9]))
    unsure = draw(tmp_path / "b.png", images, rows, confs=np.array([0.25]))
    assert sure[2:-2, 2:-2].max() > 0
    assert unsure[2:-2, 2:-2].max() == 0


def test_file_names_and_labels_are_written(tmp_path):
    images = np.zeros((1, 3, 64, 64), np.uint8)
    bare = draw(tmp_path / "a.png", images, [(0, 1, 0.5, 0.5, 0.3, 0.3)])
    named = draw(
        tmp_path / "b.png", images, [(0, 1, 0.5, 0.5, 0.3, 0.3)], names={1: "cat"}, paths=["x/" + "long" * 40 + ".jpg"]
    )
    assert (bare != named).any(2)[120:140].any()  # another label
    title = (bare != named).any(2)[375:]
    assert title.any()
    assert not title[:, 360:].any()  # cut to the tile


def test_columns_of_the_batch_may_have_a_second_dimension(tmp_path):
    plot_images(
        torch.zeros(1, 3, 64, 64),
        torch.zeros(2),
        torch.zeros(2, 1),
        torch.tensor([[0.5, 0.5, 0.2, 0.2]] * 2),
        path=tmp_path / "new" / "m.jpg",
        confs=torch.tensor([0.5, 0.6], dtype=torch.bfloat16),
    )
    assert (tmp_path / "new" / "m.jpg").stat().st_size > 1000


def test_unknown_box_format(tmp_path):
    with pytest.raises(ValueError, match="box_format 'ltwh'"):
        draw(tmp_path / "m.jpg", np.zeros((1, 3, 8, 8), np.uint8), [(0, 0, 1, 1, 1, 1)], box_format="ltwh")


@pytest.mark.parametrize(("channels", "tiles"), [(1, (1, 1)), (8, (2, 4)), (64, (4, 8))])
def test_feature_maps(tmp_path, channels, tiles):
    maps = torch.zeros(channels, 20, 30)
    maps[:, 10:] = 5.0
    plot_feature_maps(maps, tmp_path / "f.png")
    image = cv2.imread(str(tmp_path / "f.png"))
    h, w = 60, 90  # enlarged three times
    assert image.shape[:2] == (tiles[0] * (h + 2) - 2, tiles[1] * (w + 2) - 2)
    dark, light = image[5, 5].astype(int).sum(), image[55, 5].astype(int).sum()
    assert light > dark  # larger is lighter
