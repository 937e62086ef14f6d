"""Parameter groups, the auto rule, curves and warm-up against the figures measured on 8.3.0."""

import pytest
import torch
from torch import nn

from ultralytics.engine.optimizer import WarmUp, auto_choice, build_optimizer, lr_curve, parameter_groups, steps_of_run
from ultralytics.nn.tasks import DetectionModel


def small_net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=True), nn.BatchNorm2d(4), nn.Linear(4, 2))


def test_groups_of_yolo11n_have_the_measured_sizes():
    assert [len(g) for g in parameter_groups(DetectionModel("yolo11n.yaml", verbose=False))] == [87, 88, 81]


def test_every_parameter_is_in_exactly_one_group():
    net = small_net()
    ids = [id(p) for g in parameter_groups(net) for p in g]
    assert sorted(ids) == sorted(id(p) for p in net.parameters())


@pytest.mark.parametrize(
    ("nc", "steps", "choice"),
    [(80, 100, ("AdamW", 0.000119, 0.9)), (2, 10_000, ("AdamW", 0.001667, 0.9)), (2, 10_001, ("SGD", 0.01, 0.9))],
)
def test_auto_rule(nc, steps, choice):
    assert auto_choice(nc, steps) == choice


def test_steps_count_nominal_batches():
    assert steps_of_run(205, 16, 64, 40) == 160
    assert steps_of_run(205, 128, 64, 3) == 6


@pytest.mark.parametrize("name", ["SGD", "sgd", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp"])
def test_only_weights_decay(name):
    optimizer = build_optimizer(small_net(), name, 0.01, 0.9, 0.5)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.0, 0.5, 0.0]
    assert type(optimizer).__name__.lower() == name.lower()
    for group in optimizer.param_groups:
        assert group["lr"] == 0.01


def test_sgd_without_momentum():
    optimizer = build_optimizer(small_net(), "SGD", 0.01, 0.0, 0.0)
    assert all(group["momentum"] == 0.0 for group in optimizer.param_groups)


def test_unknown_optimizer_lists_the_known():
    with pytest.raises(ValueError, match=r"Lion is unknown.*AdamW"):
        build_optimizer(small_net(), "Lion", 0.01, 0.9, 0.0)


def test_cosine_curve():
    curve = lr_curve(10, 0.01, cosine=True)
    expected = [1, 0.975773, 0.905463, 0.795954, 0.657963, 0.505, 0.352037, 0.214046, 0.104537, 0.034227]
    assert [round(curve(e), 6) for e in range(10)] == expected


def test_linear_curve_ends_at_lrf():
    curve = lr_curve(10, 0.01, cosine=False)
    assert curve(0) == 1 and curve(10) == pytest.approx(0.01) and curve(5) == pytest.approx(0.505)


def test_warm_up_trace():
    """The trace measured on 8.3.0: SGD, lr0 0.01, 3 batches an epoch, cosine, 5 epochs."""
    optimizer = build_optimizer(small_net(), "SGD", 0.01, 0.937, 0.0)
    for group in optimizer.param_groups:
        group["initial_lr"] = 0.01
    curve = lr_curve(5, 0.01, cosine=True)
    warm_up = WarmUp(WarmUp.length(3.0, 3), bias_lr=0.1, momentum=0.8, final_momentum=0.937, accumulate=4)
    assert warm_up.steps == 100
    rows = {}
    for step in (0, 1, 3, 100):
        accumulate = warm_up.apply(optimizer, step, curve(step // 3 if step < 100 else 0))
        rows[step] = ([g["lr"] for g in optimizer.param_groups], optimizer.param_groups[0]["momentum"], accumulate)
    assert rows[0] == ([0.1, 0.0, 0.0], 0.8, 1)
    assert rows[1][0] == pytest.approx([0.0991, 0.0001, 0.0001]) and rows[1][1] == pytest.approx(0.80137)
    assert rows[3][0][0] == pytest.approx(0.0972716, abs=1e-7) and rows[3][1] == pytest.approx(0.80411)
    assert rows[100] == (pytest.approx([0.01] * 3), pytest.approx(0.937), 4)


def test_no_warm_up():
    assert WarmUp.length(0, 50) == -1
    assert WarmUp.length(3, 50) == 150


def test_fused_step_equals_the_plain_one():
    torch.manual_seed(0)
    net = small_net()
    twin = small_net()
    twin.load_state_dict(net.state_dict())
    optimizer = build_optimizer(net, "SGD", 0.1, 0.9, 0.01)
    groups = [{"params": g, "weight_decay": d} for g, d in zip(parameter_groups(twin), (0, 0.01, 0), strict=True)]
    plain = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, foreach=False)
    for _ in range(3):
        for model, each in ((net, optimizer), (twin, plain)):
            each.zero_grad()
            sum(p.pow(2).sum() for p in model.parameters()).backward()
            each.step()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b)
