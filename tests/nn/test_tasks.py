"""Whole networks: equal to the official package, and everything a network can be asked for."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ultralytics.nn import tasks
from ultralytics.nn.modules import Conv
from ultralytics.nn.tasks import DetectionModel, guess_model_task, yaml_model_load
from ultralytics.utils import LOGGER, IterableSimpleNamespace

NAMES = (
    "yolov8n",
    "yolo11n",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("yolo11s", "yolov8n-p2", "yolov8n-p6", "yolov8n-ghost")),
)


def build(name):
    torch.manual_seed(0)
    return DetectionModel(yaml_model_load(f"{name}.yaml") | ({"legacy": False} if "v8" in name else {}), verbose=False)


@pytest.fixture
def net(tiny, recipe):
    """The small network with weights that make its output depend on the image."""
    return recipe.stir(DetectionModel(tiny, verbose=False))


@pytest.fixture
def x(recipe):
    return recipe.image((2, 3, 48, 64))


# ---- the official package --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_equals_official(recipe, golden, assert_fingerprint, name):
    expected, model = golden[name], build(name)
    state = model.state_dict()
    assert len(state) == expected["tensors"]
    assert recipe.keys_sha256(model) == expected["keys_sha256"]
    assert sum(p.numel() for p in model.parameters()) == expected["parameters"]
    assert len(list(model.modules())) == expected["modules"]
    assert model.save == expected["save"]
    assert model.stride.tolist() == expected["stride"]
    assert sum(p.double().sum().item() for p in model.parameters()) == pytest.approx(expected["start_sum"], abs=1e-5)
    with torch.no_grad():
        model.eval()
        assert_fingerprint(model(recipe.image(recipe.SIZES["square"]))[0], expected["start_output"])
        recipe.stir(model)
        for size, shape in recipe.SIZES.items():
            y, maps = model(recipe.image(shape))
            assert_fingerprint(y, expected[size]["y"], atol=2e-4)
            for level, fingerprint in zip(maps, expected[size]["maps"], strict=True):
                assert_fingerprint(level, fingerprint, rtol=1e-4)
        augmented, none = model(recipe.image((1, 3, 128, 192)), augment=True)
        assert none is None
        assert_fingerprint(augmented, expected["augment"], atol=2e-4)
        embedded = model.predict(recipe.image(recipe.SIZES["rectangular"]), embed=[4, len(model.model) - 2])
        assert_fingerprint(torch.stack(embedded), expected["embed"], rtol=1e-4)


def test_start_state(golden):
    state = build("yolo11n").state_dict()
    means, variances, seen = (
        {k: v for k, v in state.items() if k.endswith(end)} for end in ("running_mean", "running_var", "tracked")
    )
    # one batch of zeros has gone through
    assert all(not v.any() for v in means.values())
    assert all(torch.allclose(v, torch.tensor(0.9)) for v in variances.values())
    assert all(v == 1 for v in seen.values())
    assert state["model.0.conv.weight"].flatten()[:3].tolist() == pytest.approx([-0.00144084, 0.10323861, -0.15839511])
    assert state["model.23.cv3.0.2.bias"].tolist() == pytest.approx([-11.5366] * 80, abs=1e-4)


def test_batch_norm_settings(net):
    assert {(m.eps, m.momentum) for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.03)}


def test_output_shapes_of_an_odd_size():
    model = DetectionModel("yolo11n.yaml", nc=5, verbose=False)
    x = torch.zeros(2, 3, 128, 160)
    assert [tuple(m.shape) for m in model(x)] == [(2, 69, 16, 20), (2, 69, 8, 10), (2, 69, 4, 5)]
    model.eval()
    assert model(x)[0].shape == (2, 9, 420)
    assert model(x, augment=True)[0].shape == (2, 9, 880)


# ---- building --------------------------------------------------------------------------------------------------------


def test_attributes(tiny):
    before = copy.deepcopy(tiny)
    model = DetectionModel(tiny, ch=4, nc=2, verbose=False)
    assert tiny == before
    assert (model.yaml["nc"], model.yaml["ch"], model.names) == (2, 4, {0: "0", 1: "1"})
    assert model.stride.tolist() == [4, 8]
    assert model.model[0].conv.in_channels == 4
    assert model.inplace is True
    assert model.criterion is None


def test_channels_of_the_file_win(tiny):
    assert DetectionModel(tiny | {"ch": 1}, ch=3, verbose=False).model[0].conv.in_channels == 1


@pytest.mark.parametrize(("nc", "lines"), [(None, 0), (3, 0), (5, 1)])
def test_nc_override_is_logged(tiny, monkeypatch, nc, lines):
    texts = []
    monkeypatch.setattr(LOGGER, "info", texts.append)
    model = DetectionModel(tiny, nc=nc)
    assert model.yaml["nc"] == model.model[-1].nc == (nc or 3)
    assert sum("replaces the model file's nc=3" in text for text in texts) == lines


def test_activation_of_one_network(tiny):
    plain = copy.deepcopy(tiny)
    model = DetectionModel(tiny | {"activation": "nn.LeakyReLU(0.2)"}, verbose=False)
    kinds = {type(m.act) for m in model.modules() if isinstance(m, Conv)}
    assert kinds == {nn.LeakyReLU}
    assert model.model[0].act is model.model[1].act
    assert model.model[0].act.negative_slope == 0.2
    other = DetectionModel(plain, verbose=False)  # 8.3.0 would give it LeakyReLU too
    assert {type(m.act) for m in other.modules() if isinstance(m, Conv)} == {nn.SiLU}


def test_network_without_detection_head(tiny):
    tiny["head"] = [[-1, 1, "Conv", [8]]]
    model = DetectionModel(tiny, verbose=False)
    assert model.stride.tolist() == [32]
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 8, 4, 4)
    with pytest.raises(NotImplementedError):
        tasks.BaseModel().init_criterion()


# ---- running ---------------------------------------------------------------------------------------------------------


def test_every_parameter_gets_a_gradient(tiny, recipe, x):
    model = recipe.stir(DetectionModel(tiny, verbose=False)).train()
    sum(m.square().mean() for m in model(x)).backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert missing == []
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["model.7.dfl.conv.weight"]


def test_loss_of_a_batch(net, x):
    net.args = IterableSimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    batch = {
        "img": x,
        "cls": torch.tensor([[0.0], [2.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.4, 0.2, 0.5]]),
        "batch_idx": torch.tensor([0.0, 1.0]),
    }
    net.train()
    total, items = net(batch)
    assert total.requires_grad
    assert items.shape == (3,)
    torch.testing.assert_close(total.detach().sum(), 2 * items.sum())
    criterion = net.criterion
    torch.testing.assert_close(net.loss(batch, net(x))[0], total)
    assert net.criterion is criterion


def test_augmented_prediction_by_hand(net, x):
    """Scales 1, 0.83, 0.67, the second mirrored; largest and smallest image lose one level each."""
    with torch.no_grad():
        y, none = net(x, augment=True)
        whole = net(x)[0]
        small = F.interpolate(x.flip(3), (39, 53), mode="bilinear", align_corners=False)
        small = net(F.pad(small, (0, 56 - 53, 0, 40 - 39), value=0.447))[0]
        tiny_ = F.interpolate(x, (32, 42), mode="bilinear", align_corners=False)
        tiny_ = net(F.pad(tiny_, (0, 48 - 42, 0, 40 - 32), value=0.447))[0]
    assert none is None
    small[:, :4] /= 0.83
    small[:, 0] = 64 - small[:, 0]
    tiny_[:, :4] /= 0.67
    a, c = whole.shape[2], tiny_.shape[2]
    expected = torch.cat((whole[..., : a - a // 5], small, tiny_[..., c // 5 * 4 :]), 2)
    torch.testing.assert_close(y, expected)


def test_augment_elsewhere_warns(net, x, monkeypatch):
    texts = []
    monkeypatch.setattr(LOGGER, "warning", texts.append)
    net.train()
    assert isinstance(net(x, augment=True), list)
    assert "no test-time augmentation" in texts[0]


def test_embed_stops_at_the_last_layer_asked_for(net, x):
    ran = []
    net.model[7].register_forward_hook(lambda *_: ran.append(7))
    vectors = net.predict(x, embed=[2, 6])
    assert [v.shape for v in vectors] == [(32,), (32,)]
    outputs = {}
    for i in (2, 6):
        net.model[i].register_forward_hook(lambda m, _i, y: outputs.__setitem__(m.i, y))
    net(x)
    torch.testing.assert_close(vectors[1], torch.cat([outputs[i][1].mean((1, 2)) for i in (2, 6)]))
    assert ran == [7]


def test_profile_logs_a_line_a_layer(net, x, monkeypatch):
    texts = []
    monkeypatch.setattr(LOGGER, "info", texts.append)
    torch.testing.assert_close(net.predict(x, profile=True)[0], net(x)[0])
    assert len(texts) == 8
    assert "ultralytics.nn.modules.conv.Conv" in texts[0]


def test_visualize_draws_the_layers(net, x, tmp_path):
    with torch.no_grad():
        net.predict(x, visualize=tmp_path / "maps")
    assert sorted(p.name for p in (tmp_path / "maps").iterdir())[:2] == ["layer0_Conv.png", "layer1_Conv.png"]
    assert len(list((tmp_path / "maps").iterdir())) == 7  # the head's lists are no pictures


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_fused_network_computes_the_same(recipe, name):
    model = recipe.stir(build(name))
    x = recipe.image((1, 3, 64, 96))
    with torch.no_grad():
        expected = model(x)[0]
        fused = copy.deepcopy(model).fuse(verbose=False)
        torch.testing.assert_close(fused(x)[0], expected, rtol=1e-4, atol=1e-4)
        assert fused.is_fused()
        assert fused.fuse() is fused
        assert not model.is_fused()
        torch.testing.assert_close(pickle.loads(pickle.dumps(fused))(x)[0], fused(x)[0])
        torch.testing.assert_close(copy.deepcopy(fused)(x)[0], fused(x)[0])


def test_memory_layout_and_low_precision(recipe, x):
    model = recipe.stir(build("yolo11n"))
    x = recipe.image((1, 3, 64, 96))
    with torch.no_grad():
        expected = model(x)[0]
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)
        y = last(x.contiguous(memory_format=torch.channels_last))[0]
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-3)
        for dtype, pixels in ((torch.float16, 0.5), (torch.bfloat16, 4.0)):
            low = copy.deepcopy(model).to(dtype)(x.to(dtype))[0].float()
            assert (low[:, :4] - expected[:, :4]).abs().max() < pixels
            assert (low[:, 4:] - expected[:, 4:]).abs().max() < pixels / 20


def test_copies_are_independent(net, x):
    expected = net(x)[0].detach().clone()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        torch.testing.assert_close(other(x)[0], expected)
        other.model[0].conv.weight.data.zero_()
        torch.testing.assert_close(net(x)[0], expected)


def test_trace_follows_the_image_size(net, x, recipe):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer PyTorch calls tracing deprecated
        traced = torch.jit.trace(net, x, strict=False)
    for image in (x, recipe.image((1, 3, 32, 80))):
        torch.testing.assert_close(traced(image)[0], net(image)[0])


@pytest.mark.slow  # importing the compiler takes seconds
def test_compiles_as_one_graph(net, x, recipe):
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    for image in (x, recipe.image((1, 3, 32, 80))):
        torch.testing.assert_close(compiled(image)[0], net(image)[0])


def test_conversion_reaches_the_head(net, x):
    net(x)
    net.double()
    head = net.model[-1]
    assert (head.stride.dtype, head.anchors.dtype, head.strides.dtype) == (torch.float64,) * 3
    assert net(x.double())[0].dtype == torch.float64


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_load_takes_over_what_fits(tiny, recipe):
    source = recipe.stir(DetectionModel(tiny, verbose=False))
    target = DetectionModel(tiny, nc=5, verbose=False)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    report = target.load({"model": source.half()}, verbose=False)
    for key, tensor in target.state_dict().items():
        if source.state_dict()[key].shape == tensor.shape:
            assert torch.equal(tensor, source.state_dict()[key].to(tensor.dtype)), key
    differing = [k for k in before if source.state_dict()[k].shape != before[k].shape]
    assert differing == [f"model.7.cv3.{i}.2.{kind}" for i in (0, 1) for kind in ("weight", "bias")]
    assert all(torch.equal(target.state_dict()[k], before[k]) for k in differing)
    assert (report.new, len(report.transferred)) == (differing, len(before) - 4)


@pytest.mark.parametrize("nc", [2, 120])
def test_transfer_between_class_counts(nc):
    # as many whole tensors as by name and shape; the hidden channels of the class branch are transferred in part
    report = DetectionModel("yolo11n.yaml", nc=nc, verbose=False).load(build("yolo11n"), verbose=False)
    assert (len(report.transferred), len(report.partly), len(report.new)) == (448, 45, 6)


# ---- the task --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("yolo11n.yaml", "detect"),
        ("yolo11n-seg.pt", "segment"),
        ("runs/pose/train/weights/best.pt", "pose"),
        ("yolov8x-obb.yaml", "obb"),
        ("yolo11n-cls.yaml", "classify"),
        ({"head": [[-1, 1, "Classify", ["nc"]]]}, "classify"),
        ({"head": [[[1, 2], 1, "v10Detect", ["nc"]]]}, "detect"),
        ({"head": [[[1, 2], 1, "OBB", ["nc", 1]]]}, "obb"),
    ],
)
def test_guess_model_task(model, task):
    assert guess_model_task(model) == task


def test_task_of_a_network(net):
    assert guess_model_task(net) == "detect"
    net.args = {"task": "pose"}
    assert guess_model_task(net) == "pose"
    net.args = IterableSimpleNamespace(task="obb")
    assert guess_model_task(net) == "obb"
    assert guess_model_task(nn.Sequential(net.model[-1])) == "detect"


@pytest.mark.parametrize("model", ["best.pt", {"head": [[-1, 1, "Conv", [1]]]}, nn.Conv2d(1, 1, 1)])
def test_unknown_task_warns(model, monkeypatch):
    texts = []
    monkeypatch.setattr(LOGGER, "warning", texts.append)
    assert guess_model_task(model) == "detect"
    assert "cannot be determined" in texts[0]
