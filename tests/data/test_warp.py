"""Tiles drawn directly to their position, against the canvas of 8.3.0; boxes against what they enclose."""

import cv2
import numpy as np
import pytest
from toy_dataset import instances

from ultralytics.data.instances import Instances, Segments
from ultralytics.data.polygons import clip_segments, corners_to_xywhr, xywhr_to_corners
from ultralytics.data.warp import GRAY, Scene, Tile, warp_scene


def smooth(h, w, seed):
    """An image whose neighboring pixels differ by a few levels, so that half a pixel is a small difference."""
    rng = np.random.default_rng(seed)
    small = rng.integers(60, 200, (3, 3, 3)).astype(np.float32)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


EMPTY = instances([])


def four_tiles(side=64):
    """Tiles around (70, 60) of a canvas of 128 x 128, the last cut by its border."""
    a, b, c, d = (smooth(h, w, i) for i, (h, w) in enumerate([(48, 64), (60, 50), (64, 40), (64, 64)]))
    return [Tile(a, 6, 12), Tile(b, 70, 0), Tile(c, 30, 60), Tile(d[:, :58], 70, 60)]


def canvas_then_warp(tiles, matrix, out):
    """What 8.3.0 does: a canvas, then one warp. Also how near each pixel is to the edge of a tile."""
    canvas = np.full((128, 128, 3), GRAY, np.uint8)
    inner = np.zeros((128, 128), np.uint8)
    for tile in tiles:
        h, w = tile.image.shape[:2]
        canvas[tile.y : tile.y + h, tile.x : tile.x + w] = tile.image
        inner[tile.y + 2 : tile.y + h - 2, tile.x + 2 : tile.x + w - 2] = 255
    warp, m = (cv2.warpPerspective, matrix) if matrix[2, :2].any() else (cv2.warpAffine, matrix[:2])
    drawn = warp(canvas, m, out[::-1], borderValue=(GRAY, GRAY, GRAY))
    return drawn, warp(inner, m, out[::-1])


def matrix_of(scale=1.0, dx=0.0, dy=0.0, angle=0.0, shear=0.0, tilt=0.0):
    center = np.array([[1, 0, -64], [0, 1, -64], [tilt, 0, 1 - 64 * tilt]])
    rotation = np.eye(3)
    rotation[:2] = cv2.getRotationMatrix2D((0, 0), angle, scale)
    slant = np.array([[1, shear, 0], [0, 1, 0], [0, 0, 1]])
    return np.array([[1, 0, 32 + dx], [0, 1, 32 + dy], [0, 0, 1]]) @ slant @ rotation @ center


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"angle": 10.0}, 2),
        ({"angle": -45.0, "scale": 0.6, "dx": 5.3}, 2),
        ({"angle": 170.0, "scale": 1.4}, 2),
        ({"shear": 0.2, "scale": 0.8, "dy": -4.7}, 2),
        ({"tilt": 0.001}, 2),
        ({"tilt": -0.002, "angle": 30.0, "shear": 0.1}, 2),
        # without rotation the tiles are resized between whole pixels: up to 0.8 px away, at 9 levels a source pixel
        ({}, 7),
        ({"scale": 0.5, "dx": 3.4}, 14),
        ({"scale": 0.8, "dx": -6.2, "dy": 1.9}, 9),
        ({"scale": 1.5, "dx": 4.5, "dy": 9.5}, 5),
    ],
)
def test_pixels_are_those_of_the_canvas(options, tolerance):
    matrix = matrix_of(**options)
    image, _ = warp_scene(Scene(four_tiles(), EMPTY, np.zeros(0, int), (128, 128)), matrix, 1.0, (64, 64))
    expected, inner = canvas_then_warp(four_tiles(), matrix, (64, 64))
    inside, outside = inner == 255, cv2.dilate((expected != GRAY).any(2).astype(np.uint8), np.ones((5, 5))) == 0
    assert inside.sum() > 800
    assert np.abs(image.astype(int) - expected)[inside].max() <= tolerance
    assert (image[outside] == GRAY).all()


def test_tiles_touch_without_a_seam():
    tiles = [Tile(np.full((40, 40, 3), 200, np.uint8), x, y) for y in (24, 64) for x in (24, 64)]
    scene = Scene(tiles, EMPTY, np.zeros(0, int), (128, 128))
    for scale in (0.55, 0.8, 1.0, 1.37):
        image, _ = warp_scene(scene, matrix_of(scale, 0.3, -0.4), scale, (64, 64))
        assert (image[16:48, 16:48] == 200).all(), scale


