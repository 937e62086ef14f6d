"""Convolutions in oneDNN's layout compute what the blocks compute; unsupported modules are left unchanged."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ultralytics.nn import fuse
from ultralytics.nn.inference import onednn_fusion
from ultralytics.nn.inference.onednn_fusion import fuse_onednn
from ultralytics.nn.modules.conv import Conv, DWConv

needs_onednn = pytest.mark.skipif(
    not onednn_fusion.is_available(), reason="this PyTorch lacks oneDNN's fused convolution"
)


def fused(block):
    torch.manual_seed(0)
    net = nn.Sequential(block)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.running_mean)
            nn.init.uniform_(m.running_var, 0.5, 2)
    fuse.fuse_layers(net.eval().requires_grad_(False))
    return net.to(memory_format=torch.channels_last)


@needs_onednn
@pytest.mark.parametrize(
    "block",
    [
        Conv(8, 12),
        Conv(8, 12, 3, 2),
        Conv(8, 12, (1, 5), d=2),
        Conv(8, 8, 3, g=4),
        DWConv(8, 8, 5),
        Conv(8, 12, 3, act=False),
    ],
    ids=["1x1", "3x3 stride 2", "wide, dilated", "groups", "depthwise", "without activation"],
)
@pytest.mark.parametrize("shape", [(1, 8, 16, 16), (3, 8, 7, 13)], ids=str)
def test_same_result_at_every_size(block, shape):
    net = fused(deepcopy(block))
    x = torch.randn(shape).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = net(x)
        assert fuse_onednn(net) == 1
        output = net(x)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: nn.Sequential(Conv(4, 4)), "not fused"),
        (lambda: fused(Conv(4, 4, act=nn.ReLU())), "another activation"),
        (lambda: fused(Conv(4, 4)).double(), "another dtype"),
        (lambda: nn.Sequential(nn.Conv2d(4, 4, 1)), "a bare convolution"),
    ],
)
def test_unsupported_modules_are_unchanged(make, why):
    assert fuse_onednn(make()) == 0, why


def without_activation(x, weight, bias, padding, stride, dilation, groups, *_):
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


@pytest.mark.parametrize(
    "operators",
    [
        SimpleNamespace(),
        SimpleNamespace(
            _reorder_convolution_weight=lambda weight, *_: weight, _convolution_pointwise=without_activation
        ),
    ],
    ids=["missing", "wrong values"],
)
def test_operators_that_do_not_work_are_not_used(monkeypatch, operators):
    monkeypatch.setattr(torch.ops, "mkldnn", operators)
    onednn_fusion.is_available.cache_clear()
    try:
        assert fuse_onednn(fused(Conv(4, 4))) == 0
    finally:
        onednn_fusion.is_available.cache_clear()
