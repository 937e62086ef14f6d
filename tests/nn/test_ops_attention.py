"""window_attention: against the reference, with gradients, on maps of any size, strides and dilations."""

import numpy as np
import pytest
import torch

from ultralytics.nn.ops import attention, window_attention, window_attention_reference
from ultralytics.nn.ops.attention import reflect

#        B, n, d, H, W, window, dilation, stride
CASES = [
    (2, 2, 3, 5, 7, 3, 1, 1),  # odd sides, a rectangle
    (1, 4, 2, 1, 1, 7, 1, 1),  # one pixel
    (2, 1, 5, 2, 3, 7, 1, 2),  # smaller than the window, stride 2
    (1, 2, 4, 13, 9, 5, 2, 1),  # dilation
    (1, 2, 4, 19, 10, 5, 3, 2),  # dilation and stride, several tiles
    (1, 1, 4, 20, 17, 7, 1, 1),  # tiles that hang over
    (1, 1, 2, 6, 6, 1, 1, 1),  # a window of one pixel: the value itself
]


def _inputs(case, dtype=torch.float64, layout=torch.contiguous_format):
    B, n, d, H, W = case[:5]
    g = torch.Generator().manual_seed(sum(case))
    maps = torch.randn(3, B, n * d, H, W, generator=g, dtype=torch.float64).to(dtype)
    return [m.contiguous(memory_format=layout).unflatten(1, (n, d)).requires_grad_() for m in maps]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", CASES)
def test_equals_reference_and_its_gradients(case, layout):
    inputs = _inputs(case, layout=layout)
    out, expected = window_attention(*inputs, *case[5:]), window_attention_reference(*inputs, *case[5:])
    stride = case[7]
    assert out.shape == (*case[:3], (case[3] - 1) // stride + 1, (case[4] - 1) // stride + 1)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(0), dtype=out.dtype)
    result, wanted = torch.autograd.grad(out, inputs, grad), torch.autograd.grad(expected, inputs, grad)
    torch.testing.assert_close(result, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", [(1, 2, 2, 3, 4, 3, 1, 1), (1, 1, 2, 2, 3, 5, 1, 2)])
def test_gradients_are_those_of_finite_differences(case):
    assert torch.autograd.gradcheck(lambda *t: window_attention(*t, *case[5:]), _inputs(case))


def test_equal_keys_average_the_window():
    v = torch.zeros(1, 1, 1, 5, 5)
    v[..., 2, 2] = 9.0
    out = window_attention(torch.ones_like(v), torch.zeros_like(v), v, 3)
    expected = torch.zeros(5, 5)
    expected[1:4, 1:4] = 1.0  # the nine pixels that see the middle, each among nine
    torch.testing.assert_close(out[0, 0, 0], expected)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_reflection_is_numpys(size):
    padded = np.pad(np.arange(size), 9, mode="reflect")
    assert reflect(torch.arange(-9, size + 9), size).tolist() == padded.tolist()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_half_types_come_close(dtype, tolerance):
    case = CASES[5]
    halves = _inputs(case, dtype)
    out = window_attention(*halves, *case[5:])
    expected = window_attention_reference(*(t.double() for t in halves), *case[5:])
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=tolerance * expected.abs().max().item())


@pytest.mark.parametrize(
    ("options", "shapes", "message"),
    [
        ((4,), [(1, 1, 2, 3, 3)] * 3, "odd window, not 4"),
        ((-3,), [(1, 1, 2, 3, 3)] * 3, "at least 1, not -3, 1 and 1"),
        ((3, 0), [(1, 1, 2, 3, 3)] * 3, "at least 1, not 3, 0 and 1"),
        ((3, 1, 0), [(1, 1, 2, 3, 3)] * 3, "at least 1, not 3, 1 and 0"),
        ((3,), [(1, 1, 2, 3, 3), (1, 1, 2, 3, 4), (1, 1, 2, 3, 3)], "one shape"),
    ],
)
def test_wrong_arguments_raise_an_error(options, shapes, message):
    with pytest.raises(ValueError, match=message):
        window_attention(*(torch.zeros(s) for s in shapes), *options)


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_few_images_at_a_time_give_the_same(monkeypatch, images, dtype):
    case = (5, 2, 3, 9, 11, 5, 1, 2)
    inputs = _inputs(case, dtype, torch.channels_last)
    assert attention.images_at_once(inputs[0], *case[5:]) == 5
    whole = window_attention(*inputs, *case[5:])
    grad = torch.ones_like(whole)
    expected = torch.autograd.grad(whole, inputs, grad)
    # 5 x 6 outputs are one tile of 13 x 15 keys and values
    monkeypatch.setattr(attention, "CHUNK_VALUES", images * 2 * 13 * 15 * 2 * 3)
    assert attention.images_at_once(inputs[0], *case[5:]) == images
    parts = window_attention(*inputs, *case[5:])
    torch.testing.assert_close(parts, whole, rtol=0, atol=0)
    assert parts.stride() == whole.stride(), "the memory format depends on the number of parts"
    torch.testing.assert_close(torch.autograd.grad(parts, inputs, grad), expected)
    with torch.no_grad():
        torch.testing.assert_close(window_attention(*inputs, *case[5:]), whole, rtol=0, atol=0)


def test_the_number_of_images_at_a_time_follows_what_is_copied():
    q = torch.zeros(10, 4, 16, 80, 80)
    # 100 tiles of 14 * 14 keys instead of 6400, keys and values: 2.5 million values per image
    images = attention.images_at_once(q, 7, 1, 1)
    assert images == attention.CHUNK_VALUES // (2 * 100 * 14 * 14 * 64) == 1
    assert attention.images_at_once(q[..., :8, :8], 7, 1, 1) == 10
    assert attention.images_at_once(q[:0], 7, 1, 1) == 0


def test_an_empty_batch_has_an_empty_result():
    q = torch.zeros(0, 2, 3, 5, 6)
    assert window_attention(q, q, q, 3, 1, 2).shape == (0, 2, 3, 3, 3)
