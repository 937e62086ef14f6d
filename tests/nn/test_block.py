"""Blocks: against the official package (golden figures), and what it cannot do: few channels, odd memory layouts."""

import copy

import pytest
import torch

from ultralytics.nn.modules import block as blocks
from ultralytics.nn.modules import conv

NUM_BLOCKS = 24


def build(recipe, i):
    name, args, shape = recipe.BLOCKS[i]
    torch.manual_seed(0)
    return (getattr(blocks, name, None) or getattr(conv, name))(*args), shape


def test_table_is_complete(recipe, golden):
    assert len(recipe.BLOCKS) == len(golden["blocks"]) == NUM_BLOCKS


@pytest.mark.parametrize("i", range(NUM_BLOCKS))
def test_equals_official(recipe, golden, assert_fingerprint, i):
    block, shape = build(recipe, i)
    expected = golden["blocks"][i]
    assert recipe.keys_sha256(block) == expected["keys_sha256"]
    # the same random numbers in the same order
    assert sum(p.double().sum().item() for p in block.parameters()) == pytest.approx(expected["start_sum"], abs=1e-6)
    with torch.no_grad():
        assert_fingerprint(recipe.stir(block)(recipe.image(shape)), expected["output"])


@pytest.mark.parametrize("i", range(NUM_BLOCKS))
def test_gradient_memory_layout_and_half(recipe, i):
    block, shape = build(recipe, i)
    recipe.stir(block)
    x = recipe.image(shape).requires_grad_()
    expected = block(x)
    expected.square().sum().backward()
    assert x.grad.any()
    missing = [
        name for name, p in block.named_parameters() if p.requires_grad and not (p.grad is not None and p.grad.any())
    ]
    assert not missing
    with torch.no_grad():
        half = copy.deepcopy(block).bfloat16()(x.bfloat16())
        assert half.dtype == torch.bfloat16
        # eight bits of mantissa through up to a dozen layers
        assert (half.float() - expected).abs().max() < 0.05 * expected.abs().max() + 0.02
        if x.ndim == 4:
            other = copy.deepcopy(block).to(memory_format=torch.channels_last)
            torch.testing.assert_close(
                other(x.contiguous(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-5
            )


def test_c2f_by_split():
    torch.manual_seed(0)
    block = blocks.C2f(4, 8, 2, True).eval()
    x = torch.randn(1, 4, 5, 6)
    torch.testing.assert_close(block.forward_split(x), block(x))


def test_attention_by_hand():
    """Every output point is a mean of v, weighted by the products of its q with all k."""
    torch.manual_seed(0)
    block = blocks.Attention(8, num_heads=2).double().eval()
    x = torch.randn(1, 8, 3, 2, dtype=torch.float64)
    qkv = block.qkv(x)[0].reshape(2, 2 + 2 + 4, 6)
    mixed = torch.zeros(8, 6, dtype=torch.float64)
    for head in range(2):
        q, k, v = qkv[head, :2], qkv[head, 2:4], qkv[head, 4:]
        for point in range(6):
            weights = torch.exp(torch.stack([(q[:, point] * k[:, j]).sum() * 2**-0.5 for j in range(6)]))
            mixed[4 * head : 4 * head + 4, point] = (v * weights).sum(1) / weights.sum()
    v = qkv[:, 4:].reshape(1, 8, 3, 2)
    torch.testing.assert_close(block(x), block.proj(mixed.reshape(1, 8, 3, 2) + block.pe(v)))


@pytest.mark.parametrize(("c", "heads"), [(8, 1), (63, 1), (64, 1), (128, 2), (256, 4), (200, 2), (134, 2)])
def test_psa_finds_a_number_of_heads(c, heads):
    # 8.3.0 divides by zero below 64 channels and fails at 200
    block = blocks.C2PSA(2 * c, 2 * c)
    assert block.m[0].attn.num_heads == heads
    assert block(torch.zeros(2, 2 * c, 2, 3)).shape == (2, 2 * c, 2, 3)


@pytest.mark.parametrize("name", ["PSA", "C2PSA", "C2fPSA"])
def test_psa_keeps_channels(name):
    with pytest.raises(ValueError, match=f"{name} needs as many output as input channels, got c1=128, c2=256"):
        getattr(blocks, name)(128, 256)


def test_attention_heads_must_divide():
    with pytest.raises(ValueError, match="10 channels cannot be divided among 4 attention heads"):
        blocks.Attention(10, 4)


def test_dfl_expectation():
    dfl = blocks.DFL(4)
    logits = torch.full((1, 16, 1), -50.0)
    for side, value in enumerate((0, 3, 1, 2)):
        logits[0, 4 * side + value] = 50.0
    assert dfl(logits).flatten().tolist() == pytest.approx([0, 3, 1, 2])
    assert dfl(torch.zeros(1, 16, 1)).flatten().tolist() == [1.5] * 4
    assert not dfl.conv.weight.requires_grad


def test_dfl_constant_can_be_restored():
    dfl = blocks.DFL(4)
    dfl.conv.weight.data.zero_()
    dfl.reset_parameters()
    assert dfl.conv.weight.flatten().tolist() == [0, 1, 2, 3]
