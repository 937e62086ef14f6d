"""Deformable convolution of volumes: loops, conv3d and the 2-D operator say what is right."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ultralytics.nn.ops import deform_conv2d_depthwise, deform_conv3d_depthwise, deform_conv3d_reference, tracing

CASES = [  # volume, kernel, stride, padding, dilation
    ((3, 4, 5), (2, 3, 2), 1, 1, 1),
    ((1, 1, 1), (3, 3, 3), 1, 1, 1),
    ((5, 4, 6), (3, 3, 3), (2, 1, 2), (2, 1, 0), (2, 1, 2)),
    ((2, 1, 7), (1, 1, 3), 2, (0, 0, 2), 2),
]


def _inputs(volume, kernel, stride, padding, dilation, B=2, C=2, reach=2.0):
    torch.manual_seed(0)
    triples = [(v,) * 3 if isinstance(v, int) else v for v in (stride, padding, dilation)]
    out = [(n + 2 * p - r * (k - 1) - 1) // s + 1 for n, k, s, p, r in zip(volume, kernel, *triples, strict=True)]
    x = torch.randn(B, C, *volume, dtype=torch.float64, requires_grad=True)
    offset = torch.randn(B, 3 * math.prod(kernel), *out, dtype=torch.float64).mul_(reach).requires_grad_()
    weight = torch.randn(C, 1, *kernel, dtype=torch.float64, requires_grad=True)
    return (x, offset, weight), {"stride": stride, "padding": padding, "dilation": dilation}


def _literal(x, offset, weight):
    """Stride 1, padding 1, one number at a time."""
    B, C, *volume = x.shape
    kernel, out = weight.shape[2:], offset.shape[2:]
    y = torch.zeros(B, C, *out, dtype=torch.float64)
    grid = [(a, b, c) for a in range(volume[0]) for b in range(volume[1]) for c in range(volume[2])]
    taps = [(a, b, c) for a in range(kernel[0]) for b in range(kernel[1]) for c in range(kernel[2])]
    for b in range(B):
        for at in [(i, j, k) for i in range(out[0]) for j in range(out[1]) for k in range(out[2])]:
            for t, tap in enumerate(taps):
                point = [at[i] + tap[i] - 1 + offset[(b, 3 * t + i, *at)].item() for i in range(3)]
                for voxel in grid:
                    share = math.prod(max(0.0, 1 - abs(point[i] - voxel[i])) for i in range(3))
                    for c in range(C):
                        y[(b, c, *at)] += share * weight[(c, 0, *tap)].item() * x[(b, c, *voxel)].item()
    return y


def test_reference_equals_loops():
    inputs, options = _inputs((2, 3, 3), (2, 2, 1), 1, 1, 1, B=1)
    torch.testing.assert_close(deform_conv3d_reference(*inputs, **options), _literal(*inputs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("chunk", [tracing.CHUNK_VALUES, 40])
@pytest.mark.parametrize("reach", [2.0, 0.0], ids=["between", "at voxels"])
def test_equals_the_reference_and_its_gradients(case, chunk, reach, monkeypatch):
    monkeypatch.setattr(tracing, "CHUNK_VALUES", chunk)
    inputs, options = _inputs(*case, reach=reach)
    result, expected = deform_conv3d_depthwise(*inputs, **options), deform_conv3d_reference(*inputs, **options)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-10)
    grad = torch.randn_like(result)
    gradients = (torch.autograd.grad(out, inputs, grad) for out in (result, expected))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(deform_conv3d_depthwise(*inputs, **options), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "case",
    [CASES[1], ((2, 2, 3), (2, 1, 2), 1, (1, 0, 1), 1), ((3, 2, 2), (1, 2, 2), (2, 1, 1), (0, 1, 0), (1, 2, 1))],
)
def test_gradients_are_those_of_finite_differences(case):
    inputs, options = _inputs(*case, B=1, C=1)
    assert torch.autograd.gradcheck(lambda *a: deform_conv3d_depthwise(*a, **options), inputs)


@pytest.mark.parametrize("case", CASES)
def test_without_offsets_it_is_a_convolution(case):
    (x, offset, weight), options = _inputs(*case)
    torch.testing.assert_close(
        deform_conv3d_depthwise(x, torch.zeros_like(offset), weight, **options),
        F.conv3d(x, weight, None, *options.values(), groups=x.shape[1]),
    )


@pytest.mark.parametrize(("padding", "dilation", "stride"), [(1, 1, 1), (9, 3, 1), (2, 1, 2)])
def test_a_volume_of_one_slice_is_the_map(padding, dilation, stride):
    torch.manual_seed(1)
    x, weight = torch.randn(2, 3, 7, 9, requires_grad=True), torch.randn(3, 1, 3, 5, requires_grad=True)
    h, w = ((n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n, k in ((7, 3), (9, 5)))
    offset = (torch.randn(2, 30, h, w) * 2).requires_grad_()
    expected = deform_conv2d_depthwise(x, offset, weight, stride=stride, padding=padding, dilation=dilation)
    depth = torch.zeros(2, 15, 1, h, w)
    volume = torch.cat((depth, offset.view(2, 15, 2, h, w)), 2).flatten(1, 2).unsqueeze(2)
    result = deform_conv3d_depthwise(
        x.unsqueeze(2), volume, weight.unsqueeze(2), stride=stride, padding=(0, padding, padding), dilation=dilation
    ).squeeze(2)
    torch.testing.assert_close(result, expected)
    for a, b in zip(
        torch.autograd.grad(result.square().sum(), (x, offset, weight)),
        torch.autograd.grad(expected.square().sum(), (x, offset, weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf"), 1e9])
def test_wild_offsets_do_not_read_outside(wild, dtype):
    (x, offset, weight), options = _inputs((3, 4, 5), (3, 3, 3), 1, 1, 1)
    x, offset, weight = (t.detach().to(dtype).requires_grad_() for t in (x, offset, weight))
    with torch.no_grad():
        offset[:, 4] = torch.tensor(wild).to(dtype)
    out = deform_conv3d_depthwise(x, offset, weight, **options)
    out.float().sum().backward()
    assert out.dtype == dtype
    assert out.shape == x.shape
    if wild == wild:
        assert out.isfinite().all()
        assert x.grad.isfinite().all()
        assert not offset.grad[:, 4].any()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 2, 3, 4), (1, 81, 3, 4, 5), (2, 1, 3, 3, 3)), "needs volumes"),
        (((1, 2, 3, 4, 5), (1, 81, 3, 4, 5), (2, 2, 3, 3, 3)), "needs volumes"),
        (((1, 2, 3, 4, 5), (1, 54, 3, 4, 5), (2, 1, 3, 3, 3)), r"needs offsets \(1, 81, 3, 4, 5\), not \(1, 54"),
    ],
)
def test_shapes_that_do_not_fit_raise_an_error(shapes, message):
    with pytest.raises(ValueError, match=message):
        deform_conv3d_depthwise(*(torch.zeros(s) for s in shapes), padding=1)


class _Largest(TorchDispatchMode):
    """Notes the most numbers that any tensor held."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.untyped_storage().nbytes() >= out.numel() * out.element_size():
            self.numbers = max(self.numbers, out.numel())
        return out


def test_no_array_is_larger_than_the_offsets(monkeypatch):
    monkeypatch.setattr(tracing, "CHUNK_VALUES", 1 << 16)
    (x, offset, weight), options = _inputs((6, 6, 6), (7, 7, 7), 1, 9, 3, B=1, C=12)
    with _Largest() as largest:
        deform_conv3d_depthwise(x, offset, weight, **options).sum().backward()
    samples = x.numel() * 343
    assert largest.numbers == offset.numel() == samples // 4
