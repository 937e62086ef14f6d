"""Oriented boxes, letterbox coordinates and outlines, with vectors of the specification."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ultralytics.utils.geometry import letterbox_window, mask_outline, scale_points, xywhr2xyxyxyxy


@pytest.mark.parametrize("as_tensor", [True, False])
def test_corners(as_tensor):
    box = np.array([[50, 50, 40, 20, 0.5]])
    corners = xywhr2xyxyxyxy(torch.from_numpy(box) if as_tensor else box)
    expected = [[62.757, 68.364], [72.346, 50.813], [37.243, 31.636], [27.654, 49.187]]
    assert np.allclose(corners[0], expected, atol=1e-3)
    assert corners.dtype == (torch.float64 if as_tensor else np.float64)
    assert xywhr2xyxyxyxy(np.zeros((0, 5), np.float32)).shape == (0, 4, 2)


def test_points_of_a_letterbox():
    assert np.allclose(scale_points(np.array([100, 150]), (448, 640), (333, 500)), [78.125, 108.6875])
    assert scale_points(np.array([[-5.0, 700]]), (448, 640), (333, 500)).tolist() == [[0, 333]]  # clipped
    assert letterbox_window((80, 100), (64, 64)) == pytest.approx((0.64, 0, 6.4))


def test_outline_of_nothing_and_of_one_pixel():
    mask = np.zeros((5, 5), bool)
    assert mask_outline(mask).shape == (0, 2)
    mask[1, 3] = True
    assert mask_outline(mask).tolist() == [[3, 1]]
