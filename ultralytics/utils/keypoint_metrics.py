"""Object keypoint similarity (OKS), the overlap of poses: COCO's formula with the area of the labeled box.

Source: COCO's keypoint evaluation, https://cocodataset.org/#keypoints-eval; the factor 0.53 estimates the area of an
instance from that of its box, as 8.3.0 does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# COCO's standard deviations of its 17 keypoints, relative to the square root of the instance's area
OKS_SIGMA = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)  # fmt: skip
BOX_TO_INSTANCE_AREA = 0.53


def default_sigmas(kpt_shape: Sequence[int]) -> tuple[float, ...]:
    """The sigmas of a dataset that states none: COCO's for (17, 3), else 1/K for each of K keypoints."""
    count = int(kpt_shape[0])
    return OKS_SIGMA if tuple(kpt_shape) == (17, 3) else (1 / count,) * count


def kpt_iou(kpt1: Tensor, kpt2: Tensor, area: Tensor, sigma: Sequence[float] | Tensor, eps: float = 1e-7) -> Tensor:
    """OKS of every labeled pose with every predicted one.

    Args:
        kpt1: (n, K, 3) labels: x, y in pixels and visibility; keypoints of visibility 0 do not count.
        kpt2: (m, K, 2 or 3) predictions: x, y in pixels.
        area: (n,) area of the labeled instances in square pixels.
        sigma: (K,) standard deviations.
        eps: keeps divisions finite.

    Returns:
        (n, m) in 0..1; 0 for a label without visible keypoints.
    """
    distance = (kpt1[:, None, :, :2] - kpt2[None, :, :, :2]).square().sum(-1)  # (n, m, K)
    sigmas = torch.as_tensor(sigma, dtype=kpt1.dtype, device=kpt1.device)
    visible = kpt1[..., 2] != 0  # (n, K)
    exponent = distance / (2 * sigmas).square() / (area[:, None, None] + eps) / 2
    return ((-exponent).exp() * visible[:, None]).sum(-1) / (visible.sum(-1)[:, None] + eps)
