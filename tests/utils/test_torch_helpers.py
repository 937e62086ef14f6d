"""Helpers of `utils.torch_utils`, `utils.ops` and `utils.metrics` for scripts; expected values are those of 8.3.0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ultralytics.utils import metrics, ops, torch_utils


@pytest.mark.parametrize(
    ("ratio", "same_shape", "expected"), [(0.5, False, 32), (0.83, False, 64), (0.83, True, 64), (1.0, False, 64)]
)
def test_scale_img(ratio, same_shape, expected):
    image = torch.rand(1, 3, 64, 64)
    scaled = torch_utils.scale_img(image, ratio, same_shape)
    assert scaled.shape == (1, 3, expected, expected)
    if ratio == 0.83:
        assert scaled[0, 0, -1, -1] == pytest.approx(0.447)


def test_copy_attr():
    class Record:
        pass

    a, b = Record(), Record()
    b.x, b.y, b._z = 1, 2, 3
    torch_utils.copy_attr(a, b, exclude=("y",))
    assert vars(a) == {"x": 1}
    torch_utils.copy_attr(a, b, include=("y",))
    assert vars(a) == {"x": 1, "y": 2}


def test_smart_inference_mode():
    @torch_utils.smart_inference_mode()
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    assert double(torch.ones(1, requires_grad=True)).is_inference()


def test_autocast_is_optional():
    a = torch.rand(2, 2)
    with torch_utils.autocast(False, device="cpu"):
        assert (a @ a).dtype == torch.float32
    with torch_utils.autocast(True, device="cpu"):
        assert (a @ a).dtype == torch.bfloat16


def test_de_parallel():
    inner = nn.Linear(1, 1)
    assert torch_utils.de_parallel(nn.DataParallel(inner)) is inner
    assert torch_utils.de_parallel(inner) is inner


def test_optimizer_state_in_half_precision():
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = torch_utils.convert_optimizer_state_dict_to_fp16(optimizer.state_dict())["state"][0]
    assert state["exp_avg"].dtype == torch.float16
    assert state["step"].dtype == torch.float32


def test_profile_measures_modules():
    modules = [nn.Conv2d(3, 4, 3), nn.Linear(5, 5)]  # the second does not fit
    good, bad = torch_utils.profile(torch.randn(2, 3, 16, 16), modules, n=1, device="cpu")
    assert good[0] == 112
    assert good[5:] == [(2, 3, 16, 16), (2, 4, 14, 14)]
    assert min(good[3:5]) > 0
    assert bad is None


def test_select_device_has_the_official_parameters():
    assert torch_utils.select_device("cpu", batch=16, newline=True, verbose=False) == torch.device("cpu")


def test_names_from_other_modules():
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)).eval()
    assert torch_utils.get_num_params(model) == torch_utils.get_num_gradients(model) == 20
    x = torch.rand(1, 3, 5, 5)
    fused = torch_utils.fuse_conv_and_bn(model[0], model[1])
    torch.testing.assert_close(fused(x), model(x))


def test_ops():
    ramp = np.arange(1600, dtype=np.float32).reshape(40, 40)
    assert ops.scale_image(ramp, (20, 30)).shape == (20, 30, 1)
    assert ops.scale_image(np.stack([ramp] * 2, 2), (20, 30)).shape == (20, 30, 2)
    assert ops.clip_coords(torch.tensor([[-1.0, 5.0], [700, 3]]), (4, 640)).tolist() == [[0, 4], [640, 3]]
    assert ops.convert_torch2numpy_batch(torch.full((1, 3, 2, 4), 0.5)).tolist() == np.full((1, 2, 4, 3), 127).tolist()
    assert ops.clean_str("a|b@c#d!e") == "a_b_c_d_e"
    masks = ops.process_mask(torch.ones(1, 8, 8), torch.ones(1, 1), torch.tensor([[0.0, 0, 16, 16]]), (32, 32), True)
    assert masks.shape == (1, 32, 32)


def test_metrics():
    masks = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    assert metrics.mask_iou(masks, masks).tolist() == [[pytest.approx(1), 0], [0, pytest.approx(1)]]
    assert len(metrics.OKS_SIGMA) == 17
    assert metrics.smooth_BCE(0.1) == (0.95, 0.05)
    assert issubclass(metrics.PoseMetrics, metrics.DetMetrics)
