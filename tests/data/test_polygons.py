"""Clipping, masks and rectangles, compared with brute force and OpenCV."""

import cv2
import numpy as np
import pytest

from ultralytics.data.instances import Segments
from ultralytics.data.polygons import (
    clip_segments,
    corners_to_xywhr,
    fill_polygons,
    instance_masks,
    overlap_mask,
    resample_polygon,
    split_bridges,
    xywhr_to_corners,
)


def area(polygon):
    x, y = polygon.T.astype(np.float64)
    return abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        ([(-5, 2), (5, 2), (5, 8), (-5, 8)], 30),  # left half outside
        ([(-5, -5), (15, -5), (15, 25), (-5, 25)], 200),  # around the image
        ([(2, 2), (8, 2), (8, 8)], 18),  # inside
        ([(-4, 5), (5, -4), (14, 5), (5, 14)], 114),  # a diamond of 162 without three tips of 16
        ([(12, 2), (15, 2), (15, 8)], 0),  # outside
        ([(5, 19), (9, 23), (1, 23)], 1),  # only the tip
    ],
)
def test_clip(polygon, expected):
    """The image has 20 rows and 10 columns."""
    clipped = clip_segments(Segments.from_polygons([[np.float32(polygon)]]), (20, 10))
    assert sum(area(part) for part in clipped.parts(0)) == pytest.approx(expected)
    assert len(clipped) == 1
    if len(clipped.points):
        assert (clipped.points >= 0).all()
        assert (clipped.points <= (10, 20)).all()


def test_clip_keeps_what_belongs_to_whom():
    inside, outside, half = ([(1, 1), (3, 1), (3, 3)], [(20, 1), (23, 1), (23, 3)], [(8, 2), (12, 2), (12, 6), (8, 6)])
    parts = [[np.float32(outside)], [np.float32(inside), np.float32(half)], [], [np.float32(half), np.float32(outside)]]
    clipped = clip_segments(Segments.from_polygons(parts), (10, 10))
    assert [[area(p) for p in clipped.parts(i)] for i in range(4)] == [[], [2, 8], [], [8]]
    untouched = Segments.from_polygons([[np.float32(inside)]])
    assert clip_segments(untouched, (10, 10)) is untouched


def test_clip_of_random_polygons_fills_the_same_pixels():
    rng = np.random.default_rng(0)
    for n in (3, 5, 12):
        polygon = (rng.uniform(-60, 160, (n, 2))).astype(np.float32)
        clipped = clip_segments(Segments.from_polygons([[polygon]]), (100, 100))
        large = np.zeros((300, 300), np.uint8)
        cv2.fillPoly(large, [np.round((polygon + 100) * 16).astype(np.int32)], 1, shift=4)
        small = np.zeros((300, 300), np.uint8)
        for part in clipped.parts(0):
            cv2.fillPoly(small, [np.round((part + 100) * 16).astype(np.int32)], 1, shift=4)
        inner = slice(102, 198)  # pixels on the border are drawn by either
        assert (large[inner, inner] != small[inner, inner]).mean() < 0.01
        assert not small[:99].any()


def test_a_spike_is_no_bridge():
    """A line passed twice that leads to a single point stays."""
    spike = np.float32([[0, 0], [4, 0], [8, 0], [4, 0], [4, 4], [0, 4]])
    assert len(split_bridges(spike)) == 1


def test_a_hole_stays_a_hole():
    outer, hole = [(0, 0), (40, 0), (40, 40), (0, 40)], [(10, 10), (10, 30), (30, 30), (30, 10)]
    parts = split_bridges(np.float32([*outer, outer[0], *hole, hole[0]]))
    assert len(parts) == 2
    mask = fill_polygons(parts, (41, 41))
    assert (mask[12:28, 12:28] == 0).all()
    assert mask[5, 5] == mask[35, 20] == 1


def test_resample():
    points = resample_polygon(np.float32([[0, 0], [1, 0], [1, 1]]), 5)
    assert points.tolist() == [[0, 0], [0.75, 0], [1, 0.5], [0.75, 0.75], [0, 0]]


