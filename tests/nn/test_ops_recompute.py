"""recomputed: gradients by hand, what is kept for them, and when the operator is called as it is."""

import pytest
import torch

from ultralytics.nn.ops.recompute import recomputed


def _power(x, w, exponent):
    return w * x**exponent


def _power_gradients(x, w, grad, exponent):
    assert not torch.is_autocast_enabled("cpu"), "sums of the backward pass are not for half precision"
    return grad * w * exponent * x ** (exponent - 1), grad * x**exponent


def _inputs():
    return torch.tensor([2.0, -1.0], requires_grad=True), torch.tensor([3.0, 5.0], requires_grad=True)


def test_gradients_by_hand_and_only_the_inputs_are_kept():
    x, w = _inputs()
    with torch.autocast("cpu", torch.bfloat16):
        y = recomputed(_power, _power_gradients, x, w, settings=(3,))
        assert y.tolist() == [24, -5]
        assert [t.data_ptr() for t in y.grad_fn.saved_tensors] == [x.data_ptr(), w.data_ptr()]
        y.sum().backward()
    assert x.grad.tolist() == [36, 15]
    assert w.grad.tolist() == [8, -1]


def test_an_input_without_gradient_gets_none():
    x, w = _inputs()
    recomputed(_power, _power_gradients, x, w.detach(), settings=(2,)).sum().backward()
    assert x.grad.tolist() == [12, -10]
    assert w.grad is None


@pytest.mark.parametrize("expected", [True, False])
def test_without_gradients_the_operator_runs_as_it_is(expected):
    x, w = _inputs()
    with torch.set_grad_enabled(expected):
        y = recomputed(_power, _power_gradients, *((x.detach(), w.detach()) if expected else (x, w)), settings=(2,))
    assert y.tolist() == [12, 5]
    assert not y.requires_grad


def test_second_derivatives_are_refused_and_not_wrong():
    x, w = _inputs()
    y = recomputed(_power, _power_gradients, x, w, settings=(2,))
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
