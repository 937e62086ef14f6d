"""Points of letterboxed images, with vectors of the specification."""

from __future__ import annotations

import numpy as np
import pytest

from ultralytics.utils.letterbox import letterbox_window, scale_points


def test_points_of_a_letterbox():
    assert np.allclose(scale_points(np.array([100, 150]), (448, 640), (333, 500)), [78.125, 108.6875])
    assert scale_points(np.array([[-5.0, 700]]), (448, 640), (333, 500)).tolist() == [[0, 333]]  # clipped
    assert letterbox_window((80, 100), (64, 64)) == pytest.approx((0.64, 0, 6.4))
