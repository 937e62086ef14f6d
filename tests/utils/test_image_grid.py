"""Grids of batches and of feature maps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from ultralytics.utils.image_grid import MAX_GRID_SIDE, MIN_TILE_SIDE, plot_feature_maps, plot_images
from ultralytics.utils.plotting import colors

RED = colors(0, bgr=True)


def draw(path, images, rows, **options):
    """rows: (image, class, x, y, w, h)."""
    data = np.array(rows, np.float32).reshape(-1, 6)
    plot_images(images, data[:, 0], data[:, 1], data[:, 2:], path=path, **options)
    return cv2.imread(str(path))


def close(pixel, color, slack=40):
    """JPEG blurs colors a little; the tests that need exact ones write PNG."""
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
def test_size_of_the_grid(tmp_path, count, side, shape):
    image = draw(tmp_path / "m.jpg", np.zeros((count, 3, side, side), np.uint8), [])
    assert image.shape[:2] == shape
    assert max(shape) <= MAX_GRID_SIDE


@pytest.mark.parametrize("as_type", ["uint8", "float", "half"])
def test_pixels_become_bgr_in_their_tile(tmp_path, as_type):
    batch = torch.zeros(4, 3, 32, 48, dtype=torch.uint8)
    batch[2, 0] = 255  # the third image is red: second row, first column
    images = {"uint8": batch.numpy(), "float": batch.float() / 255, "half": batch.half() / 255}[as_type]
    grid = draw(tmp_path / "m.png", images, [])
    h, w = grid.shape[:2]
    assert grid[h * 3 // 4, w // 4].tolist() == [0, 0, 255]
    assert grid[h // 4, w // 4].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("box_format", "box"), [("xywhn", (0.5, 0.5, 0.5, 0.25)), ("xyxy", (16.0, 24.0, 48.0, 40.0))])
def test_box_is_drawn_where_it_is(tmp_path, box_format, box):
    grid = draw(tmp_path / "m.png", np.zeros((2, 3, 64, 64), np.uint8), [(1, 0, *box)], box_format=box_format)
    scale = MIN_TILE_SIDE / 64
    left, right, bottom = (400 + int(16 * scale), 400 + int(48 * scale), int(40 * scale))
    assert grid[bottom, (left + right) // 2].tolist() == list(RED)
    assert grid[bottom - 20, left].tolist() == list(RED)
    assert grid[bottom - 20, right].tolist() == list(RED)
    assert grid[2:-2, 2:398].max() == 0  # nothing in the other tile


def test_uncertain_predictions_are_left_out(tmp_path):
    rows = [(0, 0, 0.5, 0.5, 0.5, 0.5)]
    images = np.zeros((1, 3, 64, 64), np.uint8)
    certain = draw(tmp_path / "a.png", images, rows, confs=np.array([0.9]))
    uncertain = draw(tmp_path / "b.png", images, rows, confs=np.array([0.25]))
    assert certain[2:-2, 2:-2].max() > 0
    assert uncertain[2:-2, 2:-2].max() == 0


def test_file_names_and_labels_are_written(tmp_path):
    images = np.zeros((1, 3, 64, 64), np.uint8)
    bare = draw(tmp_path / "a.png", images, [(0, 1, 0.5, 0.5, 0.3, 0.3)])
    named = draw(
        tmp_path / "b.png", images, [(0, 1, 0.5, 0.5, 0.3, 0.3)], names={1: "cat"}, paths=["x/" + "long" * 40 + ".jpg"]
    )
    assert (bare != named).any(2)[120:140].any()  # another label
    title = (bare != named).any(2)[375:]
    assert title.any()
    assert not title[:, 360:].any()  # shortened to fit the tile


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


def image_of(path, **options):
    """One 64 x 64 black image drawn with these options, as a tile of 400 x 400, without its frame."""
    plot_images(np.zeros((1, 3, 64, 64), np.uint8), np.zeros(1), np.zeros(1), path=path, **options)
    return cv2.imread(str(path))[3:-3, 3:-3]


@pytest.mark.parametrize(
    ("box_format", "box"),
    [("xywhn", (0.5, 0.5, 0.5, 0.25, np.pi / 4)), ("xywhr", (32, 32, 32, 16, np.pi / 4))],
)
def test_oriented_boxes(tmp_path, box_format, box):
    image = image_of(tmp_path / "m.png", bboxes=np.array([box]), box_format=box_format, names={0: ""})
    rows, columns = np.nonzero(image.any(2))
    half = (32 + 16) / 2 / np.sqrt(2) * 400 / 64
    assert columns.max() + 3 == pytest.approx(200 + half, abs=4)
    assert rows.max() + 3 == pytest.approx(200 + half, abs=4)


@pytest.mark.parametrize("overlap", [False, True])
def test_masks_of_instances(tmp_path, overlap):
    instances = np.zeros((3, 16, 16), np.uint8)
    instances[0, 2:6, 2:6] = instances[1, 8:12, 8:12] = 1
    instances[2, 4:8, 4:8] = 1  # of the second image
    maps = np.stack([instances[0] + 2 * instances[1], instances[2]])
    plot_images(
        np.zeros((2, 3, 64, 64), np.uint8),
        np.array([0, 0, 1]),
        np.array([0, 1, 2]),
        np.zeros((3, 4)),
        path=tmp_path / "m.png",
        masks=maps if overlap else instances,
        masks_overlap=overlap,
        names=dict.fromkeys(range(3), ""),
    )
    image = cv2.imread(str(tmp_path / "m.png"))
    for row, column, c in ((100, 100, 0), (250, 250, 1), (150, 550, 2)):
        assert close(image[row, column], np.array(colors(c, bgr=True)) / 2, 2)
    assert image[300, 100].max() == 0


@pytest.mark.parametrize("box_format", ["xywhn", "xyxy"])
def test_keypoints(tmp_path, box_format):
    scale = 1 if box_format == "xywhn" else 64
    points = np.array([[[0.25, 0.75, 2], [0.5, 0.5, 0], [0, 0, 0]]]) * [scale, scale, 1]
    image = image_of(
        tmp_path / "m.png", bboxes=np.zeros((1, 4)), keypoints=points, box_format=box_format, names={0: ""}
    )
    assert image[297, 97].tolist() == list(RED)
    assert image[197, 197].max() == 0  # not visible


def test_classes_of_whole_images(tmp_path):
    bare = image_of(tmp_path / "a.png", names={0: ""})
    named = image_of(tmp_path / "b.png", names={0: "platelet"}, confs=np.array([0.75]))
    assert (bare != named).any(2)[:30].any()
    assert not (bare != named).any(2)[60:].any()


def test_unknown_box_format(tmp_path):
    with pytest.raises(ValueError, match="box_format='ltwh'"):
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