@pytest.mark.parametrize(
    "options", [{"scale": s, "dx": 2.3, "dy": -3.6} for s in (0.5, 0.77, 1.0, 1.5)] + [{"angle": 90.0}]
)
def test_boxes_lie_on_what_they_enclose(options):
    """A white rectangle in each tile; its box must be where it is drawn, to the pixel."""
    tiles, boxes, owner = [], [], []
    for k, (x, y) in enumerate([(14, 14), (64, 14), (14, 64), (64, 64)]):
        image = np.zeros((50, 50, 3), np.uint8)
        image[12:38, 14:40] = 255
        tiles.append(Tile(image, x, y))
        boxes.append([x + 14, y + 12, x + 40, y + 38])
        owner.append(k)
    for k in range(4):  # one white rectangle at a time
        only = [Tile(t.image if i == k else np.zeros_like(t.image), t.x, t.y) for i, t in enumerate(tiles)]
        scene = Scene(only, instances(boxes[k : k + 1]), np.array([k]), (128, 128))
        image, result = warp_scene(scene, matrix_of(**options), options.get("scale", 1.0), (64, 64))
        if len(result):
            ys, xs = np.nonzero((image[:, :, 0] > 127) & (image[:, :, 0] != GRAY))
            drawn_box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert np.abs(result.boxes[0] - drawn_box).max() <= 1.01
    assert len(result)


@pytest.mark.parametrize(
    ("options", "straight"), [({"angle": 20.0, "scale": 0.7, "dx": 3.3}, False), ({"tilt": 0.002}, False)]
)
def test_boxes_go_through_the_matrix(options, straight):
    boxes = [[10, 20, 60, 50], [70, 60, 100, 110]]
    matrix = matrix_of(**options)
    scene = Scene(four_tiles(), instances(boxes), np.array([0, 3]), (128, 128))
    _, result = warp_scene(scene, matrix, options.get("scale", 1.0), (64, 64))
    for got, (x1, y1, x2, y2) in zip(result.boxes, np.array(boxes)[result.cls.astype(int)], strict=True):
        corners = np.array([[x1, y1, 1], [x2, y1, 1], [x2, y2, 1], [x1, y2, 1]]) @ matrix.T
        xy = corners[:, :2] / corners[:, 2:]
        expected = np.concatenate([xy.min(0), xy.max(0)]).clip(0, 64)
        assert np.abs(got - expected).max() < 1e-4
    assert len(result) == 2


@pytest.mark.parametrize(
    ("box", "scale", "kept"),
    [
        ([40, 40, 60, 60], 1.0, True),
        ([40, 40, 42, 60], 1.0, False),  # 2 px wide is too little
        ([40, 40, 42.5, 60], 1.0, True),
        ([40, 40, 44.2, 60], 0.5, True),
        ([2, 40, 34.4, 60], 1.0, False),  # 2.4 of 32.4 px remain: below a tenth
        ([2, 40, 36, 60], 1.0, True),  # 4 of 34
        ([0, 0, 30, 30], 1.0, False),  # outside
    ],
)
def test_boxes_with_too_little_left_are_dropped(box, scale, kept):
    """The image shows 32..96 of the canvas at zoom 1."""
    tile = Tile(np.zeros((128, 128, 3), np.uint8), 0, 0)
    _, result = warp_scene(
        Scene([tile], instances([box]), np.array([0]), (128, 128)), matrix_of(scale), scale, (64, 64)
    )
    assert len(result) == kept


def resampled_box(polygon, matrix, out):
    """8.3.0's rule: 1000 points of the closed outline, the extent of those inside."""
    closed = np.concatenate([polygon, polygon[:1]])
    at = np.linspace(0, len(closed) - 1, 1000)
    points = np.stack([np.interp(at, np.arange(len(closed)), closed[:, k]) for k in (0, 1)], 1)
    moved = np.concatenate([points, np.ones((1000, 1))], 1) @ matrix.T
    xy = moved[:, :2] / moved[:, 2:]
    xy = xy[((xy >= 0) & (xy <= out)).all(1)]
    return np.concatenate([xy.min(0), xy.max(0)]) if len(xy) else np.zeros(4)


