"""D-LKA: its blocks against the same blocks on torchvision's deformable convolution."""

import copy
import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from ultralytics.nn.Addmodules.dlka import (
    Bottleneck_DLKA,
    C2f_DLKA,
    Conv_DLKA,
    DeformConv,
    deformable_LKA,
    deformable_LKA_Attention,
)
from ultralytics.nn.registry import lookup
from ultralytics.utils import ROOT


def _attention(dim=3, seed=0):
    torch.manual_seed(seed)
    return deformable_LKA_Attention(dim).eval()


def _torchvision(x, m, padding, stride=1, dilation=1):
    ops = pytest.importorskip("torchvision.ops")
    return ops.deform_conv2d(x, m.offset_net(x), m.deform_conv.weight, None, stride, padding, dilation)


def _literal(m, x):
    """deformable_LKA_Attention by the paper's formulas."""
    y = nn.functional.gelu(m.proj_1(x))
    gate = m.spatial_gating_unit
    attention = gate.conv1(_torchvision(_torchvision(y, gate.conv0, 2), gate.conv_spatial, 9, 1, 3))
    return x + m.proj_2(y * attention)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 9), (12, 5)])
def test_attention_equals_the_formulas_and_their_gradients(size):
    m = _attention().double()
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    out, expected = m(x), _literal(m, x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    inputs = (x, *m.parameters())
    result = torch.autograd.grad(out.square().sum(), inputs)
    torch.testing.assert_close(result, torch.autograd.grad(expected.square().sum(), inputs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("options", [{}, {"kernel_size": (3, 5), "padding": 4, "stride": 2, "dilation": 2}])
def test_deform_conv_of_any_groups_equals_torchvision(groups, options):
    torch.manual_seed(1)
    m = DeformConv(4, groups, **options)
    assert m.deform_conv.weight.shape == (4, 4 // groups, *options.get("kernel_size", (3, 3)))
    x = torch.randn(2, 4, 9, 8)
    expected = _torchvision(x, m, m.padding, m.stride, m.dilation)
    torch.testing.assert_close(m(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_deform_conv_of_groups_has_half_types_and_autocast(dtype):
    pytest.importorskip("torchvision.ops")
    torch.manual_seed(2)
    m, x = DeformConv(4, 2), torch.randn(1, 4, 9, 8)
    expected = m(x)
    with torch.autocast("cpu", dtype):
        auto = m(x)
    half = copy.deepcopy(m).to(dtype)(x.to(dtype))
    assert half.dtype == dtype
    for result in (auto, half):
        assert (result.float() - expected).abs().max() < 2e-2 * expected.abs().max()


@pytest.mark.parametrize("wild", [math.nan, math.inf, -math.inf, 1e9, 3e38])
def test_wild_offsets_of_groups_read_zeros(wild):
    # a NaN made torchvision read far outside of a map of odd width and so ended the process
    pytest.importorskip("torchvision.ops")
    m = DeformConv(4, 2)
    m.offset_net.weight.data.zero_()
    m.offset_net.bias.data.zero_()[8] = wild  # the row of the tap in the middle
    x = torch.ones(1, 4, 301, 301, requires_grad=True)
    out = m(x)
    without = m.deform_conv.weight.detach().clone()
    without[..., 1, 1] = 0
    torch.testing.assert_close(out, nn.functional.conv2d(x, without, None, 1, 1, 1, 2), rtol=1e-4, atol=1e-5)
    out.sum().backward()
    assert all(t.grad.isfinite().all() for t in (x, *m.parameters()))


_TRACE = """
import torch
from ultralytics.nn.Addmodules.dlka import DeformConv
m, x = DeformConv(4, 2).eval(), torch.rand(1, 4, 5, 6)
torch.testing.assert_close(torch.jit.trace(m, (x,), check_trace=False)(x), m(x))
"""


def test_deform_conv_of_groups_is_traced_by_a_process_that_has_not_used_it():
    # an operator that torchvision calls at its import is none that a graph can hold
    pytest.importorskip("torchvision.ops")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _TRACE], capture_output=True, text=True, cwd=ROOT.parent
    )
    assert done.returncode == 0, done.stderr


def test_keys_of_the_checkpoint():
    shapes = {k: tuple(v.shape) for k, v in _attention(4).state_dict().items()}
    gate = "spatial_gating_unit"
    assert shapes == {
        "proj_1.weight": (4, 4, 1, 1),
        "proj_1.bias": (4,),
        f"{gate}.conv0.offset_net.weight": (50, 4, 5, 5),
        f"{gate}.conv0.offset_net.bias": (50,),
        f"{gate}.conv0.deform_conv.weight": (4, 1, 5, 5),
        f"{gate}.conv_spatial.offset_net.weight": (98, 4, 7, 7),
        f"{gate}.conv_spatial.offset_net.bias": (98,),
        f"{gate}.conv_spatial.deform_conv.weight": (4, 1, 7, 7),
        f"{gate}.conv1.weight": (4, 4, 1, 1),
        f"{gate}.conv1.bias": (4,),
        "proj_2.weight": (4, 4, 1, 1),
        "proj_2.bias": (4,),
    }
    assert "offset_net.bias" not in DeformConv(2, 2, bias=False).state_dict()


@pytest.mark.parametrize(("shortcut", "c2", "adds"), [(True, 4, True), (False, 4, False), (True, 6, False)])
def test_bottleneck_adds_its_input_only_when_it_can(shortcut, c2, adds):
    m = Bottleneck_DLKA(4, c2, shortcut).eval()
    x = torch.randn(1, 4, 5, 6)
    expected = m.cv2(m.cv1(x)) + (x if adds else 0)
    torch.testing.assert_close(m(x), expected)


def test_c2f_has_its_bottlenecks():
    m = C2f_DLKA(6, 8, 2, True)
    assert [type(b) for b in m.m] == [Bottleneck_DLKA, Bottleneck_DLKA]
    assert m.m[0].cv1.conv.kernel_size == (3, 3)
    assert m.m[0].cv1.conv.weight.shape[:2] == (4, 4)
    assert m(torch.randn(1, 6, 7, 5)).shape == (1, 8, 7, 5)


def test_conv_dlka_has_the_size_of_a_conv():
    assert Conv_DLKA(4, 6, 3, 2)(torch.randn(2, 4, 9, 6)).shape == (2, 6, 5, 3)


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), 1e9])
def test_wild_offsets_do_not_read_outside(wild):
    m = _attention()
    m.spatial_gating_unit.conv0.offset_net.bias.data[3] = wild
    x = torch.randn(2, 3, 6, 5, requires_grad=True)
    out = m(x)
    out.sum().backward()
    assert out.shape == x.shape
    assert wild != wild or (out.isfinite().all() and x.grad.isfinite().all())


@pytest.mark.parametrize(
    ("name", "cls", "signature"),
    [
        ("deformable_LKA_Attention", deformable_LKA_Attention, ("c1",)),
        ("deformable_LKA", deformable_LKA, ("c1",)),
        ("C2f_DLKA", C2f_DLKA, ("c1", "c2", "n", "*args")),
    ],
)
def test_model_files_know_it(name, cls, signature):
    assert lookup(name).cls is cls
    assert lookup(name).signature == signature
