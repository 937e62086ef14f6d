"""YOLO(new.yaml).load(old.pt).train(...): all weights are used as if the classes of the data had been known."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch import nn
from torch.nn.utils import prune

from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.checkpoint import save_checkpoint
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

OLD = ["cat", "dog", "car", "tree"]
DATA = ["Dog", "lorry", "cat", "tree", "bus"]
HIDDEN = 40  # classes that make the hidden layers of the class branch as wide; it is 16 for few


class _Untrained(DetectionTrainer):
    """A trainer that stops where training would begin."""

    def train(self):
        self.validator = SimpleNamespace(metrics=None)


@pytest.fixture
def start(tiny, tmp_path):
    """Function (model, data's names, ...) -> the network with which its training begins."""

    def prepare(yolo, names, **options):
        folder = tmp_path / "data"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        data = folder / "data.yaml"
        data.write_text(yaml.safe_dump({"path": ".", "train": "images", "val": "images", "names": list(names)}))
        args = {"data": str(data), "project": str(tmp_path / "runs"), "device": "cpu", "plots": False}
        yolo.train(trainer=_Untrained, **args | options)
        return yolo.trainer.model

    return prepare


@pytest.fixture
def new(tiny, tmp_path):
    """Function (nc) -> YOLO of a new model file."""

    def make(nc=3, **changes):
        path = tmp_path / "new.yaml"
        path.write_text(yaml.safe_dump({**tiny, "nc": nc, **changes}))
        return YOLO(path)

    return make


def trained(tiny, recipe, names, seed=0, **changes):
    torch.manual_seed(seed)
    network = recipe.stir(DetectionModel({**tiny, **changes}, nc=len(names), verbose=False)).eval()
    if seed:
        with torch.no_grad():
            for p in network.parameters():
                p.mul_(1 + seed / 10)
    network.names, network.task = dict(enumerate(names)), "detect"
    return network


def class_layers(network):
    return [branch[-1] for branch in network.model[-1].cv3]


def assert_same(one, other, but=()):
    result, from_source = one.state_dict(), other.state_dict()
    assert list(result) == list(from_source)
    different = {k for k in result if not torch.equal(result[k], from_source[k])}
    assert different <= set(but), different - set(but)


@pytest.mark.parametrize("file_nc", [3, 4, 5, 90], ids=["other", "the checkpoint's", "the data's", "many"])
@pytest.mark.parametrize("old_nc", [len(OLD), HIDDEN])
def test_class_rows_by_name_arrive(tiny, recipe, new, start, tmp_path, file_nc, old_nc):
    source = trained(tiny, recipe, OLD + [f"x{i}" for i in range(old_nc - len(OLD))])
    save_checkpoint(tmp_path / "old.pt", source, finished=True)
    network = start(new(file_nc).load(tmp_path / "old.pt"), DATA)
    for result, from_source in zip(class_layers(network), class_layers(source), strict=True):
        for row, name in ((0, "dog"), (2, "cat"), (3, "tree")):
            assert torch.equal(result.weight[row], from_source.weight[OLD.index(name), : result.in_channels])
            assert torch.equal(result.bias[row], from_source.bias[OLD.index(name)])
    # the same as by the option; new classes are random in both
    option = start(new(file_nc), DATA, pretrained=str(tmp_path / "old.pt"))
    for result, from_source in zip(class_layers(network), class_layers(option), strict=True):
        for x in (result, from_source):
            x.weight.data[[1, 4]] = 0
            x.bias.data[[1, 4]] = 0
    assert_same(network, option)


def test_the_width_of_the_class_branch_survives_a_narrow_file(tiny, recipe, new, start):
    names = [f"class {i}" for i in range(HIDDEN)]
    source = trained(tiny, recipe, names)
    network = start(new(2).load(source), names[::-1])
    state, from_source = network.state_dict(), source.state_dict()
    assert state["model.7.cv3.0.0.conv.weight"].shape == from_source["model.7.cv3.0.0.conv.weight"].shape
    rows = {f"model.7.cv3.{i}.2.{name}" for i in range(2) for name in ("weight", "bias")}
    assert_same(network, source, but=rows)
    assert all(torch.equal(state[k], from_source[k].flip(0)) for k in rows)


def test_two_sources_in_their_order(tiny, recipe, new, start):
    first = trained(tiny, recipe, ["cat", "dog"], seed=1)
    second = trained(tiny, recipe, ["dog", "car", "bus"], seed=2)
    assert not torch.equal(class_layers(first)[0].bias[1], class_layers(second)[0].bias[0])
    network = start(new(7).load(first).load(second), ["car", "dog", "cat"])
    for result, a, b in zip(*map(class_layers, (network, first, second)), strict=True):
        assert torch.equal(result.bias, torch.stack((b.bias[1], b.bias[0], a.bias[0])))
    assert torch.equal(network.model[0].conv.weight, second.model[0].conv.weight), "the later one wins"


def test_the_weights_of_a_checkpoint_come_first(tiny, recipe, start, tmp_path):
    first, from_source = (
        trained(tiny, recipe, ["ant", "bee"], seed=1),
        trained(tiny, recipe, ["bee", "cat", "dog"], seed=2),
    )
    save_checkpoint(tmp_path / "first.pt", first, finished=True)
    network = start(YOLO(tmp_path / "first.pt").load(from_source), ["dog", "ant", "bee"])
    for result, a, b in zip(*map(class_layers, (network, first, from_source)), strict=True):
        assert torch.equal(result.bias, torch.stack((b.bias[2], a.bias[0], b.bias[0])))


def test_a_part_of_the_layers(tiny, recipe, new, start, put_in):
    source = trained(tiny, recipe, OLD)
    changed = put_in(tiny, 3, [-1, 1, "deformable_LKA_Attention", []])
    changed["backbone"][1] = [-1, 1, "AKConv", [16, 3, 2]]
    yolo = new(9, backbone=changed["backbone"], head=changed["head"]).load(source)
    random = {k: v.clone() for k, v in yolo.model.state_dict().items() if k.startswith(("model.1.", "model.3."))}
    network = start(yolo, DATA)
    state = network.state_dict()
    assert all(torch.equal(state[k], v) for k, v in random.items()), "what is new stays as it was"
    assert not state["model.3.proj_2.weight"].any(), "and starts as the identity"
    assert torch.equal(class_layers(network)[0].bias[2], class_layers(source)[0].bias[0])


def edit_weight(network):
    network.model[2].cv1.conv.weight.data[0] = 7


def edit_through_numpy(network):
    network.model[7].cv3[0][0].conv.weight.detach().numpy()[0] = 7


def edit_statistics(network):
    network.model[3].bn.running_mean += 1


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (edit_weight, "model.2.cv1.conv.weight"),
        (edit_through_numpy, "model.7.cv3.0.0.conv.weight"),
        (edit_statistics, "model.3.bn.running_mean"),
    ],
)
def test_changes_by_hand_arrive(tiny, recipe, new, start, edit, key):
    source = trained(tiny, recipe, OLD)
    before = deepcopy(source.state_dict())
    yolo = new(9).load(source)
    edit(yolo.model)
    expected = yolo.model.state_dict()[key].clone()
    assert not torch.equal(expected, before[key])
    network = start(yolo, OLD[::-1])
    rows = {f"model.7.cv3.{i}.2.{name}" for i in range(2) for name in ("weight", "bias")}
    assert torch.equal(network.state_dict()[key], expected)
    assert_same(network, source, but=rows | {key})
    assert torch.equal(class_layers(network)[0].bias, class_layers(source)[0].bias.flip(0))