@pytest.mark.parametrize(
    ("shape", "ratio"), [((64, 96), 4), ((64, 96), 1), ((64, 96), 2), ((64, 96), 3), ((50, 70), 4)]
)
def test_masks_are_filled_and_then_resized(shape, ratio):
    """Also where a polygon reaches over the border, and where the ratio does not divide the image's sides."""
    rng = np.random.default_rng(1)
    polygons = [rng.uniform(-20, 110, (rng.integers(3, 9), 2)).astype(np.float32) for _ in range(12)]
    masks = instance_masks(Segments.from_polygons([[p] for p in polygons] + [[]]), shape, ratio)
    assert masks.shape == (13, shape[0] // ratio, shape[1] // ratio)
    assert not masks[-1].any()
    for mask, polygon in zip(masks, polygons, strict=False):
        full = np.zeros(shape, np.uint8)
        cv2.fillPoly(full, [resample_polygon(polygon).astype(np.int32)], 1)
        expected = cv2.resize(full, (shape[1] // ratio, shape[0] // ratio))
        assert np.array_equal(mask, expected)


def test_overlap():
    """The example of the specification: the larger instance comes first and is below."""
    squares = [np.float32([[a, a], [b, a], [b, b], [a, b]]) for a, b in ((10, 20), (0, 60))]
    masks = instance_masks(Segments.from_polygons([[s] for s in squares]), (64, 64), 4)
    joined, order = overlap_mask(masks)
    assert order.tolist() == [1, 0]
    assert (joined.shape, joined.dtype) == ((1, 16, 16), np.uint8)
    assert (joined[0, 3, 3], joined[0, 10, 10], joined[0, 15, 15]) == (2, 1, 0)
    empty, order = overlap_mask(masks[:0])
    assert (empty.shape, empty.any(), len(order)) == ((1, 16, 16), False, 0)


def test_more_than_255_instances():
    masks = np.zeros((300, 1, 300), np.uint8)
    masks[np.arange(300), 0, np.arange(300)] = 1
    joined, _ = overlap_mask(masks)
    assert joined.dtype == np.int32
    assert joined[0, 0].tolist() == list(range(1, 301))


def test_xywhr_round_trip():
    """8.3.0's convention: the angle from the x axis towards the y axis, above 0 and at most a quarter turn."""
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(-50, 300, (500, 2)), rng.uniform(2, 200, (500, 2)),
                            rng.uniform(1e-4, np.pi / 2, (500, 1))], 1)  # fmt: skip
    corners = xywhr_to_corners(boxes)
    assert np.allclose(corners_to_xywhr(corners), boxes, atol=1e-9)
    shuffled = np.stack([c[rng.permutation(4)] for c in corners])
    assert np.allclose(corners_to_xywhr(shuffled), boxes, atol=1e-9)
    assert np.allclose(np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1), boxes[:, 3])


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ([(10, 10), (30, 10), (30, 20), (10, 20)], (20, 15, 10, 20, np.pi / 2)),  # along the axes: a quarter turn
        ([(0, 0), (10, 10), (8, 12), (-2, 2)], (4, 6, 200**0.5, 8**0.5, np.pi / 4)),
        ([(5, 5)] * 4, (5, 5, 0, 0, np.pi / 2)),
        ([(0, 0), (4, 0), (4, 0), (0, 0)], (2, 0, 0, 4, np.pi / 2)),
    ],
)
def test_xywhr_by_hand(corners, expected):
    assert np.allclose(corners_to_xywhr(np.float64([corners])), [expected])


def test_xywhr_of_any_quadrilateral_is_the_smallest_rectangle():
    rng = np.random.default_rng(0)
    for points in rng.uniform(0, 100, (50, 4, 2)).astype(np.float32):
        ((x, y, w, h, angle),) = corners_to_xywhr(points[None])
        _, size, _ = cv2.minAreaRect(points)
        assert w * h == pytest.approx(size[0] * size[1], rel=1e-4)
        local = (points - (x, y)) @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        assert (np.abs(local) <= np.array([w, h]) / 2 + 1e-4).all()
