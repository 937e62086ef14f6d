"""Blocks of all families beside YOLOv8 and YOLO11: against official figures, by hand, merged, and bad arguments."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ultralytics.nn import fuse
from ultralytics.nn.modules import activation, conv, transformer
from ultralytics.nn.modules import block as blocks

NUM_BLOCKS = 46
NUM_GUIDED = 6
FILES = {"conv": conv, "block": blocks, "transformer": transformer, "activation": activation}


def build(families, i):
    file, name, args, shape = families.BLOCKS[i]
    torch.manual_seed(0)
    return getattr(FILES[file], name)(*args), shape


def test_table_is_complete(families, families_golden):
    assert len(families.BLOCKS) == len(families_golden["blocks"]) == NUM_BLOCKS
    assert len(families.GUIDED) == len(families_golden["guided"]) == NUM_GUIDED


@pytest.mark.parametrize("i", range(NUM_BLOCKS))
def test_equals_official(families, families_golden, assert_fingerprint, i):
    block, shape = build(families, i)
    expected = families_golden["blocks"][i]
    assert families.keys_sha256(block) == expected["keys_sha256"]
    # the same random numbers in the same order
    assert sum(p.double().sum().item() for p in block.parameters()) == pytest.approx(expected["start_sum"], abs=1e-6)
    with torch.no_grad():
        outputs = families.tensors(families.stir(block)(families.image(shape)))
    assert len(outputs) == len(expected["outputs"])
    for output, figures in zip(outputs, expected["outputs"], strict=True):
        assert_fingerprint(output, figures)


@pytest.mark.parametrize("i", range(NUM_BLOCKS))
def test_gradients_memory_layout_and_half(families, i):
    block, shape = build(families, i)
    families.stir(block)
    x = families.image(shape).requires_grad_()
    expected = torch.cat([y.flatten() for y in families.tensors(block(x))])
    expected.square().sum().backward()
    assert x.grad.any()
    assert not [name for name, p in block.named_parameters() if p.grad is None or not p.grad.any()]
    with torch.no_grad():
        half = copy.deepcopy(block).bfloat16()(x.bfloat16())
        assert {y.dtype for y in families.tensors(half)} == {torch.bfloat16}
        half = torch.cat([y.float().flatten() for y in families.tensors(half)])
        # eight bits of mantissa through up to a dozen layers
        assert (half - expected).abs().max() < 0.05 * expected.abs().max() + 0.02
        if x.ndim == 4:
            other = copy.deepcopy(block).to(memory_format=torch.channels_last)
            y = other(x.contiguous(memory_format=torch.channels_last))
            y = torch.cat([y.flatten() for y in families.tensors(y)])
            torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("i", range(NUM_BLOCKS))
def test_merged_layers_compute_the_same(families, i):
    block, shape = build(families, i)
    families.stir(block)
    x = families.image(shape)
    with torch.no_grad():
        expected = families.tensors(block(x))
        fuse.fuse_layers(block)
        assert fuse.is_fused(block)
        for module in (block, copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
            torch.testing.assert_close(families.tensors(module(x)), expected, rtol=1e-4, atol=1e-5)


def test_merged_layers_are_one_convolution():
    for layer in (conv.RepConv(4, 4, bn=True), blocks.RepVGGDW(4), conv.Conv2(4, 4), conv.ConvTranspose(4, 4)):
        fuse.fuse_layers(layer.eval())
        kernels = [name for name, p in layer.named_parameters() if p.ndim == 4]
        assert len(kernels) == 1, kernels
        assert not any(isinstance(m, nn.BatchNorm2d) for m in layer.modules())


def test_deployed_rep_conv_is_the_merged_form():
    torch.manual_seed(0)
    layer, deployed = conv.RepConv(4, 6, s=2, g=2).eval(), conv.RepConv(4, 6, s=2, g=2, deploy=True).eval()
    x = torch.randn(1, 4, 7, 6)
    expected = layer(x)
    layer.fuse_convs()
    deployed.load_state_dict(layer.state_dict())
    torch.testing.assert_close(deployed(x), expected)


@pytest.mark.parametrize("options", [{"k": 5}, {"p": 0}, {"d": 2}])
def test_rep_conv_refuses_other_kernels(options):
    with pytest.raises(ValueError, match="RepConv needs k=3, p=1, d=1, got"):
        conv.RepConv(4, 4, **options)


def test_focus_by_hand():
    layer = conv.Focus(1, 4, act=False).eval()
    nn.init.zeros_(layer.conv.conv.weight)
    for channel in range(4):
        layer.conv.conv.weight.data[channel, channel] = 1
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    y = layer(x) * (1 + layer.conv.bn.eps) ** 0.5
    torch.testing.assert_close(y[0, :, 0, 0], torch.tensor([0.0, 4.0, 1.0, 5.0]))


def test_spatial_attention_kernel():
    with pytest.raises(ValueError, match="kernel size of spatial attention is 3 or 7, got 256"):
        conv.CBAM(8, 256)


@pytest.mark.parametrize("i", range(NUM_GUIDED))
def test_text_guided_blocks_equal_official(families, families_golden, i):
    name, args, shapes = families.GUIDED[i]
    expected = families_golden["guided"][i]
    block = getattr(blocks, name)(*args)
    assert families.keys_sha256(block) == expected["keys_sha256"]
    output = families.guided_output(block, shapes)
    assert output["shape"] == expected["output"]["shape"]
    assert output["samples"] == pytest.approx(expected["output"]["samples"], rel=1e-5, abs=2e-5)


def test_text_guided_block_needs_a_width_for_its_heads():
    with pytest.raises(ValueError, match="got ec=128, c2=8, nh=1"):
        blocks.MaxSigmoidAttnBlock(8, 8)


def test_cb_fuse_equals_official(families, families_golden, assert_fingerprint):
    assert_fingerprint(blocks.CBFuse([1, 0])(families.fuse_inputs()), families_golden["fuse"])


def test_cb_fuse_by_hand():
    last = torch.randn(1, 2, 4, 6)
    maps = [torch.randn(1, 3, 2, 3), torch.randn(1, 2, 2, 3)]
    expected = last + maps[1].repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(blocks.CBFuse([1])([maps, last]), expected)


@pytest.mark.parametrize(
    ("args", "channels"), [([3, 64, 1, True, 1], 64), ([64, 64, 1, False, 3], 256), ([8, 4, 2, False, 1, 2], 8)]
)
def test_resnet_layer_output_channels(args, channels):
    assert blocks.ResNetLayer.out_channels(args[0], args) == channels
    assert blocks.ResNetLayer(*args).eval()(torch.zeros(1, args[0], 8, 8)).shape[1] == channels


@pytest.mark.parametrize(("name", "weights"), [("resnet50", 16), ("resnet101", 33)])
def test_resnet_has_the_blocks_of_torchvision(name, weights):
    """As many bottlenecks of the same widths; torchvision has its stride in the 3×3 convolution too."""
    models = pytest.importorskip("torchvision.models")
    from ultralytics.nn.model_file import yaml_model_load
    from ultralytics.nn.parser import parse_model

    with torch.device("meta"):
        found = parse_model(yaml_model_load(f"yolov8-cls-{name}.yaml"), 3, verbose=False)[0]
        expected = getattr(models, name)(weights=None)
    ours = [tuple(m.weight.shape) for m in found[:-1].modules() if isinstance(m, nn.Conv2d)]
    theirs = [tuple(m.weight.shape) for m in expected.modules() if isinstance(m, nn.Conv2d)]
    assert len([m for m in found.modules() if isinstance(m, blocks.ResNetBlock)]) == weights
    assert ours == theirs


def test_rep_c3_with_other_width():
    # 8.3.0 fails in the forward pass
    assert blocks.RepC3(8, 12, 1, 0.5)(torch.zeros(2, 8, 4, 3)).shape == (2, 12, 4, 3)


def test_position_encoding_follows_rows_and_columns():
    """8.3.0 enumerates the locations column by column, which mixes them up unless the map is square."""
    encode = transformer.AIFI.build_2d_sincos_position_embedding
    wide = encode(5, 3, 8).reshape(3, 5, 8)
    square = encode(5, 5, 8).reshape(5, 5, 8)
    torch.testing.assert_close(wide, square[:3])
    torch.testing.assert_close(wide[:, :, :4], wide[:, :1, :4].expand(-1, 5, -1))  # the first half encodes the row
    with pytest.raises(ValueError, match="multiple of 4 channels, got 6"):
        encode(2, 2, 6)


def test_encoder_normalizes_before_or_after():
    torch.manual_seed(0)
    layer = transformer.TransformerEncoderLayer(8, 16, 2, normalize_before=True).eval()
    x = torch.randn(2, 5, 8)
    y = layer.norm1(x)
    y = x + layer.ma(y, y, y)[0]
    expected = y + layer.fc2(F.gelu(layer.fc1(layer.norm2(y))))
    torch.testing.assert_close(layer(x), expected)


def test_mlp_with_sigmoid():
    torch.manual_seed(0)
    mlp = transformer.MLP(3, 4, 2, 2, sigmoid=True)
    x = torch.randn(5, 3)
    first, last = mlp.layers
    torch.testing.assert_close(mlp(x), last(first(x).relu()).sigmoid())


@pytest.mark.parametrize(
    "block", [blocks.CIB(8, 8), blocks.RepBottleneck(8, 8), blocks.HGBlock(8, 4, 8, shortcut=True)]
)
def test_start_as_identity(block):
    x = torch.randn(1, 8, 6, 5)
    assert block.start_as_identity()
    torch.testing.assert_close(block.eval()(x), x)


def test_classes_have_the_paths_of_official_checkpoints():
    for name in blocks.__all__:
        if name != "Silence":
            assert getattr(blocks, name).__module__ == "ultralytics.nn.modules.block"
    assert pickle.loads(pickle.dumps(blocks.C2f)) is blocks.C2f