def test_a_change_between_two_loads_arrives(tiny, recipe, new, start, put_in):
    old = trained(tiny, recipe, OLD)
    changed = put_in(tiny, 3, [-1, 1, "deformable_LKA_Attention", []])
    yolo = new(9, backbone=changed["backbone"], head=changed["head"]).load(old)
    yolo.model.model[3].proj_1.weight.data.fill_(3)  # of a layer that no source has
    network = start(yolo.load(trained(tiny, recipe, ["dog", "ant"], seed=1)), OLD)
    assert (network.model[3].proj_1.weight == 3).all()


def test_edited_class_rows_win_and_unknown_ones_come_from_the_source(tiny, recipe, new, start):
    source = trained(tiny, recipe, OLD)
    yolo = new(2).load(source)
    yolo.model.names = {0: "dog", 1: "bird"}
    with torch.no_grad():
        for layer in class_layers(yolo.model):
            layer.bias.copy_(torch.tensor([5.0, 6.0]))
    network = start(yolo, ["cat", "bird", "dog"])
    for result, from_source in zip(class_layers(network), class_layers(source), strict=True):
        assert torch.equal(result.bias, torch.stack((from_source.bias[0], torch.tensor(6.0), torch.tensor(5.0))))


def test_pruned_weights_arrive(tiny, recipe, new, start):
    source = trained(tiny, recipe, OLD)
    yolo = new(9).load(source)
    conv = yolo.model.model[3].conv
    prune.l1_unstructured(conv, "weight", amount=0.5)
    network = start(yolo, DATA)
    assert torch.equal(network.model[3].conv.weight, conv.weight_orig * conv.weight_mask)
    assert (network.model[3].conv.weight == 0).float().mean() == pytest.approx(0.5, abs=0.01)


