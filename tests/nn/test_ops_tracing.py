"""What the operators share: chunks, and graphs that serve other sizes than the one they were made for."""

import pytest
import torch

from ultralytics.nn.ops import (
    deform_conv2d_depthwise,
    deform_conv3d_depthwise,
    sample_points,
    tracing,
    window_attention,
)


@pytest.mark.parametrize(
    ("total", "length", "expected"),
    [(5, 2, [(0, 2), (2, 4), (4, 6)]), (4, 4, [(0, 4)]), (0, 1, [(0, 1)])],  # none would leave nothing to join
)
def test_chunks_cover_all(total, length, expected):
    assert [(at.start, at.stop) for at in tracing.chunks(total, length)] == expected


def test_autocast_is_off_where_there_is_one():
    with torch.autocast("cpu", torch.bfloat16):
        with tracing.without_autocast(torch.zeros(1)):
            assert not torch.is_autocast_enabled("cpu")
        with tracing.without_autocast(torch.zeros(1, device="meta")):
            assert torch.is_autocast_enabled("cpu")


def _sampling(x):
    B, _, H, W = x.shape
    return sample_points(x, torch.full((B, 4, H, W), 0.5) * x[:, :1])


def _deform(x):
    B, C, H, W = x.shape
    return deform_conv2d_depthwise(x, x[:, :1] * torch.ones(B, 8, H, W), torch.ones(C, 1, 2, 2), padding=1, dilation=2)


def _volume(x):
    B, C, H, W = x.shape
    offset, weight = x[:, :1, None] * torch.ones(B, 12, 1, H, W), torch.ones(C, 1, 1, 2, 2)
    return deform_conv3d_depthwise(x.unsqueeze(2), offset, weight, padding=(0, 1, 1), dilation=2)


def _attention(x):
    q = x.unflatten(1, (2, 2))
    return window_attention(q, q, q, 3, 1, 2)


@pytest.mark.parametrize("train", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize("operator", [_sampling, _deform, _volume, _attention])
def test_a_compiled_graph_serves_many_sizes(operator, train):
    torch.manual_seed(0)
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(operator, fullgraph=True, backend=count)
    for H, W in ((6, 7), (9, 5), (12, 20), (33, 10), (18, 26), (11, 40), (19, 9), (21, 12), (14, 31), (24, 24)):
        x = torch.randn(2, 4, H, W, requires_grad=train)
        result, expected = compiled(x), operator(x)
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
        if train:
            grad = torch.randn_like(expected)
            torch.testing.assert_close(
                torch.autograd.grad(result, x, grad), torch.autograd.grad(expected, x, grad), rtol=1e-4, atol=1e-4
            )
    torch.compiler.reset()
    # the first for its own size only; a size above or below that of a tile may have one of its own, more in old torch
    assert len(graphs) <= (6 if operator is _attention else 2)
