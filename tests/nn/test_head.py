"""The detection head: decoding by hand, cached anchors, dtypes; whole networks are in test_tasks.py."""

import copy

import pytest
import torch

from ultralytics.nn.modules.head import Detect


def make_head(nc=2, ch=(8, 8), **kw):
    torch.manual_seed(0)
    head = Detect(nc, ch, **kw)
    head.stride = torch.tensor([8.0, 16.0][: len(ch)])
    head.bias_init()
    return head.eval()


def maps(sizes=((3, 4), (2, 2)), batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 8, h, w, generator=generator) for h, w in sizes]


def test_decoding_by_hand():
    head = make_head()
    y, raw = head(maps())
    assert [tuple(m.shape) for m in raw] == [(1, 66, 3, 4), (1, 66, 2, 2)]
    a = 0
    for level, stride in zip(raw, (8, 16), strict=True):
        for i in range(level.shape[2]):
            for j in range(level.shape[3]):
                cell = level[0, :, i, j]
                bins = torch.arange(16.0)
                left, top, right, bottom = ((cell[16 * s : 16 * s + 16].softmax(0) * bins).sum() for s in range(4))
                x1, y1, x2, y2 = j + 0.5 - left, i + 0.5 - top, j + 0.5 + right, i + 0.5 + bottom
                expected = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]) * stride
                torch.testing.assert_close(y[0, :4, a], expected)
                torch.testing.assert_close(y[0, 4:, a], cell[64:].sigmoid())
                a += 1
    assert y.shape == (1, 6, a)


def test_modes():
    head, x = make_head(), maps()
    y, raw = head(x)
    head.export = True
    torch.testing.assert_close(head(x), y)
    head.train()
    training_output = head(x)  # batch statistics, so only the shapes are equal
    assert [m.shape for m in training_output] == [m.shape for m in raw]


def test_input_list_is_not_changed():
    x = maps()
    before = [m.clone() for m in x]
    for mode in (True, False):
        levels = list(x)
        make_head().train(mode)(levels)
        assert all(a is b and torch.equal(a, c) for a, b, c in zip(levels, x, before, strict=True))


@pytest.mark.parametrize("nc", [1, 2, 80])
def test_bias_start(nc):
    head = make_head(nc)
    for cv2, cv3, prior in zip(head.cv2, head.cv3, (5 / nc / 80**2, 5 / nc / 40**2), strict=True):
        assert cv2[-1].bias.tolist() == [1.0] * 64
        torch.testing.assert_close(cv3[-1].bias.exp(), torch.full((nc,), prior))


def test_anchors_follow_the_map_sizes_only():
    head = make_head()
    head(maps())
    cached = head.anchors
    head(maps(batch=3, seed=1))
    assert head.anchors is cached  # the batch size does not matter
    head(maps(((4, 3), (2, 2))))  # as many cells, but another shape
    assert head.anchors is not cached
    assert head.anchors[:, 3].tolist() == [0.5, 1.5]
    head.double()
    assert head([m.double() for m in maps()])[0].dtype == torch.float64
    assert head.anchors.dtype == torch.float64


def test_dynamic_computes_anchors_each_time():
    head = make_head()
    head.dynamic = True
    expected = make_head()(maps())[0]
    torch.testing.assert_close(head(maps())[0], expected)
    assert head.shape is None


def test_gradient_after_inference_mode():
    head = make_head()
    with torch.inference_mode():
        head(maps())
    x = [m.requires_grad_() for m in maps()]
    head(x)[0].sum().backward()
    assert all(m.grad.any() for m in x)


@pytest.mark.parametrize(
    ("dtype", "out", "pixels"),
    [
        (torch.float16, torch.float16, 0.5),  # half of the spacing of float16 at 600
        (torch.bfloat16, torch.float32, 0.6),  # 2 pixels if the boxes were computed in bfloat16
    ],
)
def test_boxes_of_low_precision_maps(dtype, out, pixels):
    x = maps(((75, 3), (38, 2)))
    expected = make_head()(x)[0]
    y = make_head().to(dtype)([m.to(dtype) for m in x])[0]
    assert y.dtype == out
    assert (y[:, :4].float() - expected[:, :4]).abs().max() < pixels
    assert (y[:, 4:].float() - expected[:, 4:]).abs().max() < 5e-3


def test_channels_last():
    x = maps(batch=2)
    expected = make_head()(x)[0]
    head = make_head().to(memory_format=torch.channels_last)
    y = head([m.contiguous(memory_format=torch.channels_last) for m in x])[0]
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


def test_legacy_branch():
    assert Detect.legacy is False
    assert "cv3.0.0.0.conv.weight" in make_head().state_dict()
    old = make_head(legacy=True)
    assert old.state_dict()["cv3.0.0.conv.weight"].shape == (8, 8, 3, 3)
    assert old.legacy
    assert Detect.legacy is False
    assert copy.deepcopy(old).legacy


@pytest.mark.parametrize(
    ("nc", "ch", "box", "cls"), [(80, 64, 64, 80), (300, 64, 64, 100), (2, 64, 64, 64), (80, 512, 128, 512)]
)
def test_branch_widths(nc, ch, box, cls):
    head = Detect(nc, (ch,), legacy=True)
    assert head.cv2[0][0].conv.out_channels == box
    assert head.cv3[0][0].conv.out_channels == cls
