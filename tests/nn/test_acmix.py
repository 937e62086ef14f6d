"""ACmix: against an independent implementation that unfolds windows, on sizes and options where others fail."""

import numpy as np
import pytest
import torch

from ultralytics.nn.Addmodules.acmix import ACmix, C2f_ACmix
from ultralytics.nn.registry import lookup


def _module(*args, seed=0, **options):
    torch.manual_seed(seed)
    m = ACmix(*args, **options).eval()
    with torch.no_grad():
        m.dep_conv.weight.add_(torch.randn_like(m.dep_conv.weight) * 0.1)
        m.rate1.fill_(0.7)
        m.rate2.fill_(-0.4)
    return m


def _literal(m, x):
    """The paper's formulas with k, v and pe unfolded window by window; numpy does the reflection."""
    B, _, H, W = x.shape
    d, head, k, s = m.head_dim, m.head, m.kernel_conv, m.stride
    q, key, v = (conv(x) for conv in (m.conv1, m.conv2, m.conv3))
    across, down = torch.linspace(-1, 1, W), torch.linspace(-1, 1, H)
    position = torch.stack([across.view(1, W).expand(H, W), down.view(H, 1).expand(H, W)])
    pe = m.conv_p(position.unsqueeze(0).to(x.dtype))

    reach, taps = m.dilation * (m.kernel_att // 2), range(0, m.dilation * m.kernel_att, m.dilation)
    pad = lambda size: torch.from_numpy(np.pad(np.arange(size), reach, mode="reflect"))  # noqa: E731

    def window(z):  # (…, H, W) -> (taps, …, H, W)
        z = z[..., pad(H), :][..., pad(W)]
        return torch.stack([z[..., a : a + H, b : b + W] for a in taps for b in taps])

    split = lambda z: z.view(B * head, d, H, W)  # noqa: E731
    scores = ((split(q) * d**-0.5) * (window(split(key)) + pe - window(pe))).sum(2)
    attention = (scores.softmax(0).unsqueeze(2) * window(split(v))).sum(0).view(B, head * d, H, W)[..., ::s, ::s]

    stacked = torch.cat([z.view(B, head, d, H * W) for z in (q, key, v)], 1)
    maps = m.fc(stacked)  # (B, k², d, H*W)
    convolution = m.dep_conv(maps.permute(0, 2, 1, 3).reshape(B, d * k * k, H, W))
    return m.rate1 * attention + m.rate2 * convolution


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 3), (5, 4), (9, 14), (1, 6)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"head": 2, "kernel_att": 5, "dilation": 2},
        {"head": 1, "kernel_att": 3, "kernel_conv": 5, "stride": 2, "dilation": 3},
    ],
    ids=["plain", "stride", "dilation", "all"],
)
def test_equals_the_formulas(options, size):
    m = _module(6, 8, **options).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    out = m(x)
    assert out.shape == (2, 8, (size[0] - 1) // m.stride + 1, (size[1] - 1) // m.stride + 1)
    torch.testing.assert_close(out, _literal(m, x), rtol=0, atol=1e-6)  # linspace of the test is float32


def test_gradients_equal_those_of_the_formulas():
    m = _module(4, 4, head=2).double()
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    wanted = torch.autograd.grad(_literal(m, x).square().sum(), (x, *m.parameters()))
    result = torch.autograd.grad(m(x).square().sum(), (x, *m.parameters()))
    torch.testing.assert_close(result, wanted, rtol=1e-6, atol=1e-6)


def test_gradients_are_those_of_finite_differences():
    m = _module(2, 2, kernel_att=3, head=2).double()
    x = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: m(x), (x, *m.parameters()))


def test_keys_of_the_checkpoint_and_the_start():
    m = ACmix(6, 8, kernel_conv=3, head=4)
    shapes = {k: tuple(v.shape) for k, v in m.state_dict().items()}
    projections = {f"conv{i}.{p}": s for i in (1, 2, 3) for p, s in (("weight", (8, 6, 1, 1)), ("bias", (8,)))}
    assert shapes == projections | {
        "rate1": (1,),
        "rate2": (1,),
        "conv_p.weight": (2, 2, 1, 1),
        "conv_p.bias": (2,),
        "fc.weight": (9, 12, 1, 1),
        "dep_conv.weight": (8, 9, 3, 3),
    }
    assert m.rate1.item() == m.rate2.item() == 0.5
    expected = torch.zeros(8, 9, 3, 3)
    for o in range(8):
        for i in range(9):
            expected[o, i, i // 3, i % 3] = 1
    assert torch.equal(m.dep_conv.weight.detach(), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_planes": 10}, "out_planes=10 is not divisible by head=4"),
        ({"kernel_att": 4}, "must be odd, not 4 and 3"),
        ({"kernel_conv": 2}, "must be odd, not 7 and 2"),
        ({"kernel_att": -3}, "kernel_att must be an integer of at least 1, not -3"),
        ({"kernel_att": 7.0}, "kernel_att must be an integer of at least 1, not 7.0"),
        ({"head": 0}, "head must be an integer of at least 1, not 0"),
        ({"stride": 0}, "stride must be an integer of at least 1, not 0"),
        ({"dilation": -1}, "dilation must be an integer of at least 1, not -1"),
    ],
)
def test_wrong_options_raise_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        ACmix(**({"in_planes": 8, "out_planes": 8} | options))


def test_a_nan_stays_near():
    m = _module(8, 8)
    x = torch.randn(1, 8, 30, 30)
    x[0, 0, 2, 2] = float("nan")
    assert m(x)[..., 16:, 16:].isfinite().all()


def test_model_files_know_it():
    assert lookup("ACmix").cls is ACmix
    assert lookup("ACmix").signature == ("c1", "c1", "*args")
    assert C2f_ACmix(8, 16, 2, True)(torch.randn(2, 8, 6, 5)).shape == (2, 16, 6, 5)
