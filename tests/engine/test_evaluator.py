"""The evaluation loop on a network and a task small enough to count by hand."""

import pytest
import torch
from torch import nn

from ultralytics.engine.evaluator import STAGES, ClassResult, EvalHooks, evaluate, speed_line

CPU = torch.device("cpu")


class Doubler(nn.Module):
    """Doubles its input; its two losses are the number of images of a batch and 1."""

    def forward(self, x, augment=False):
        return x * (3 if augment else 2)

    def loss(self, batch, preds):
        items = torch.tensor([float(len(preds)), 1.0])
        return items.sum(), items


class SumSteps:
    """A task whose metric is the sum of all outputs."""

    def __init__(self):
        self.calls = []

    def init_metrics(self, model):
        self.calls.append(f"init {type(model).__name__}")
        self.total = 0.0

    def preprocess(self, batch):
        self.calls.append("preprocess")
        return {**batch, "img": batch["img"].float()}

    def postprocess(self, preds):
        return preds + 1

    def update_metrics(self, preds, batch):
        self.calls.append("update")
        self.total += float(preds.sum())

    def get_stats(self):
        return {"sum": self.total, "fitness": 0.5}

    def class_results(self):
        return [ClassResult(0, "a", 2, 3, {"sum": self.total}), ClassResult(1, "b", 1, 1)]


BATCHES = [{"img": torch.ones(2, 1, dtype=torch.uint8)}, {"img": torch.ones(1, 1, dtype=torch.uint8)}]


def test_every_batch_is_counted():
    result = evaluate(Doubler(), BATCHES, SumSteps(), device=CPU)
    assert result.metrics == {"sum": 9.0, "fitness": 0.5} and result.fitness == 0.5
    assert (result.images, result.instances) == (3, 4)
    assert [c.name for c in result.per_class] == ["a", "b"]
    assert result.losses is None
    assert set(result.speed) == set(STAGES)


def test_losses_are_means_over_batches():
    result = evaluate(Doubler(), BATCHES, SumSteps(), device=CPU, with_loss=True)
    assert result.losses.tolist() == [1.5, 1.0]


def test_augment_reaches_the_network():
    assert evaluate(Doubler(), BATCHES, SumSteps(), device=CPU, augment=True).metrics["sum"] == 12.0


def test_hooks_fire_between_the_steps():
    steps, outputs = SumSteps(), []
    hooks = EvalHooks(
        on_start=lambda: steps.calls.append("start"),
        on_batch_start=lambda i: steps.calls.append(f"batch {i}"),
        on_batch_end=lambda i, batch, preds: outputs.append((i, batch["img"].dtype, preds.tolist())),
    )
    evaluate(Doubler(), BATCHES, steps, device=CPU, hooks=hooks)
    assert steps.calls == [
        "init Doubler",
        "start",
        *["batch 0", "preprocess", "update", "batch 1", "preprocess", "update"],
    ]
    assert outputs == [(0, torch.float32, [[3.0], [3.0]]), (1, torch.float32, [[3.0]])]


def test_no_gradients_are_recorded():
    steps = SumSteps()
    steps.postprocess = lambda preds: pytest.fail("grad") if preds.requires_grad or torch.is_grad_enabled() else preds
    evaluate(nn.Sequential(), [], steps, device=CPU)
    evaluate(Doubler(), BATCHES, steps, device=CPU)


def test_an_empty_split_gives_no_losses():
    result = evaluate(Doubler(), [], SumSteps(), device=CPU, with_loss=True)
    assert result.losses is None and result.images == 0 and result.metrics["sum"] == 0.0


def test_speed_line_leaves_out_the_loss():
    speed = {"preprocess": 0.123, "inference": 4.56, "loss": 7.0, "postprocess": 0.0}
    assert speed_line(speed, 64) == (
        "Speed per image at 64 pixels: 0.1 ms preprocess, 4.6 ms inference, 0.0 ms postprocess"
    )
