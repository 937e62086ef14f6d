"""D-LKA for volumes: against the formulas on a reference operator."""

import pytest
import torch
import torch.nn.functional as F

from ultralytics.nn.Addmodules.dlka import deformable_LKA_Attention
from ultralytics.nn.Addmodules.dlka3d import deformable_LKA_Attention3d
from ultralytics.nn.ops import deform_conv3d_reference
from ultralytics.nn.registry import lookup
from ultralytics.nn.tasks import DetectionModel, ModelFileError


def _attention(dim=2, seed=0):
    torch.manual_seed(seed)
    return deformable_LKA_Attention3d(dim).eval()


def _literal(m, x):
    gate = m.spatial_gating_unit
    y = F.gelu(m.proj_1(x))
    near = deform_conv3d_reference(y, gate.conv0.offset_net(y), gate.conv0.deform_conv.weight, padding=2)
    far = deform_conv3d_reference(
        near, gate.conv_spatial.offset_net(near), gate.conv_spatial.deform_conv.weight, padding=9, dilation=3
    )
    return x + m.proj_2(y * gate.conv1(far))


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 4), (4, 1, 5)])
def test_equals_the_formulas_and_their_gradients(size):
    m = _attention().double()
    x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    out, expected = m(x), _literal(m, x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    inputs = (x, *m.parameters())
    result = torch.autograd.grad(out.square().sum(), inputs)
    torch.testing.assert_close(result, torch.autograd.grad(expected.square().sum(), inputs), rtol=1e-9, atol=1e-9)


def test_keys_are_those_of_the_2d_block():
    volumes, maps = _attention(4).state_dict(), deformable_LKA_Attention(4).state_dict()
    assert list(volumes) == list(maps)
    gate = "spatial_gating_unit"
    assert volumes[f"{gate}.conv0.offset_net.weight"].shape == (375, 4, 5, 5, 5)
    assert volumes[f"{gate}.conv0.deform_conv.weight"].shape == (4, 1, 5, 5, 5)
    assert volumes[f"{gate}.conv_spatial.offset_net.bias"].shape == (1029,)
    assert volumes[f"{gate}.conv_spatial.deform_conv.weight"].shape == (4, 1, 7, 7, 7)
    assert volumes[f"{gate}.conv1.weight"].shape == (4, 4, 1, 1, 1)


def test_a_map_is_refused_and_model_files_say_why(tiny, put_in):
    with pytest.raises(ValueError, match=r"takes volumes \(B, C, D, H, W\), not \(1, 2, 4, 5\)"):
        _attention()(torch.zeros(1, 2, 4, 5))
    assert "model files are 2-D" in lookup("deformable_LKA_Attention3d").usage
    with pytest.raises(ModelFileError, match="use deformable_LKA_Attention for maps"):
        DetectionModel(put_in(tiny, 3, [-1, 1, "deformable_LKA_Attention3d", []]), verbose=False)


def test_the_start_can_be_identity():
    m = _attention()
    x = torch.randn(2, 2, 3, 4, 5)
    m.start_as_identity()
    torch.testing.assert_close(m(x), x, rtol=0, atol=0)
