"""AKConv's sampling: against the reference and by pencil and paper, on odd sizes, at borders and for wild offsets."""

import pytest
import torch

from ultralytics.nn.ops import sample_conv, sample_points, sample_points_reference

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
#        B, C, H, W, N, h, w
CASES = [
    (2, 3, 5, 7, 4, 5, 7),  # odd sides, a rectangle
    (1, 1, 1, 1, 3, 1, 1),  # one pixel: no neighbour on any side
    (2, 5, 2, 3, 1, 2, 3),  # one point
    (1, 4, 1, 6, 5, 1, 3),  # one row
    (1, 4, 6, 1, 5, 3, 1),  # one column
    (1, 2, 9, 4, 16, 5, 2),  # many points, an output smaller than the map
]


def _inputs(case, dtype=torch.float64):
    B, C, H, W, N, h, w = case
    g = torch.Generator().manual_seed(sum(case))
    x = torch.randn(B, C, H, W, generator=g, dtype=torch.float64).to(dtype)
    # from two pixels outside on one side to two outside on the other
    size = torch.tensor([H, W], dtype=torch.float64).view(1, 2, 1, 1, 1)
    points = torch.rand(B, 2, N, h, w, generator=g, dtype=torch.float64) * (size + 3) - 2
    return x, points.flatten(1, 2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", CASES)
def test_equals_reference_and_its_gradients(case, layout):
    x, points = _inputs(case)
    x = x.contiguous(memory_format=layout).requires_grad_()
    points = points.contiguous(memory_format=layout).requires_grad_()
    out, expected = sample_points(x, points), sample_points_reference(x, points)
    assert out.shape == expected.shape == (case[0], case[1], case[4], *case[5:])
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(0), dtype=out.dtype)
    result = torch.autograd.grad(out, (x, points), grad)
    wanted = torch.autograd.grad(expected, (x, points), grad)
    torch.testing.assert_close(result, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES[:5])
def test_gradients_are_those_of_finite_differences(case):
    x, points = (t.requires_grad_() for t in _inputs(case))
    assert torch.autograd.gradcheck(sample_points, (x, points))


def test_chunks_give_the_same_as_one(monkeypatch):
    x, points = (t.requires_grad_() for t in _inputs(CASES[0]))
    results = []
    for values in (1, 1 << 30):
        monkeypatch.setattr("ultralytics.nn.ops.tracing.CHUNK_VALUES", values)
        results.append(torch.autograd.grad(sample_points(x, points).square().sum(), (x, points)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-12)


def test_by_hand():
    x = torch.arange(12.0).view(1, 1, 3, 4)  # value 4 * row + column
    rows, columns = torch.tensor([0.0, 1.25, 2.0, -7.0, 9.0]), torch.tensor([0.0, 2.5, 3.0, 1.0, 2.5])
    points = torch.cat((rows, columns)).view(1, 10, 1, 1)
    # the last two are above and below the map: the border's value
    assert sample_points(x, points).flatten().tolist() == [0.0, 7.5, 11.0, 1.0, 10.5]


@pytest.mark.parametrize("dtype", DTYPES)
def test_ones_stay_ones_everywhere(dtype):
    x, points = _inputs(CASES[0], dtype)
    out = sample_points(torch.ones_like(x), (points * 3 - 5).float())
    assert out.dtype == dtype
    torch.testing.assert_close(out, torch.ones_like(out), rtol=0, atol=1e-6)


@pytest.mark.parametrize("function", [sample_points, sample_points_reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf"), 1e9, -1e9, 3e38])
def test_wild_points_read_inside_the_map(wild, dtype, function):
    x, points = _inputs(CASES[0], dtype)
    points = points.float()
    points[:, :, 1, 2] = wild
    x.requires_grad_()
    points.requires_grad_()
    out = function(x, points)
    out.float().square().sum().backward()
    tame = torch.ones(out.shape, dtype=torch.bool)
    tame[..., 1, 2] = False
    assert out[tame].isfinite().all(), "an extreme point changed its neighbors"
    if wild == wild:  # clamped: finite, its own pixel included
        assert out.isfinite().all() and points.grad.isfinite().all() and x.grad.isfinite().all()
        assert (points.grad[:, :, 1, 2] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_half_types_keep_coordinates_exact(dtype):
    # at column 200 half precision knows quarters (float16: eighths), and bfloat16 whole pixels only
    x = torch.zeros(1, 1, 1, 256, dtype=dtype)
    x[..., 200] = 1
    points = torch.tensor([0.0, 200.3]).view(1, 2, 1, 1)
    assert sample_points(x, points).item() == pytest.approx(0.7, abs=4e-3)


def test_wrong_shapes_raise_an_error():
    with pytest.raises(ValueError, match=r"points \(B, 2N, h, w\)"):
        sample_points(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3, 3))


# ---- sample_conv: sampling and projection; kernels/test_kernel_sampling.py has its kernels -----------------------


def _projected(x, points, weight, bias):
    samples = sample_points_reference(x, points)
    return torch.einsum("bcnhw,kcn->bkhw", samples, weight) + bias.view(-1, 1, 1)


@pytest.mark.parametrize("case", CASES)
def test_projection_equals_the_sum_over_channels_and_points(case):
    x, points = _inputs(case)
    g = torch.Generator().manual_seed(1)
    weight = torch.randn(3, case[1], case[4], 1, generator=g, dtype=torch.float64)
    bias = torch.randn(3, generator=g, dtype=torch.float64)
    inputs = [t.requires_grad_() for t in (x, points, weight, bias)]
    out, expected = sample_conv(*inputs), _projected(x, points, weight.squeeze(3), bias)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    grad = torch.randn(out.shape, generator=g, dtype=out.dtype)
    torch.testing.assert_close(
        torch.autograd.grad(out, inputs, grad), torch.autograd.grad(expected, inputs, grad), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(sample_conv(x, points, weight.squeeze(3), bias), out, rtol=0, atol=0)
    silu = sample_conv(*inputs, activation="silu")
    torch.testing.assert_close(silu, expected * expected.sigmoid(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("weight", "activation", "message"),
    [
        ((4, 2, 5), "none", r"at 3 points needs weights \(K, 2, 3\), with or without a last 1, not \(4, 2, 5\)"),
        ((4, 2, 3, 2), "none", r"not \(4, 2, 3, 2\)"),
        ((4, 2), "none", r"not \(4, 2\)"),
        ((4, 2, 3), "relu", "activation is one of none, silu, not 'relu'"),
    ],
)
def test_wrong_weights_and_activations_raise_an_error(weight, activation, message):
    with pytest.raises(ValueError, match=message):
        sample_conv(torch.zeros(1, 2, 3, 3), torch.zeros(1, 6, 3, 3), torch.zeros(weight), activation=activation)


def test_a_bias_that_is_too_short_is_an_error():
    with pytest.raises(ValueError, match=r"a bias \(4,\), one value per filter, not \(1,\)"):
        sample_conv(torch.zeros(1, 2, 3, 3), torch.zeros(1, 6, 3, 3), torch.zeros(4, 2, 3), torch.zeros(1))
