"""Changes to built networks: merged normalizations, activations by name, settings of BatchNorm."""

import pytest
import torch
from torch import nn

from ultralytics import YOLO
from ultralytics.nn import fuse
from ultralytics.nn.modules import Conv, DWConv


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float32, 1e-5), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_fuse_conv_and_bn(bias, dtype, tolerance, layout):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 4, (3, 5), 2, 1, 2, groups=2, bias=bias).to(dtype=dtype, memory_format=layout)
    bn = nn.BatchNorm2d(4, eps=1e-3).eval()
    for tensor in (bn.weight, bn.bias, bn.running_mean, bn.running_var):
        nn.init.uniform_(tensor, 0.5, 1.5)
    x = torch.randn(2, 6, 12, 13)
    expected = bn(conv.float()(x))
    fused = fuse.fuse_conv_and_bn(conv.to(dtype), bn.to(dtype))
    assert fused.weight.dtype == dtype
    assert fused.weight.is_contiguous(memory_format=layout)
    assert not any(p.requires_grad for p in fused.parameters())
    torch.testing.assert_close(fused(x.to(dtype)).float(), expected, rtol=tolerance, atol=tolerance)


def test_fuse_network():
    torch.manual_seed(0)
    net = nn.Sequential(Conv(3, 4, 3), nn.Sequential(DWConv(4, 4, 3, act=False)), nn.BatchNorm2d(4)).eval()
    for key, tensor in net.state_dict().items():
        if "running_" in key:
            tensor.uniform_(0.5, 1.5)
    x = torch.randn(1, 3, 6, 6)
    expected = net(x)
    assert not fuse.is_fused(net)
    fuse.fuse_layers(net)
    assert fuse.is_fused(net)
    assert sorted(k for k in net.state_dict() if "bn" in k) == []
    torch.testing.assert_close(net(x), expected)
    assert net[0].act.inplace
    assert not Conv.default_act.inplace  # other networks share that one


def test_set_activation():
    net = nn.Sequential(Conv(1, 1), nn.Sequential(Conv(1, 1)), Conv(1, 1, act=False), nn.SiLU())
    fuse.set_activation(net, nn.ReLU())
    assert [type(m.act).__name__ for m in (net[0], net[1][0], net[2])] == ["ReLU", "ReLU", "Identity"]
    assert net[0].act is net[1][0].act
    assert type(net[3]) is nn.SiLU
    assert type(Conv(1, 1).act) is nn.SiLU


def test_initialize_weights():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.SiLU(), nn.Conv2d(1, 1, 1))
    before = net[3].weight.clone()
    fuse.initialize_weights(net)
    assert (net[0].eps, net[0].momentum) == (1e-3, 0.03)
    assert (net[1].inplace, net[2].inplace) == (True, False)
    assert torch.equal(net[3].weight, before)


def randomize(network):
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point() and ("bn" in key or "running" in key):
            tensor.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("name", ["yolo11n.yaml", "yolov10n.yaml", "yolov6n.yaml", "yolov9t.yaml"])
def test_what_was_fused_can_be_restored_exactly(name):
    torch.manual_seed(0)
    network = randomize(YOLO(name).model)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    restored = fuse.unfused_copy(network.fuse(verbose=False))
    assert network.is_fused() and not restored.is_fused()
    after = restored.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    assert all(p.requires_grad for p in restored.parameters())


@pytest.mark.parametrize("changed", ["forgotten", "edited"])
def test_otherwise_new_normalizations_compute_the_same(changed, capsys):
    torch.manual_seed(0)
    network = randomize(YOLO("yolov8n.yaml").model).fuse(verbose=False)
    if changed == "forgotten":
        fuse.forget_unfused(network)
    else:
        network.model[0].conv.weight.mul_(2)
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = network(x)[0]
        restored = fuse.unfused_copy(network)
        assert not restored.is_fused()
        torch.testing.assert_close(restored(x)[0], expected, rtol=1e-3, atol=1e-3)
    count = sum(isinstance(m, Conv) for m in network.modules()) if changed == "forgotten" else 1
    assert f"{count} convolutions get new normalizations" in capsys.readouterr().out
