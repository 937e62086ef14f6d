"""IoU of boxes: by hand, precision, gradients, the official package."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ultralytics.utils.iou import bbox_ioa, bbox_iou, box_iou


def test_iou_by_hand():
    a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 5, 15, 25], [20, 20, 30, 30], [0, 0, 10, 10]])
    np.testing.assert_allclose(box_iou(a, b), [[25 / 275, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(bbox_ioa(a.numpy(), b.numpy()), [[0.125, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(bbox_ioa(a.numpy(), b.numpy(), iou=True), [[25 / 275, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(bbox_iou(a, b, xywh=False)[:, 0], [25 / 275, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(bbox_iou(a, b[1:2], xywh=False, GIoU=True), [[200 / 900 - 1]], rtol=1e-5)
    np.testing.assert_allclose(bbox_iou(a, b[1:2], xywh=False, DIoU=True), [[-800 / 1800]], rtol=1e-5)
    assert box_iou(a, torch.zeros(0, 4)).shape == (1, 0)
    assert box_iou(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_iou_of_half_precision_is_computed_in_float32(dtype):
    a, b = torch.tensor([[0.0, 0, 512, 512]], dtype=dtype), torch.tensor([[256.0, 0, 512, 512]], dtype=dtype)
    for iou in (box_iou(a, b), bbox_iou(a, b, xywh=False)):  # the area, 262144, is beyond float16
        assert iou.dtype == torch.float32
        np.testing.assert_allclose(iou, [[0.5]], rtol=1e-6)


def test_iou_matches_the_official_package(golden_metrics, actual_metrics):
    assert actual_metrics["iou"].keys() == golden_metrics["iou"].keys()
    for name, values in golden_metrics["iou"].items():
        for result, expected in zip(actual_metrics["iou"][name], values, strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7, err_msg=name)


def test_ciou_trade_off_factor_gets_no_gradient():
    a = torch.tensor([[0.0, 0, 4, 2]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[1.0, 0, 3, 4]], dtype=torch.float64)
    bbox_iou(a, b, xywh=False, CIoU=True).sum().backward()

    def ciou_with_factor(box, factor):
        plain = bbox_iou(box, b, xywh=False, DIoU=True)
        (w, h), (u, v) = (box[0, 2:] - box[0, :2]), (b[0, 2:] - b[0, :2])
        aspect = 4 / np.pi**2 * (torch.atan(u / v) - torch.atan(w / h)) ** 2
        return plain - aspect * factor, aspect

    _, aspect = ciou_with_factor(a.detach(), 0)
    factor = aspect / (aspect - bbox_iou(a.detach(), b, xywh=False) + 1)
    c = a.detach().clone().requires_grad_()
    ciou_with_factor(c, factor)[0].sum().backward()
    np.testing.assert_allclose(a.grad, c.grad, rtol=1e-5)
