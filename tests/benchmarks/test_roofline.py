"""Bytes and multiply-adds of the operators, against counts by hand and those of the modules."""

import pytest
import roofline
import torch
from measure import Timer
from roofline import Operator, Rates, Work
from torch import nn

from ultralytics.nn.Addmodules.acmix import ACmix
from ultralytics.nn.Addmodules.akconv import AKConv
from ultralytics.nn.Addmodules.dlka import deformable_LKA_Attention

COUNTED = [
    # map 2 * 3 * 20, offsets 2 * 18 * 20; 27 weights; 40 pixels, 3 channels, 9 taps: 4 to sample and 1 to filter
    (roofline.deformable((2, 3, 4, 5), (4, 5), 9), Operator(840, 27, 120, 0, 5400)),
    # map 32, offsets 6 * 4; 6 samples a pixel on 5 channels; 4 pixels of 6 samples
    (roofline.sampled_projection((1, 2, 4, 4), (2, 2), 3, 5), Operator(56, 30, 20, 120, 96)),
    # q, k, v of 48 each; 9 taps, once for the score and once for the value
    (roofline.attention((1, 8, 2, 3), 3), Operator(144, 0, 48, 864, 0)),
    # 8 filters of 2 * 9 weights on 9 pixels
    (roofline.convolution((1, 4, 3, 3), (3, 3), 8, 9, groups=2), Operator(36, 144, 72, 1296, 0)),
]


@pytest.mark.parametrize(("operator", "by_hand"), COUNTED, ids=["deformable", "sampled", "attention", "convolution"])
def test_counts_of_an_operator(operator, by_hand):
    assert operator == by_hand


def test_forward_touches_everything_once_and_backward_writes_the_gradients_too():
    op = Operator(inputs=10, weights=3, outputs=4, matrix=7, scalar=5)
    assert op.forward(itemsize=2) == Work(34, 7, 5)
    assert op.backward(itemsize=2) == Work(2 * (10 + 3 + 4 + 10 + 3), 14, 10)
    assert roofline.total([op, op], 2, backward=False) == Work(68, 14, 10)
    assert roofline.total([op], 2, backward=True) == Work(34 + 60, 21, 15)
    assert roofline.total([op], 2, backward=True).multiply_adds == 36


@pytest.mark.parametrize(
    ("m", "channels", "not_counted"),
    [
        (AKConv(6, 4, 5), 6, 2 * 35 * 4 * 4),  # normalization, four per value
        (ACmix(8, 8, 5, 2), 8, 35 * 2 * 4),  # the position map, the same for all images
    ],
)
def test_blocks_are_counted_as_the_modules_count_themselves(m, channels, not_counted):
    shape = (2, channels, 5, 7)
    out = tuple(m(torch.zeros(shape)).shape)
    assert roofline.total(roofline.block(m, shape), 4, False).multiply_adds == m.multiply_adds(shape, out) - not_counted


def test_dlka_is_counted_as_its_two_convolutions_and_three_projections():
    m, shape = deformable_LKA_Attention(3), (1, 3, 5, 4)
    gate = m.spatial_gating_unit
    expected = sum(conv.multiply_adds(shape, shape) for conv in (gate.conv0, gate.conv_spatial)) + 3 * 3 * 3 * 20
    assert roofline.total(roofline.block(m, shape), 4, False).multiply_adds == expected


def test_an_unknown_module_is_an_error():
    with pytest.raises(TypeError, match="Conv2d is not counted"):
        roofline.block(nn.Conv2d(1, 1, 1), (1, 1, 2, 2))


@pytest.mark.parametrize(
    ("work", "dtype", "seconds", "what"),
    [
        (Work(200, 80, 10), torch.float32, 8.0, "products"),
        (Work(300, 80, 10), torch.bfloat16, 3.0, "bytes"),
        (Work(300, 80, 50), torch.bfloat16, 5.0, "interpolation"),  # which has no faster dtype
    ],
)
def test_the_slowest_of_three_sets_the_limit(work, dtype, seconds, what):
    rates = Rates(100.0, {torch.float32: 10.0, torch.bfloat16: 40.0})
    assert rates.least(work, dtype) == (seconds, what)


def test_rates_are_measured_in_every_dtype_target_for_and_float32():
    rates = roofline.measure_rates(Timer("cpu"), [torch.bfloat16], 2, tiny=True)
    assert set(rates.products) == {torch.float32, torch.bfloat16}
    assert rates.bytes > 0 and min(rates.products.values()) > 0
    assert str(Rates(2e9, {torch.float32: 1.5e12})) == (
        "copy 2.0 GB/s, read and written; products float32 1,500.0 G multiply-adds/s"
    )
    assert roofline.describe(Work(2_000_000, 30_000, 2_000)) == "2.0 MB, 0.032 M multiply-adds"