@pytest.mark.parametrize(
    "options", [{"angle": 20.0}, {"scale": 1.4, "angle": 1.0}, {"tilt": 0.002}, {"shear": 0.3, "dx": 20}]
)
def test_polygons_tighten_boxes_as_in_8_3_0(options):
    rng = np.random.default_rng(3)
    polygons = [rng.uniform(5, 120, 2) + rng.uniform(-1, 1, (n, 2)) * 30 for n in (3, 5, 9, 24, 4, 7)]
    polygons = [np.clip(p, 0, 128) for p in polygons]
    boxes = [[*p.min(0), *p.max(0)] for p in polygons]
    matrix = matrix_of(**options)
    tile = Tile(np.zeros((128, 128, 3), np.uint8), 0, 0)
    scene = Scene([tile], instances(boxes, polygons), np.zeros(6, int), (128, 128))
    _, result = warp_scene(scene, matrix, options.get("scale", 1.0), (64, 64))
    assert 2 <= len(result) <= 6
    for got, k in zip(result.boxes, result.cls.astype(int), strict=True):
        expected = resampled_box(polygons[k], matrix, 64)
        assert np.abs(got - expected).max() < 0.6  # 1000 points miss corners by as much
        assert (got[:2] <= expected[:2] + 1e-4).all()  # and never reach further
        assert (got[2:] >= expected[2:] - 1e-4).all()
    assert [len(result.segments.parts(i)[0]) for i in range(len(result))] == [len(polygons[int(k)]) for k in result.cls]


def test_boxes_and_polygons_together():
    """A box without polygon beside one with: each is treated as what it is."""
    square = np.array([[50, 50], [70, 50], [70, 70], [50, 70]], float)
    scene_instances = instances([[40, 40, 60, 60], [50, 50, 70, 70], [60, 60, 80, 80]], [None, square, None])
    tile = Tile(np.zeros((128, 128, 3), np.uint8), 0, 0)
    _, result = warp_scene(Scene([tile], scene_instances, np.zeros(3, int), (128, 128)), matrix_of(), 1.0, (64, 64))
    assert result.boxes.tolist() == [[8, 8, 28, 28], [18, 18, 38, 38], [28, 28, 48, 48]]
    assert [len(result.segments.parts(i)) for i in range(3)] == [0, 1, 0]
    assert result.keep(np.array([False, True, True])).segments.has_outline.tolist() == [True, False]


def test_a_polygon_around_the_whole_image_is_dropped():
    """As in 8.3.0, where no point of the outline is inside."""
    around = np.array([[0, 0], [128, 0], [128, 128], [0, 128]], float)
    tile = Tile(np.zeros((128, 128, 3), np.uint8), 0, 0)
    scene = Scene([tile], instances([[0, 0, 128, 128]], [around]), np.zeros(1, int), (128, 128))
    assert len(warp_scene(scene, matrix_of(), 1.0, (64, 64))[1]) == 0


def whole_canvas(parts, n=1):
    """A scene of one gray tile with the given instances."""
    tile = Tile(np.zeros((128, 128, 3), np.uint8), 0, 0)
    return Scene([tile], parts, np.zeros(n, int), (128, 128))


@pytest.mark.parametrize("options", [{}, {"scale": 0.7, "dx": 3.5}, {"angle": 25.0, "shear": 0.1}, {"tilt": 0.001}])
def test_keypoints_go_through_the_matrix(options):
    matrix = matrix_of(**options)
    keypoints = np.float32([[[60, 60, 2], [70, 64, 1], [66, 50, 0], [127, 127, 2]]])
    scene = whole_canvas(instances([[40, 40, 90, 90]], keypoints=keypoints))
    result = warp_scene(scene, matrix, options.get("scale", 1.0), (64, 64))[1].keypoints[0]
    expected = np.concatenate([keypoints[0, :, :2], np.ones((4, 1))], 1) @ matrix.T
    expected = expected[:, :2] / expected[:, 2:]
    tolerance = 1e-4 if matrix[0, 1] or matrix[2, 0] else 0.8  # tiles without rotation end at whole pixels
    assert np.abs(result[:3, :2] - expected[:3]).max() < tolerance
    assert result[:, 2].tolist() == [2, 1, 0, 0]  # the last is outside
    assert (result[3, :2] <= 64).all()


