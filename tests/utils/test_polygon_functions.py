"""Polygons: resampling and bounding boxes."""

from __future__ import annotations

import numpy as np

from ultralytics.utils.polygons import resample_segments, segment2box, segments2boxes


def test_polygons():
    triangle = np.array([[0, 0], [1, 0], [1, 1]], np.float32)
    (points,) = resample_segments([triangle], n=5)
    np.testing.assert_allclose(points, [(0, 0), (0.75, 0), (1, 0.5), (0.75, 0.75), (0, 0)])
    assert points.dtype == np.float32 and len(triangle) == 3
    np.testing.assert_allclose(segments2boxes([triangle, triangle * 2]), [(0.5, 0.5, 1, 1), (1, 1, 2, 2)])
    assert segments2boxes([]).shape == (0, 4)
    assert segment2box(np.array([(-5.0, 2), (3, 4), (6, 8), (99, 1)]), 50, 50).tolist() == [3, 4, 6, 8]
    assert segment2box(np.array([(-5.0, 2)]), 50, 50).tolist() == [0, 0, 0, 0]
