"""deform_conv2d_depthwise: against torchvision and our own reference, with gradients, and for wild offsets."""

import pytest
import torch

from ultralytics.nn.ops import deform_conv2d_depthwise, deform_conv2d_reference

#        B, C, H, W, kernel, stride, padding, dilation
CASES = [
    (2, 3, 5, 7, (3, 3), 1, 1, 1),  # odd sides, a rectangle
    (1, 2, 1, 1, (3, 3), 1, 1, 1),  # one pixel
    (2, 5, 6, 3, (2, 3), 2, 3, 2),  # every option at once
    (1, 4, 1, 6, (5, 5), (1, 2), (2, 4), (1, 2)),  # one row; different options for rows and columns
    (1, 4, 4, 5, (7, 7), 1, 9, 3),  # the larger kernel of D-LKA, mostly outside the map
]


def _pair(v):
    return v if isinstance(v, tuple) else (v, v)


def _inputs(case, dtype=torch.float64):
    B, C, H, W, kernel, *options = case
    stride, padding, dilation = map(_pair, options)
    h, w = (
        (size + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i, size in enumerate((H, W))
    )
    g = torch.Generator().manual_seed(B * 100 + H)
    shapes = ((B, C, H, W), (B, 2 * kernel[0] * kernel[1], h, w), (C, 1, *kernel))
    x, offset, weight = (torch.randn(s, generator=g, dtype=torch.float64).to(dtype) for s in shapes)
    return x, offset * 2, weight, dict(zip(("stride", "padding", "dilation"), options, strict=True))


@pytest.mark.parametrize("function", [deform_conv2d_depthwise, deform_conv2d_reference])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", CASES)
def test_equals_torchvision_and_its_gradients(case, layout, function):
    ops = pytest.importorskip("torchvision.ops")
    *inputs, options = _inputs(case)
    plain = [t.clone().requires_grad_() for t in inputs]
    inputs = [t.contiguous(memory_format=layout).requires_grad_() for t in inputs]
    out, expected = function(*inputs, **options), ops.deform_conv2d(*plain, **options)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(0), dtype=out.dtype)
    result, wanted = torch.autograd.grad(out, inputs, grad), torch.autograd.grad(expected, plain, grad)
    torch.testing.assert_close(result, wanted, rtol=0, atol=1e-10)


def test_reference_has_groups_like_torchvision():
    ops = pytest.importorskip("torchvision.ops")
    g = torch.Generator().manual_seed(3)
    x, offset = torch.randn(2, 4, 5, 6, generator=g), torch.randn(2, 18, 5, 6, generator=g)
    weight = torch.randn(6, 2, 3, 3, generator=g)
    expected = ops.deform_conv2d(x, offset, weight, padding=1)
    torch.testing.assert_close(deform_conv2d_reference(x, offset, weight, padding=1), expected)


@pytest.mark.parametrize("case", CASES[:4])
def test_gradients_are_those_of_finite_differences(case):
    *inputs, options = _inputs(case)
    inputs = [t.requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(lambda *t: deform_conv2d_depthwise(*t, **options), inputs)


def test_chunks_give_the_same_as_one(monkeypatch):
    *inputs, options = _inputs(CASES[0])
    inputs = [t.requires_grad_() for t in inputs]
    results = []
    for values in (1, 1 << 30):
        monkeypatch.setattr("ultralytics.nn.ops.tracing.CHUNK_VALUES", values)
        out = deform_conv2d_depthwise(*inputs, **options)
        results.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-12)


def test_offsets_of_zero_are_a_plain_convolution():
    x, offset, weight, options = _inputs(CASES[2])
    expected = torch.nn.functional.conv2d(x, weight, **options, groups=5)
    torch.testing.assert_close(deform_conv2d_depthwise(x, offset * 0, weight, **options), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf"), 1e9, -1e9, 3e38])
def test_wild_offsets_read_zeros(wild, dtype):
    x, offset, weight, options = _inputs(CASES[0], dtype)
    offset = offset.float()
    offset[:, 4, 1, 2] = wild  # the row offset of tap 2
    inputs = [t.requires_grad_() for t in (x, offset, weight)]
    out = deform_conv2d_depthwise(*inputs, **options)
    out.float().square().sum().backward()
    assert out.dtype == dtype
    tame = torch.ones(out.shape, dtype=torch.bool)
    tame[..., 1, 2] = False
    assert out[tame].isfinite().all(), "an extreme offset changed its neighbors"
    if wild == wild:
        # the tap reads nothing: as if its weight were 0 at this pixel
        without = weight.detach().clone()
        without[:, 0, 0, 2] = 0
        expected = deform_conv2d_depthwise(x, _tame(offset), without, **options)
        torch.testing.assert_close(out[..., 1, 2], expected[..., 1, 2])
        assert all(t.grad.isfinite().all() for t in inputs)
        assert (offset.grad[:, 4:6, 1, 2] == 0).all()


def _tame(offset):
    tame = offset.detach().clone()
    tame[:, 4, 1, 2] = 0
    return tame


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_keep_coordinates_exact(dtype):
    x = torch.zeros(1, 1, 1, 256, dtype=dtype)
    x[..., 200] = 1
    offset = torch.zeros(1, 2, 1, 256)
    offset[:, 1] = 0.3
    out = deform_conv2d_depthwise(x, offset, torch.ones(1, 1, 1, 1, dtype=dtype))
    assert [out[0, 0, 0, i].item() for i in (199, 200)] == pytest.approx([0.3, 0.7], abs=4e-3)


def test_wrong_shapes_raise_an_error():
    with pytest.raises(ValueError, match=r"needs offsets \(1, 18, 4, 4\).*\(1, 9, 4, 4\)"):
        deform_conv2d_depthwise(torch.zeros(1, 2, 4, 4), torch.zeros(1, 9, 4, 4), torch.zeros(2, 1, 3, 3), padding=1)


@pytest.mark.parametrize("weight", [(1, 1, 3, 3), (4, 1, 3, 3), (2, 2, 3, 3), (2, 9)])
def test_filters_that_are_not_one_per_channel_raise_an_error(weight):
    # kernels would read such filters beyond their end, and broadcasting would share them silently
    with pytest.raises(ValueError, match=r"one filter per channel, \(C, 1, kh, kw\), not \(1, 2, 4, 4\) and"):
        deform_conv2d_depthwise(torch.zeros(1, 2, 4, 4), torch.zeros(1, 18, 4, 4), torch.zeros(weight), padding=1)


def test_a_map_without_a_batch_is_an_error():
    with pytest.raises(ValueError, match=r"needs maps \(B, C, H, W\)"):
        deform_conv2d_depthwise(torch.zeros(2, 4, 4), torch.zeros(1, 18, 4, 4), torch.zeros(2, 1, 3, 3), padding=1)
