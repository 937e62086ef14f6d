"""Accumulation, clipping, averaging and schedule of the optimization of a run."""

import copy

import pytest
import torch
from torch import nn

from ultralytics.cfg import get_cfg
from ultralytics.engine.optimization import MAX_GRAD_NORM, Optimization, StepPlan
from ultralytics.engine.optimizer import WarmUp, build_optimizer, lr_curve
from ultralytics.utils.torch_utils import ModelEMA

NO_WARM_UP = WarmUp(steps=-1, bias_lr=0.0, momentum=0.8, final_momentum=0.9, accumulate=1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def optimization(net, **options):
    values = {"ema": ModelEMA(net), "warm_up": NO_WARM_UP, "lf": lr_curve(10, 0.01, False), "accumulate": 1} | options
    return Optimization(net, build_optimizer(net, "SGD", 0.1, 0.0, 0.0), **values)


def test_a_step_follows_the_gradient_and_clears_it(net):
    before = copy.deepcopy(net.state_dict())
    run, events = optimization(net), []
    run.start_epoch(0)
    run.backward(net.weight.sum())
    run.step(events.append)
    torch.testing.assert_close(net.weight, before["weight"] - 0.1)
    assert net.weight.grad is None
    assert events == ["optimizer_step", "on_before_zero_grad", "on_params_update"]
    assert run.ema.updates == 1


def test_gradients_add_up_and_are_clipped(net):
    run = optimization(net)
    run.start_epoch(0)
    before = net.weight.detach().clone()
    for _ in range(2):
        run.backward(1000 * net.weight.sum())
    run.step(lambda event: None)
    assert float((before - net.weight.detach()).norm()) == pytest.approx(0.1 * MAX_GRAD_NORM, rel=1e-5)


def test_steps_are_due_after_the_accumulated_batches(net):
    run = optimization(net, accumulate=3)
    due = []
    for ni in range(7):
        due.append(run.step_due(ni))
        if due[-1]:
            run.last_step = ni
    assert due == [False, False, True, False, False, True, False]


def test_learning_rates_follow_curve_and_warm_up(net):
    warm_up = WarmUp(steps=4, bias_lr=0.2, momentum=0.5, final_momentum=0.9, accumulate=4)
    run = optimization(net, warm_up=warm_up, accumulate=4)
    run.start_epoch(5)
    assert run.learning_rates() == {f"lr/pg{i}": pytest.approx(0.0505) for i in range(3)}
    run.start_batch(0, 0)
    assert run.learning_rates() == {"lr/pg0": 0.2, "lr/pg1": 0.0, "lr/pg2": 0.0} and run.accumulate == 1
    run.start_batch(4, 0)
    assert run.learning_rates()["lr/pg1"] == pytest.approx(0.1) and run.accumulate == 4
    run.start_epoch(1)
    run.start_batch(5, 1)  # after the warm-up nothing changes within an epoch
    assert run.learning_rates()["lr/pg0"] == pytest.approx(0.0901)


@pytest.mark.parametrize(
    ("batch", "accumulate", "decay", "steps"),
    [(16, 4, 0.0005, 40), (64, 1, 0.0005, 40), (48, 1, 0.000375, 40), (128, 1, 0.001, 20)],
)
def test_plan(batch, accumulate, decay, steps):
    """200 images, 10 epochs, nbs 64: the figures of 8.3.0."""
    args = get_cfg({"nbs": 64, "weight_decay": 0.0005})
    plan = StepPlan(images=200, batches_per_epoch=-(-200 // batch), batch_size=batch, epochs=10)
    assert plan.accumulate(args) == accumulate
    assert plan.weight_decay(args) == pytest.approx(decay)
    assert plan.optimizer_steps(args) == steps


@pytest.mark.parametrize(("name", "bias_lr"), [("auto", 0.0), ("SGD", 0.1)])
def test_auto_starts_the_biases_at_0(name, bias_lr):
    warm_up = StepPlan(200, 60, 16, 10).warm_up(get_cfg({"optimizer": name}))
    assert warm_up.bias_lr == bias_lr and warm_up.steps == 180 and warm_up.accumulate == 4
