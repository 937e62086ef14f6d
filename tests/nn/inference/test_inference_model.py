"""The copy that prediction runs: made anew after every change that matters, and not made where users' code must run."""

import gc
import types
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from ultralytics import YOLO
from ultralytics.nn.inference.inference_model import get_inference_model

CPU = torch.device("cpu")
X = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model(tiny_model):
    torch.manual_seed(0)
    network = YOLO(tiny_model).model
    for key, tensor in network.state_dict().items():
        if key.endswith(("running_mean", "running_var", "bn.weight", "bn.bias")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 4 and ".dfl" not in key:
            tensor.normal_(
                0, (2 / tensor[0].numel()) ** 0.5
            )  # the initial weights of a head hardly depend on its input
    return network.eval()


def run(network):
    with torch.inference_mode():
        return get_inference_model(network, CPU, False)(X)[0].clone()


def expected(network):
    with torch.no_grad():
        return network.eval()(X)[0]


def test_the_copy_is_kept_while_nothing_changes(model):
    first = get_inference_model(model, CPU, False)
    assert first is not model and first.is_fused() and not model.is_fused()
    run(model)
    assert get_inference_model(model, CPU, False) is first


def edit_data(m):
    m.model[0].conv.weight.data[0, 0, 0, 0] += 9


def zero_an_input_channel(m):
    m.model[3].cv1.conv.weight.data[:, 3] = 0


def change_signs(m):
    m.model[3].cv1.conv.weight.data.neg_()


def swap_filters(m):
    weight = m.model[3].cv1.conv.weight.data
    weight.copy_(weight.flip(0).clone())


def edit_a_shared_array(m):
    m.model[1].conv.weight.detach().numpy()[:] *= 2


def wrap(m):
    layer = m.model[1]
    wrapped = nn.Sequential(layer, nn.Hardtanh())
    wrapped.i, wrapped.f, wrapped.type, wrapped.np = layer.i, layer.f, layer.type, layer.np
    m.model[1] = wrapped


def replace_forward(m):
    layer = m.model[1]
    original = layer.forward
    layer.forward = lambda x: original(x) * 0.5


def replace_forward_by_a_method(m):
    m.model[1].forward = types.MethodType(lambda self, x: self.act(self.bn(self.conv(x))) + 1, m.model[1])


def replace_forward_of_the_network(m):
    original = m.forward
    m.forward = lambda x, *args, **kwargs: original(x * 0.5, *args, **kwargs)


def replace_predict_once(m):
    original = m._predict_once
    m._predict_once = lambda x, *args: original(x * 0.5, *args)


def hook_that_changes_the_output(m):
    m.model[0].register_forward_hook(lambda _m, _i, out: out * 0.5)


def hook_before_a_normalization(m):
    m.model[0].bn.register_forward_pre_hook(lambda _m, args: (args[0] * 0.5,))


def pruned(m):
    prune.l1_unstructured(m.model[3].cv1.conv, "weight", amount=0.5)


def pruned_then_changed(m):
    pruned(m)
    run(m)
    with torch.no_grad():
        m.model[3].cv1.conv.weight_orig.mul_(2)
    m(X)  # the mask is applied in forward


EDITS = {
    "eps": lambda m: setattr(m.model[0].bn, "eps", 0.5),
    "dilation": lambda m: (setattr(m.model[4].conv, "dilation", (2, 2)), setattr(m.model[4].conv, "padding", (2, 2))),
    "padding_mode": lambda m: setattr(m.model[4].conv, "padding_mode", "circular"),
    "shortcut": lambda m: setattr(m.model[3].m[0], "add", not m.model[3].m[0].add),
    "activation": lambda m: setattr(m.model[0], "act", nn.ReLU()),
    "slope": lambda m: (
        setattr(m.model[0], "act", nn.LeakyReLU(0.1)), run(m), setattr(m.model[0].act, "negative_slope", 0.9),
    ),
    "stride of the head": lambda m: m.model[-1].stride.mul_(2),
    "new stride of the head": lambda m: setattr(m.model[-1], "stride", m.model[-1].stride * 2),
    "weights": lambda m: nn.init.constant_(m.model[0].conv.weight, 0.1),
    "statistics": lambda m: m.model[0].bn.running_mean.fill_(3),
    "layer": lambda m: m.model.__setitem__(5, nn.Identity()),
} | {
    f.__name__: f
    for f in (
        edit_data,
        zero_an_input_channel,
        change_signs,
        swap_filters,
        edit_a_shared_array,
        wrap,
        replace_forward,
        replace_forward_by_a_method,
        replace_forward_of_the_network,
        replace_predict_once,
        hook_that_changes_the_output,
        hook_before_a_normalization,
        pruned,
        pruned_then_changed,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_edits_after_a_first_run_take_effect(model, name):
    before = run(model)
    if name == "layer":
        layer = model.model[5]
        new = nn.Conv2d(layer.conv.in_channels, layer.conv.out_channels, 3, 2, 1)
        new.i, new.f, new.type, new.np = layer.i, layer.f, layer.type, layer.np
        model.model[5] = new
    else:
        EDITS[name](model)
    after = run(model)
    tolerance = {"rtol": 1e-4, "atol": 1e-3}
    torch.testing.assert_close(after, expected(model), **tolerance)
    assert not torch.allclose(after, before, **tolerance)


def test_hooks_fire_on_the_users_own_object_until_they_are_removed(model):
    run(model)
    calls = []
    hooks = [
        module.register_forward_hook(lambda m, _i, _o: calls.append(m))
        for module in (model, model.model[0], model.model[0].bn, model.model[3].m[0].cv1.act, model.model[-1])
    ]
    run(model)
    assert set(calls) == {model, model.model[0], model.model[0].bn, model.model[3].m[0].cv1.act, model.model[-1]}
    for hook in hooks:
        hook.remove()
    calls.clear()
    assert get_inference_model(model, CPU, False) is not model
    run(model)
    assert not calls


def test_predict_fires_hooks_of_the_network(tiny_model):
    yolo = YOLO(tiny_model)
    yolo.predict(X, verbose=False, device="cpu")
    seen = []
    yolo.model.register_forward_hook(lambda m, _i, _o: seen.append(m))
    yolo.model.model[2].register_forward_hook(lambda m, _i, out: setattr(m, "kept", out.shape))
    yolo.predict(X, verbose=False, device="cpu")
    assert seen == [yolo.model] and yolo.model.model[2].kept == (1, 16, 8, 8)
    assert all(p.requires_grad for n, p in yolo.model.named_parameters() if ".dfl" not in n)


def test_a_restored_forward_is_fast_again(model):
    run(model)
    model.model[0].forward = lambda x: x
    assert get_inference_model(model, CPU, False) is model
    del model.model[0].forward
    assert get_inference_model(model, CPU, False).is_fused()


def test_a_fused_network_is_not_taken_for_an_edited_one(model):
    model.fuse(verbose=False)
    assert get_inference_model(model, CPU, False) is not model


def test_the_copy_dies_with_the_network(tiny_model):
    network = YOLO(tiny_model).model
    copy, owner = weakref.ref(get_inference_model(network, CPU, False)), weakref.ref(network)
    del network
    gc.collect()
    assert owner() is None and copy() is None
