"""The baselines compute the same results as this package's modules, so that comparing their times is fair."""

import copy

import pytest
import torch
from baselines import BaselineAKConv, baseline, torchvision_deform

from ultralytics.nn.Addmodules.acmix import ACmix
from ultralytics.nn.Addmodules.akconv import AKConv
from ultralytics.nn.Addmodules.dlka import deformable_LKA_Attention

BLOCKS = {
    "akconv": lambda: AKConv(3, 4, 5, stride=2),
    "acmix": lambda: ACmix(4, 8, 5, 2),
    "dlka": lambda: deformable_LKA_Attention(3),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_output_and_gradients_equal_the_modules(name):
    torch.manual_seed(0)
    m = BLOCKS[name]().double()
    if name == "akconv":
        torch.nn.init.normal_(m.p_conv.weight, std=0.5)
    x = torch.randn(2, 4 if name == "acmix" else 3, 6, 7, dtype=torch.float64, requires_grad=True)
    out = m(x)
    parameters = dict(m.named_parameters())
    grads = torch.autograd.grad(out.square().sum(), (x, *parameters.values()), allow_unused=True)
    replaced = baseline(copy.deepcopy(m))
    expected = replaced(x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-9)
    (grad_x,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(grads[0], grad_x, rtol=1e-8, atol=1e-8)


def test_a_network_keeps_its_layers_and_weights():
    m = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), AKConv(3, 4, 3))
    m[1].i, m[1].f = 7, -1
    weight = m[1].conv[0].weight
    replaced = baseline(m)
    assert isinstance(replaced[1], BaselineAKConv)
    assert (replaced[1].i, replaced[1].f) == (7, -1)
    assert replaced[1].conv[0].weight is weight


def test_torchvisions_operator_accepts_bfloat16():
    torch.manual_seed(0)
    x, offset, weight = torch.randn(1, 2, 4, 4), torch.randn(1, 18, 4, 4), torch.randn(2, 1, 3, 3)
    values = [t.bfloat16() for t in (x, offset, weight)]
    result = torchvision_deform(*values, 1, 1, 1)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result, torchvision_deform(*(v.float() for v in values), 1, 1, 1).bfloat16())