def test_a_narrower_layer_arrives(tiny, recipe, new, start):
    """Channels cut out by hand: the network of the file is as wide as before, and computes what the cut one does."""
    source = trained(tiny, recipe, OLD)
    yolo = new(9).load(source)
    first, second = yolo.model.model[0], yolo.model.model[1].conv
    first.conv.weight = nn.Parameter(first.conv.weight[:5].detach().clone())
    first.conv.out_channels = first.bn.num_features = 5
    for name in ("weight", "bias"):
        setattr(first.bn, name, nn.Parameter(getattr(first.bn, name)[:5].detach().clone()))
    for name in ("running_mean", "running_var"):
        setattr(first.bn, name, getattr(first.bn, name)[:5].clone())
    second.weight = nn.Parameter(second.weight[:, :5].detach().clone())
    second.in_channels = 5
    cut = yolo.model.eval()
    network = start(yolo, OLD).eval()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(image)[0][:, :4], cut(image)[0][:, :4], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("nc", "names", "missing"),
    [(9, {}, "cat, dog, car, tree"), (4, {}, ""), (2, {0: "Dog", 1: "bee"}, "cat, car, tree")],
)
def test_a_saved_file_says_which_classes_are_not_in_it(
    tiny, recipe, new, start, tmp_path, monkeypatch, nc, names, missing
):
    texts = []
    monkeypatch.setattr(LOGGER, "warning", texts.append)
    source, yolo = trained(tiny, recipe, OLD), new(nc)
    yolo.model.names = names or yolo.model.names
    file = yolo.load(source).save(tmp_path / "x")
    assert [text.split(": ")[0] for text in texts] == ([f"{file} holds no weights for {missing}"] if missing else [])
    save_checkpoint(tmp_path / "old.pt", source, finished=True)
    for network in (start(yolo, OLD), start(YOLO(file), OLD, pretrained=str(tmp_path / "old.pt"))):
        assert_same(network, source)  # both ways that the text names lead there
    if not missing:
        assert_same(start(YOLO(file), OLD), source)
    texts.clear()
    yolo.reset_weights().save(tmp_path / "y")
    assert not texts


def test_other_networks_are_not_mixed_up(tiny, recipe, new, start):
    source, other = trained(tiny, recipe, OLD, seed=1), trained(tiny, recipe, DATA, seed=2)
    yolo = new(9).load(source)
    yolo.model = other
    assert_same(start(yolo, DATA), other)
    yolo = new(9).load(source).reset_weights()
    random = {k: v.clone() for k, v in yolo.model.state_dict().items()}
    assert not any(
        torch.equal(v, source.state_dict()[k]) for k, v in start(yolo, DATA).state_dict().items() if "conv.weight" in k
    )
    assert all(torch.equal(random[k], v) for k, v in yolo.model.state_dict().items())


def test_the_source_may_change_or_vanish_meanwhile(tiny, recipe, new, start, tmp_path):
    source = trained(tiny, recipe, OLD)
    bias = class_layers(source)[0].bias.detach().clone()
    yolo = new(9).load(source)
    with torch.no_grad():
        class_layers(source)[0].bias.zero_()
    assert torch.equal(class_layers(start(yolo, OLD))[0].bias, bias)


def test_options_that_replace_what_was_given(tiny, recipe, new, start, tmp_path):
    source, other = trained(tiny, recipe, OLD, seed=1), trained(tiny, recipe, OLD, seed=2)
    save_checkpoint(tmp_path / "other.pt", other, finished=True)
    assert_same(start(new(9).load(source), OLD, pretrained=str(tmp_path / "other.pt")), other)
    fresh = start(new(9).load(source), OLD, pretrained=False)
    assert not torch.equal(fresh.model[0].conv.weight, source.model[0].conv.weight)