def test_keypoints_beyond_the_canvas_are_invisible():
    """8.3.0 moves them to the border of the canvas, where they count as visible."""
    keypoints = np.float32([[[-3, 60, 2], [40, 60, 2]]])
    scene = whole_canvas(instances([[0, 40, 90, 90]], keypoints=keypoints))
    result = warp_scene(scene, matrix_of(scale=0.5), 0.5, (64, 64))[1]
    assert result.keypoints[0, :, 2].tolist() == [0, 2]


def box_corners(x, y, w, h, angle):
    return xywhr_to_corners(np.array([[x, y, w, h, angle]])).astype(np.float32)[0]


@pytest.mark.parametrize("options", [{}, {"scale": 0.7, "dx": 3.5}, {"angle": 10.0}])
def test_oriented_boxes_stay_on_what_they_enclose(options):
    corners = box_corners(64, 60, 30, 12, 0.4)
    image = np.zeros((128, 128, 3), np.uint8)
    cv2.fillPoly(image, [np.round(corners * 16).astype(np.int32)], (255, 255, 255), shift=4)
    box = [*corners.min(0), *corners.max(0)]
    scene = Scene([Tile(image, 0, 0)], instances([box], corners=corners[None]), np.zeros(1, int), (128, 128))
    drawn, result = warp_scene(scene, matrix_of(**options), options.get("scale", 1.0), (64, 64))
    ys, xs = np.nonzero(drawn[:, :, 0] == 255)
    center = corners_to_xywhr(result.corners)[0, :2]
    assert np.abs(center - (xs.mean() + 0.5, ys.mean() + 0.5)).max() < 0.8
    _, _, w, h, angle = corners_to_xywhr(result.corners)[0]
    scale = options.get("scale", 1.0)
    assert (w, h) == pytest.approx((30 * scale, 12 * scale), rel=0.02)
    assert angle == pytest.approx(0.4 - np.radians(options.get("angle", 0.0)), abs=0.01)


def test_an_oriented_box_is_whole_while_its_center_is_visible():
    """The image shows 32..96 of the canvas. Of a box whose center is outside, the visible part remains."""
    corners = np.stack([box_corners(x, 64, 40, 16, 0.3) for x in (90, 102, 150)])
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
    scene = whole_canvas(instances(boxes, corners=corners), 3)
    result = warp_scene(scene, matrix_of(), 1.0, (64, 64))[1]
    assert result.cls.tolist() == [0, 1]
    assert np.allclose(result.corners[0], corners[0] - 32, atol=1e-4)
    assert result.corners[0].max() > 64
    visible = clip_segments(Segments.from_polygons([[corners[1] - 32]]), (64, 64)).parts(0)[0]
    _, size, _ = cv2.minAreaRect(visible)
    w, h = corners_to_xywhr(result.corners[1:])[0, 2:4]
    assert sorted((w, h)) == pytest.approx(sorted(size), abs=0.01)
    assert w * h < 0.6 * 40 * 16
    assert (result.boxes <= 64).all()


def test_outlines_are_cut_at_the_canvas_for_masks():
    """What lies beyond the canvas is gray in the image and must not be in the mask."""
    square = np.float32([[-40, 40], [60, 40], [60, 90], [-40, 90]])
    scene = whole_canvas(instances([[0, 40, 60, 90]], [square]))
    exact = warp_scene(scene, matrix_of(scale=0.4), 0.4, (64, 64), clip_outlines=True)[1]
    plain = warp_scene(scene, matrix_of(scale=0.4), 0.4, (64, 64))[1]
    assert np.array_equal(exact.boxes, plain.boxes)
    assert exact.segments.points[:, 0].min() == pytest.approx(exact.boxes[0, 0], abs=1e-4)
    assert plain.segments.points[:, 0].min() < exact.boxes[0, 0] - 10


def test_an_instance_of_several_parts_has_the_box_of_all():
    left, right = (np.float32([[x, 50], [x + 10, 50], [x + 10, 60]]) for x in (40, 80))
    parts = Instances(np.zeros(1, np.float32), np.float32([[40, 50, 90, 60]]), Segments.from_polygons([[left, right]]))
    result = warp_scene(whole_canvas(parts), matrix_of(), 1.0, (64, 64))[1]
    assert result.boxes.tolist() == [[8, 18, 58, 28]]
    assert len(result.segments.parts(0)) == 2
