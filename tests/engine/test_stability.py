"""Losses that are NaN or Inf, mixed precision, batches too small for batch normalization."""

import pytest
import torch
from torch import nn

from ultralytics.engine.stability import FiniteGuard, TrainingError, amp_works, check_batch_norm


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_names_batch_and_images(value):
    guard = FiniteGuard(torch.device("cpu"))
    guard.add(torch.tensor(1.0), "batch 1 of epoch 1", ("a.jpg",))
    guard.check()
    guard.add(torch.tensor(value), "batch 2 of epoch 1", ("b.jpg", "c.jpg"))
    with pytest.raises(
        TrainingError, match=r"loss is NaN or Inf at batch 2 of epoch 1, with the images b\.jpg, c\.jpg"
    ):
        guard.check()


def test_on_a_gpu_the_newest_loss_waits_one_batch():
    guard = FiniteGuard(torch.device("cuda"))
    guard.add(torch.tensor(float("nan")), "batch 1", ())
    guard.check()
    with pytest.raises(TrainingError, match="batch 1"):
        guard.check(wait=True)


def test_mixed_precision_is_not_used_on_a_cpu():
    assert amp_works(nn.Conv2d(3, 1, 1), torch.device("cpu")) is False


@pytest.mark.parametrize(
    ("images", "batch", "imgsz", "refused"),
    [(12, 11, 32, True), (1, 8, 32, True), (12, 1, 32, True), (12, 4, 32, False), (12, 11, 64, False)],
)
def test_single_values_per_channel(images, batch, imgsz, refused):
    if not refused:
        check_batch_norm(images, batch, imgsz, stride=32)
        return
    with pytest.raises(ValueError, match=r"BatchNorm needs more than one value per channel.*use imgsz=64"):
        check_batch_norm(images, batch, imgsz, stride=32)
