"""A network that was edited after it was built: saved, loaded, trained, resumed and fused, it stays what it is."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from ultralytics import YOLO
from ultralytics.nn.checkpoint import CheckpointError, load_checkpoint
from ultralytics.nn.module_tree import differences
from ultralytics.nn.modules import Conv

X = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
TRAIN = {"imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": False}


@pytest.fixture
def yolo(tiny_model):
    torch.manual_seed(0)
    yolo = YOLO(tiny_model)
    for key, tensor in yolo.model.state_dict().items():
        if key.endswith(("running_mean", "running_var", "bn.weight", "bn.bias")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 4 and ".dfl" not in key:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
    return yolo


def dilation(m):
    m.model[4].conv.dilation = m.model[4].conv.padding = (2, 2)


def eps(m):
    for layer in m.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.1


def activation(m):
    m.model[0].act = nn.LeakyReLU(0.3)


def shortcut(m):
    m.model[3].m[0].add = not m.model[3].m[0].add


def own_attribute(m):
    m.model[3].note = "for the paper"


def wrapped(m):
    layer = m.model[5]
    new = nn.Sequential(layer, nn.Dropout2d(0.1), nn.Tanh())
    new.i, new.f, new.type, new.np = layer.i, layer.f, layer.type, layer.np
    m.model[5] = new


def added_inside(m):
    m.model[3].cv2 = nn.Sequential(m.model[3].cv2, nn.GroupNorm(4, 16))


def narrower(m):
    """As torch-pruning does it: half of the channels between two convolutions are removed."""
    first, second = m.model[0], m.model[1]
    keep = first.conv.out_channels // 2
    first.conv.weight = nn.Parameter(first.conv.weight.data[:keep])
    first.conv.out_channels = keep
    for name in ("weight", "bias"):
        setattr(first.bn, name, nn.Parameter(getattr(first.bn, name).data[:keep]))
    first.bn.running_mean, first.bn.running_var = first.bn.running_mean[:keep], first.bn.running_var[:keep]
    first.bn.num_features = keep
    second.conv.weight = nn.Parameter(second.conv.weight.data[:, :keep])
    second.conv.in_channels = keep


def masks(m):
    for layer in m.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.requires_grad:
            prune.l1_unstructured(layer, "weight", amount=0.3)


def buffers(m):
    """As thop.profile leaves them."""
    for layer in m.modules():
        if layer is Conv.default_act:  # of all networks of this process
            continue
        layer.register_buffer("total_ops", torch.zeros(1, dtype=torch.float64))
        layer.register_buffer("total_params", torch.zeros(1, dtype=torch.float64))


EDITS = [dilation, eps, activation, shortcut, own_attribute, wrapped, added_inside, narrower, masks, buffers]


def output(model):
    with torch.no_grad():
        return model.eval()(X)[0]


@pytest.mark.parametrize("edit", EDITS)
def test_saved_and_loaded(yolo, tmp_path, edit, capsys):
    plain = output(yolo.model)
    edit(yolo.model)
    expected = output(yolo.model)
    if edit not in (own_attribute, buffers):
        assert not torch.allclose(plain, expected, rtol=1e-4, atol=1e-3)
    path = yolo.save(tmp_path / "edited.pt")
    again = YOLO(path)
    assert "edited.pt: the network was edited and is restored as it was: " in capsys.readouterr().out
    torch.testing.assert_close(output(again.model), expected, rtol=1e-4, atol=1e-3)
    loaded = again.model.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in yolo.model.state_dict().items())
    assert not differences(again.model, yolo.model) and not differences(yolo.model, again.model)
    assert again.model.state_dict().keys() == yolo.model.state_dict().keys()
    result = again.predict(X, verbose=False, device="cpu", conf=0.0)[0].boxes.data
    torch.testing.assert_close(result, yolo.predict(X, verbose=False, device="cpu", conf=0.0)[0].boxes.data)


@pytest.mark.parametrize("edit", EDITS)
def test_trained(yolo, tiny_data, tmp_path, edit, capsys):
    edit(yolo.model)
    state, before = {k: v.shape for k, v in yolo.model.state_dict().items()}, list(map(str, yolo.model.model))
    yolo.train(data=str(tiny_data), project=str(tmp_path / "runs"), epochs=1, **TRAIN)
    assert "The network was edited after it was built, and is trained as it is: " in capsys.readouterr().out
    assert {k: v.shape for k, v in yolo.model.state_dict().items()} == state
    assert list(map(str, yolo.model.model)) == before
    assert load_checkpoint(yolo.trainer.best).edits and load_checkpoint(yolo.trainer.last).edits
    if edit is masks:
        weight = yolo.model.model[1].conv.weight
        assert (weight == 0).float().mean() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("edit", [activation, wrapped, narrower, masks])
def test_fused_saved_and_trained(yolo, tiny_data, tmp_path, edit):
    edit(yolo.model)
    expected = output(yolo.model)
    yolo.fuse()
    torch.testing.assert_close(output(yolo.model), expected, rtol=1e-3, atol=1e-3)
    fused = YOLO(yolo.save(tmp_path / "fused.pt"))
    torch.testing.assert_close(output(fused.model), expected, rtol=1e-3, atol=1e-3)
    yolo.train(data=str(tiny_data), project=str(tmp_path / "runs"), epochs=1, **TRAIN)
    assert not yolo.model.is_fused() and load_checkpoint(yolo.trainer.best).edits


def test_resumed(yolo, tiny_data, tmp_path):
    def stop(trainer):
        if trainer.epoch == 1 and not trainer.resumed:
            raise KeyboardInterrupt

    wrapped(yolo.model)
    yolo.add_callback("on_train_epoch_start", stop)
    with pytest.raises(KeyboardInterrupt):
        yolo.train(data=str(tiny_data), project=str(tmp_path / "runs"), epochs=2, **TRAIN)
    again = YOLO(yolo.trainer.last)
    again.train(resume=True)
    assert again.trainer.record.epochs == 2 and isinstance(again.model.model[5], nn.Sequential)


def test_other_classes_get_a_new_head(yolo, tmp_path, tiny_model, tiny_data):
    path = tmp_path / "five.yaml"
    path.write_text(tiny_model.read_text().replace("nc: 2", "nc: 5"))
    yolo = YOLO(path)
    activation(yolo.model)
    weight = yolo.model.model[3].cv1.conv.weight.clone()
    still = {"optimizer": "SGD", "lr0": 0.0, "warmup_bias_lr": 0.0}
    yolo.train(data=str(tiny_data), project=str(tmp_path / "runs"), epochs=1, **TRAIN, **still)
    assert isinstance(yolo.model.model[0].act, nn.LeakyReLU) and yolo.model.model[-1].nc == 2
    assert torch.equal(yolo.model.model[3].cv1.conv.weight, weight)


@pytest.mark.parametrize("reason", ["head was edited", "does not fit"])
def test_a_head_for_other_classes_that_is_impossible_is_refused(tmp_path, tiny_model, tiny_data, reason):
    path = tmp_path / "five.yaml"
    path.write_text(tiny_model.read_text().replace("nc: 2", "nc: 5"))
    yolo = YOLO(path)
    if reason == "head was edited":
        yolo.model.model[-1].cv2[0][0].act = nn.ReLU()
    else:
        yolo.model.model[3].cv2.conv = nn.Conv2d(yolo.model.model[3].cv2.conv.in_channels, 8, 1, bias=False)
        yolo.model.model[3].cv2.bn = nn.BatchNorm2d(8)
    with pytest.raises(ValueError, match=rf"cannot be trained on the 2 classes.*{reason}"):
        yolo.train(data=str(tiny_data), project=str(tmp_path / "runs"), epochs=1, **TRAIN)
    assert not (tmp_path / "runs").exists()


def test_new_weights_for_an_edited_network_are_refused(yolo, tiny_data, tmp_path):
    activation(yolo.model)
    yolo = YOLO(yolo.save(tmp_path / "a.pt"))
    with pytest.raises(ValueError, match=r"pretrained=False builds the network anew.*model\.0\.act is LeakyReLU"):
        yolo.train(data=str(tiny_data), pretrained=False, project=str(tmp_path / "runs"), epochs=1, **TRAIN)


def test_networks_as_their_model_file_says_are_not_called_edited(yolo, tiny_data, tmp_path, capsys):
    yolo.fuse().save(tmp_path / "fused.pt")
    YOLO(tmp_path / "fused.pt")
    yolo.train(data=str(tiny_data), project=str(tmp_path / "runs"), epochs=1, **TRAIN)
    assert "edited" not in capsys.readouterr().out
    assert not load_checkpoint(yolo.trainer.best).edits


def test_hooks_are_not_saved_but_said_so(yolo, tmp_path, capsys):
    yolo.model.model[0].register_forward_hook(lambda _m, _i, out: out * 2)
    yolo.model.model[1].forward = lambda x: x
    path = yolo.save(tmp_path / "hooked.pt")
    assert "hooks and replaced methods of 2 modules are code, and are not saved" in capsys.readouterr().out
    assert yolo.model.model[0]._forward_hooks and not YOLO(path).model.model[0]._forward_hooks


def test_safetensors_hold_no_edits(yolo, tmp_path):
    pytest.importorskip("safetensors")
    yolo.save(tmp_path / "plain.safetensors")
    activation(yolo.model)
    with pytest.raises(ValueError, match=r"edited \(model\.0\.act is LeakyReLU.*use a \.pt file"):
        yolo.save(tmp_path / "edited.safetensors")


@pytest.mark.parametrize("edit", [activation, dilation, wrapped, narrower])
def test_files_of_other_programs(yolo, tmp_path, edit):
    """8.3.0 stores the network in half precision and no second copy of the weights."""
    edit(yolo.model)
    torch.save({"model": yolo.model.half(), "version": "8.3.0"}, tmp_path / "a.pt")
    again = YOLO(tmp_path / "a.pt")
    assert not differences(again.model, yolo.model.float())
    torch.testing.assert_close(output(again.model), output(yolo.model), rtol=1e-4, atol=1e-3)


def test_a_file_cannot_replace_methods_or_tables(yolo, tmp_path):
    layer = yolo.model.model[3]
    vars(layer).update({"forward": "x", "__class__": "y", "_forward_hooks": {"a": 1}, "m_extra": 3})
    torch.save({"model": yolo.model, "version": "8.3.0", "float32": yolo.model.state_dict()}, tmp_path / "a.pt")
    loaded = YOLO(tmp_path / "a.pt").model.model[3]
    assert loaded.m_extra == 3 and not loaded._forward_hooks
    assert not {"forward", "__class__"} & vars(loaded).keys() and loaded.forward.__func__ is type(loaded).forward


def test_a_module_that_contains_itself_is_refused(yolo, tmp_path):
    inner = nn.Sequential(yolo.model.model[3].cv2)
    inner._modules["1"] = inner
    yolo.model.model[3]._modules["cv2"] = inner
    torch.save({"model": yolo.model, "version": "8.3.0", "float32": {}}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="contains itself"):
        YOLO(tmp_path / "a.pt")


def test_attributes_of_new_layers_are_plain(yolo, tmp_path):
    layer = nn.Hardtanh()
    layer.table = [nn.Identity()]
    yolo.model.model[3].cv2.act = layer
    with pytest.raises(CheckpointError, match=r"model\.3\.cv2\.act\.table of a Hardtanh is neither"):
        YOLO(yolo.save(tmp_path / "a.pt"))


class Unregistered(nn.Identity):
    pass


def test_unknown_classes_are_named(yolo, tmp_path):
    yolo.model.model[3].cv2 = nn.Sequential(yolo.model.model[3].cv2, Unregistered())
    with pytest.raises(CheckpointError, match=r"model\.3\.cv2\.1 is a .*Unregistered.*registered"):
        YOLO(yolo.save(tmp_path / "a.pt"))
