"""Convolution blocks: against PyTorch's own layers; against the official package in test_block.py."""

import copy
import pickle

import pytest
import torch
from torch import nn

from ultralytics.nn.modules.conv import Concat, Conv, DWConv, GhostConv, autopad


@pytest.mark.parametrize(
    ("k", "p", "d", "expected"),
    [
        (1, None, 1, 0),
        (3, None, 1, 1),
        (4, None, 1, 2),  # the output of an even kernel is one larger
        (3, None, 2, 2),
        (3, 0, 1, 0),  # explicit padding is returned, zero included
        ([3, 5], None, 1, [1, 2]),
        ((3, 5), None, 3, [3, 6]),
    ],
)
def test_autopad(k, p, d, expected):
    assert autopad(k, p, d) == expected


def test_conv_is_convolution_normalization_activation():
    torch.manual_seed(0)
    block = Conv(3, 4, (3, 5), 2, d=2).eval()
    block.bn.running_mean.normal_()
    block.bn.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 3, 11, 9)
    y = nn.functional.conv2d(x, block.conv.weight, stride=2, padding=(2, 4), dilation=2)
    y = (y - block.bn.running_mean[:, None, None]) / (block.bn.running_var[:, None, None] + block.bn.eps).sqrt()
    torch.testing.assert_close(block(x), y * y.sigmoid())
    assert block.conv.bias is None


@pytest.mark.parametrize(("act", "expected"), [(True, nn.SiLU), (False, nn.Identity), (nn.ReLU(), nn.ReLU)])
def test_activation_choice(act, expected):
    assert type(Conv(1, 1, act=act).act) is expected


def test_default_activation_is_shared():
    assert Conv(1, 1).act is Conv(1, 2).act
    assert Conv(1, 1).act.inplace is False  # in place needs a copy in training
    two = pickle.loads(pickle.dumps(copy.deepcopy(nn.Sequential(Conv(1, 1), Conv(1, 1)))))
    assert two[0].act is two[1].act


@pytest.mark.parametrize(("c1", "c2", "groups"), [(6, 6, 6), (6, 9, 3), (4, 9, 1)])
def test_depthwise_groups(c1, c2, groups):
    assert DWConv(c1, c2, 3).conv.groups == groups


def test_ghost_conv_keeps_its_first_half():
    torch.manual_seed(0)
    block = GhostConv(4, 6, 3, 2).eval()
    x = torch.randn(1, 4, 7, 8)
    y = block(x)
    assert y.shape == (1, 6, 4, 4)
    torch.testing.assert_close(y[:, :3], block.cv1(x))
    torch.testing.assert_close(y[:, 3:], block.cv2(block.cv1(x)))


@pytest.mark.parametrize(("dimension", "shape"), [(1, (2, 5, 4, 4)), (-3, (2, 5, 4, 4))])
def test_concat(dimension, shape):
    maps = [torch.zeros(2, 2, 4, 4), torch.ones(2, 3, 4, 4)]
    y = Concat(dimension)(maps)
    assert y.shape == shape
    assert y.sum() == 96
    assert len(maps) == 2


def test_concat_output_channels():
    assert Concat.out_channels([2, 3, 4], [1]) == 9
    assert Concat.out_channels(7, [1]) == 7
