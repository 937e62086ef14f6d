"""Run-length encoding: a mask for paper, and the same text as pycocotools on random masks."""

import numpy as np
import pytest

from ultralytics.utils import rle


def test_by_hand():
    """Columns 0 0, 1 1, 1 0: runs of 2, 3 and 1 pixels; the characters start at "0"."""
    mask = np.array([[0, 1, 1], [0, 1, 0]])
    assert rle.encode(mask) == {"size": [2, 3], "counts": "231"}
    # inverted, the first run is empty
    assert rle.encode(1 - mask) == {"size": [2, 3], "counts": "023O"}  # 1 is written as 1 - 2 = -1


@pytest.mark.parametrize("seed", range(40))
def test_equals_pycocotools(seed):
    reference = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, 120, 2)
    coarse = rng.random((h // 9 + 1, w // 9 + 1)) < rng.random()
    mask = np.kron(coarse, np.ones((9, 9), bool))[:h, :w] ^ (rng.random((h, w)) < 0.02)
    encoded = rle.encode(mask)
    expected = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encoded == {"size": list(expected["size"]), "counts": expected["counts"].decode()}
    np.testing.assert_array_equal(rle.decode(encoded), mask)


@pytest.mark.parametrize("value", [0, 1])
def test_empty_and_full(value):
    mask = np.full((70, 30), value, np.uint8)
    assert (rle.decode(rle.encode(mask)) == value).all()


def test_counts_that_do_not_fill_the_size():
    with pytest.raises(ValueError, match=r"6 pixels, but its size is 2 x 4"):
        rle.decode({"size": [2, 4], "counts": "231"})
