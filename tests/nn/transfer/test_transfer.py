"""Weight transfer: counts by hand for the shipped files, classes by name, other widths and depths, identities."""

import re

import pytest
import torch
from torch import nn

from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.checkpoint import load_checkpoint, save_checkpoint
from ultralytics.nn.tasks import DetectionModel, yaml_model_load
from ultralytics.nn.transfer import transfer_weights
from ultralytics.utils import LOGGER

# Tensors in state_dict: a Conv has 6 (weight, and 5 of its normalization), an AKConv 8 (the same, weight and bias of
# p_conv), an ACmix 12 (7 convolutions with 10 weights and biases, 2 rates), a D-LKA attention 12 (proj_1, proj_2 and
# conv1 with bias, two deformable layers of 3). yolov8n has 355, yolo11n 499.
SHIPPED = {
    # file: (source, rows of the target without a counterpart of their type, transferred, new, left)
    "yolov8n-AKConv": ("yolov8n", {1, 3, 5, 7, 16, 19}, 355 - 6 * 6, 6 * 8, 6 * 6),  # AKConv for Conv
    "yolo11n-AKConv": ("yolo11n", {5, 7, 20}, 499 - 3 * 6, 3 * 8, 3 * 6),
    "yolov8n-ACmix": ("yolov8n", {16, 20, 24}, 355, 3 * 12, 0),  # put in
    "yolov8n-ACmix-P5": ("yolov8n", {22}, 355, 12, 0),
    # in each of three C2f the second convolution of the one bottleneck gives way to an attention
    "yolov8n-C2f-DLKA": ("yolov8n", {15, 18, 21}, 355 - 3 * 6, 3 * 12, 3 * 6),
    "yolov8n-DLKA": ("yolov8n", {16, 20, 24}, 355, 3 * 12, 0),
}
IMAGE = (2, 3, 64, 96)


def tiny_scale(file, width=0.125, depth=0.33, **changes):
    """A shipped model file at a scale of a few thousand weights."""
    return {**yaml_model_load(f"{file}.yaml"), "scales": {"n": [depth, width, 1024]}, "scale": "n", **changes}


def build(model, nc=None, names=None):
    torch.manual_seed(0)
    network = DetectionModel(model if isinstance(model, dict) else f"{model}.yaml", nc=nc, verbose=False)
    if names:
        network.names = dict(enumerate(names))
    return network.eval()


def values(network):
    return {k: v.clone() for k, v in network.state_dict().items()}


def outputs(network, recipe):
    with torch.no_grad():
        return network.eval()(recipe.image(IMAGE))[0]


def assert_computes_the_same(one, other, recipe):
    # boxes are in pixels up to 96; float32 sums in another order
    torch.testing.assert_close(outputs(one, recipe), outputs(other, recipe), atol=2e-3, rtol=1e-4)


# ---- the shipped files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SHIPPED)
def test_every_counterpart_is_transferred(file, recipe):
    base, changed, transferred, new, left = SHIPPED[file]
    target = build(file)
    source = recipe.stir(build(base, nc=target.yaml["nc"]))  # yolo11-AKConv.yaml has 2 classes
    report = transfer_weights(source, target)
    assert (len(report.transferred), len(report.partly), len(report.new), len(report.left)) == (
        transferred,
        0,
        new,
        left,
    )
    assert {row.number for row in report.rows if row.new} == changed
    from_source, in_target = source.state_dict(), target.state_dict()
    assert set(report.transferred) | set(report.new) == set(in_target)
    added = sorted(changed) if len(target.model) > len(source.model) else []  # these shift what follows
    for name in report.transferred:
        _, number, rest = name.split(".", 2)
        from_row = int(number) - sum(j < int(number) for j in added)
        assert torch.equal(in_target[name], from_source[f"model.{from_row}.{rest}"]), name


def test_a_file_with_other_classes():
    # 80 -> 2 classes: the branch has 80 -> 64 hidden channels; in each of 3 levels 15 tensors are cut (3 convolutions
    # with 4 tensors of their normalization), and the class layer, 2 tensors, knows none of the classes
    report = transfer_weights(build("yolo11n"), build("yolo11n-AKConv"))
    assert (len(report.transferred), len(report.partly)) == (499 - 18 - 3 * 17, 3 * 15)
    assert [n for n in report.new if n.startswith("model.23")] == [
        f"model.23.cv3.{i}.2.{name}" for i in range(3) for name in ("weight", "bias")
    ]


@pytest.mark.parametrize("depth", [0.33, 0.67, 1.0])
@pytest.mark.parametrize("file", [f.replace("8n", "8").replace("11n", "11") for f in SHIPPED])
def test_every_counterpart_is_transferred_at_other_depths(file, depth):
    base, changed, *_ = SHIPPED[file.replace("yolov8", "yolov8n").replace("yolo11", "yolo11n")]
    target = build(tiny_scale(file, depth=depth, nc=3))
    report = transfer_weights(build(tiny_scale(base.removesuffix("n"), depth=depth, nc=3)), target)
    assert not report.partly
    assert {row.number for row in report.rows if row.new} == changed
    new = {n for n in target.state_dict() if int(n.split(".")[1]) in changed}
    if "C2f" in file:  # cv1, cv2 and the first convolution of every bottleneck are the same
        new = {n for n in new if re.search(r"\.m\.\d\.cv2\.", n)}
    assert set(report.new) == new
    assert set(report.transferred) == target.state_dict().keys() - new


def test_the_same_network_is_transferred_whole(recipe):
    source, target = recipe.stir(build("yolo11n")), build("yolo11n")
    report = transfer_weights(source, target)
    assert (report.share, report.share_left, report.new, report.partly, report.left) == (1.0, 0.0, [], [], [])
    assert str(report) == (
        "Transferred 499 of 499 tensors, 0 more in part (100.0% of the parameters); "
        "0 are new; 0 of the source's tensors were not used (0.0%)"
    )
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in target.state_dict().items())


def test_another_network_takes_nothing_and_says_so():
    source = build({"nc": 3, "backbone": [[-1, 1, "nn.Conv2d", [3, 8, 5, 2]]], "head": [[-1, 1, "GhostConv", [8]]]})
    target = build({"nc": 3, "backbone": [[-1, 1, "AKConv", [8, 3, 2]]], "head": [[-1, 2, "deformable_LKA", []]]})
    before = values(target)
    report = transfer_weights(source, target)
    assert str(report).startswith("No weights were transferred")
    assert (report.share, report.share_left, len(report.new)) == (0.0, 1.0, len(before))
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())


def test_the_source_is_not_changed(tiny, recipe, put_in):
    source = recipe.stir(build(tiny, names=["ant", "bee", "cat"])).half()
    before, names = values(source), dict(source.names)
    transfer_weights(source, build({**put_in(tiny, 3, [-1, 1, "Bottleneck", [16]]), "nc": 5}, names="abcde"))
    assert all(torch.equal(v, before[k]) and v.dtype == before[k].dtype for k, v in source.state_dict().items())
    assert source.names == names


# ---- identities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file", ["yolov8-DLKA", "yolov8-DLKA-neck", "yolov8-DLKA-head"], ids=["outputs", "inside the neck", "in the head"]
)
def test_new_residual_blocks_change_nothing_at_first(file, recipe):
    source, target = recipe.stir(build(tiny_scale("yolov8", nc=3))), build(tiny_scale(file, nc=3))
    report = transfer_weights(source, target)
    assert len(report.identities) == {"yolov8-DLKA": 3, "yolov8-DLKA-neck": 1, "yolov8-DLKA-head": 6}[file]
    assert_computes_the_same(source, target, recipe)
    sum(y.square().mean() for y in target.train()(recipe.image(IMAGE))).backward()
    learning = {n: p.grad.abs().max() for n, p in target.named_parameters() if n.endswith("proj_2.weight")}
    assert len(learning) == len(report.identities) and min(learning.values()) > 0


@pytest.mark.parametrize("at", [0, 1, 3, 7], ids=["start", "middle", "later", "end"])
def test_an_identity_put_in_anywhere(tiny, at, recipe, put_in):
    source = recipe.stir(build(tiny))
    target = build(put_in(tiny, at, [-1, 2, "deformable_LKA_Attention", []]))
    report = transfer_weights(source, target)
    assert len(report.transferred) == len(source.state_dict()) and not report.left
    assert report.identities == [f"model.{at}.0", f"model.{at}.1"]
    assert_computes_the_same(source, target, recipe)


@pytest.mark.parametrize(
    ("row", "identities"),
    [
        ("Bottleneck", [""]),
        ("Bottleneck_AKConv", [""]),
        ("Bottleneck_ACmix", [""]),
        ("Bottleneck_DLKA", [""]),
        ("ACmix", []),  # not residual: it stays as it starts
    ],
)
def test_which_blocks_start_as_identities(tiny, row, identities, recipe, put_in):
    source = recipe.stir(build(tiny))
    target = build(put_in(tiny, 3, [-1, 1, row, [] if row == "ACmix" else [16]]))
    report = transfer_weights(source, target)
    assert report.rows[3].identity == identities
    if identities:
        assert_computes_the_same(source, target, recipe)


def test_a_bottleneck_without_shortcut_is_no_identity(tiny, put_in):
    target = build(put_in(tiny, 3, [-1, 1, "Bottleneck_DLKA", [16, False]]))
    report = transfer_weights(build(tiny), target)
    assert report.rows[3].identity == ["cv2"], "the attention inside is one of its own"
    assert target.model[3].cv1.bn.weight.min() == 1


def test_what_is_transferred_wins_over_the_identity(tiny, recipe):
    # the bottleneck's first convolution has a counterpart; its attention is new
    source = recipe.stir(build(tiny))
    tiny["backbone"][2] = [-1, 1, "C2f_DLKA", [16, True]]
    target = build(tiny)
    report = transfer_weights(source, target)
    block, old = target.model[2].m[0], source.model[2].m[0]
    assert torch.equal(block.cv1.bn.weight, old.cv1.bn.weight)
    assert block.cv2.proj_2.weight.abs().max() == 0
    assert report.rows[2].identity == ["m.0"]


def test_continuing_keeps_trained_weights(tiny, recipe, put_in):
    longer = put_in(tiny, 3, [-1, 1, "deformable_LKA_Attention", []])
    trained, fresh = recipe.stir(build(longer)), build(longer)
    report = transfer_weights(trained, fresh)
    assert not report.identities
    assert torch.equal(fresh.model[3].proj_2.weight, trained.model[3].proj_2.weight)


# ---- widths and depths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["yolov8", "yolo11"])
@pytest.mark.parametrize(("width", "depth"), [(0.25, 0.5), (0.125, 1.0), (0.25, 1.0)], ids=["wider", "deeper", "both"])
def test_a_grown_network_starts_as_the_small_one(base, width, depth, recipe):
    source, target = build(tiny_scale(base, depth=0.5)), build(tiny_scale(base, width, depth))
    recipe.stir(source)
    report = transfer_weights(source, target)
    assert report.share_left == 0 and report.share < 1
    assert_computes_the_same(source, target, recipe)


def test_a_smaller_network_takes_the_first_channels():
    source, target = build(tiny_scale("yolov8", 0.25)), build(tiny_scale("yolov8"))
    report = transfer_weights(source, target)
    assert not report.new and report.share == 1 and report.share_left > 0.6
    first, second = source.model[0].conv.weight, source.model[1].conv.weight
    assert torch.equal(target.model[0].conv.weight, first[:8])
    assert torch.equal(target.model[1].conv.weight, second[:16, :8])
    exit_from, exit_to = source.model[2].cv2.conv.weight, target.model[2].cv2.conv.weight  # three parts of 16, of 8
    assert torch.equal(exit_to, exit_from[:16, [*range(8), *range(16, 24), *range(32, 40)]])
    assert torch.equal(target.model[0].bn.running_var, source.model[0].bn.running_var[:8])


def test_attention_heads_of_another_width_are_not_mixed():
    report = transfer_weights(
        build(tiny_scale("yolo11", 0.0625)), build(tiny_scale("yolo11", 0.125))
    )  # 32 and 64 channels a head
    assert {n for n in report.new if ".attn." in n} and not [n for n in report.partly if ".attn." in n]


def test_added_modules_of_another_width_stay_new():
    # what their channels mean is their own matter: the heads of an ACmix lie side by side, for instance
    report = transfer_weights(build(tiny_scale("yolov8-ACmix", 0.125)), build(tiny_scale("yolov8-ACmix", 0.25)))
    partly = [n for n in report.partly if n.startswith(("model.16.", "model.20.", "model.24."))]
    assert not partly
    assert {"model.16.conv1.weight", "model.16.dep_conv.weight"} <= set(report.new)


def test_a_further_input_of_a_concat_is_not_heard_at_first(tiny, recipe):
    source = recipe.stir(build(tiny))
    tiny["head"][1] = [[-1, 1, 2], 1, "Concat", [1]]  # layer 1 in the middle
    target = build(tiny)
    report = transfer_weights(source, target)
    assert report.partly == ["model.6.cv1.conv.weight"]
    assert_computes_the_same(source, target, recipe)


def test_the_inputs_of_a_concat_may_change_places(tiny, recipe):
    source = recipe.stir(build(tiny))
    tiny["head"][1] = [[2, -1], 1, "Concat", [1]]
    target = build(tiny)
    assert transfer_weights(source, target).share == 1
    assert_computes_the_same(source, target, recipe)


@pytest.mark.parametrize("row", [["Conv", [16, 5, 2]], ["DWConv", [16, 3, 2]]], ids=["kernel", "depthwise"])
def test_another_convolution_takes_no_statistics(tiny, row):
    source = build(tiny)
    nn.init.constant_(source.model[3].bn.running_mean, 7.0)
    tiny["backbone"][3] = [-1, 1, *row]
    target = build(tiny)
    report = transfer_weights(source, target)
    assert len(report.rows[3].new) == 6 and report.rows[3].source == 3
    assert target.model[3].bn.running_mean.abs().max() < 7


# ---- heads -----------------------------------------------------------------------------------------------------------


def test_classes_by_name(tiny, recipe):
    source = recipe.stir(build(tiny, nc=4, names=["cat", "dog", "car", "tree"]))
    target = build(tiny, nc=3, names=["Dog", "lorry", "cat"])
    before = values(target)
    report = transfer_weights(source, target)
    assert report.classes == ["Dog", "cat"]
    assert str(report).endswith("classes matched by name: Dog, cat; 3 in all")
    for level in range(2):
        for name in ("weight", "bias"):
            key = f"model.7.cv3.{level}.2.{name}"
            in_target, from_source = target.state_dict()[key], source.state_dict()[key]
            assert torch.equal(in_target[0], from_source[1]) and torch.equal(in_target[2], from_source[0])
            assert torch.equal(in_target[1], before[key][1]), "a new class keeps its start"
    in_target, from_source = outputs(target, recipe), outputs(source, recipe)
    torch.testing.assert_close(in_target[:, [0, 1, 2, 3, 4, 6]], from_source[:, [0, 1, 2, 3, 5, 4]])


@pytest.mark.parametrize(
    ("from_source", "in_target", "transferred"),
    [
        ("abc", None, "abc"),  # a new network takes the names too
        (None, "abc", "abc"),
        ("abc", "cab", "cab"),
        ("abc", "xyz", ""),
        (None, None, "012"),
    ],
    ids=["no names", "names given later", "other order", "other classes", "numbers only"],
)
def test_which_class_rows_are_transferred(tiny, from_source, in_target, transferred):
    source, target = build(tiny, names=from_source), build(tiny, names=in_target)
    report = transfer_weights(source, target)
    assert "".join(report.classes) == transferred
    assert not report.partly and len(report.new) == (0 if transferred else 4)
    assert "".join(target.names.values()) == (in_target or from_source or "012")


@pytest.mark.parametrize(("in_target", "rows"), [("aab", [0, 1, 2]), ("baa", [2, 0, 1]), ("aaa", [0, 1, 1])])
def test_two_classes_of_one_name(tiny, recipe, in_target, rows):
    """Going on with one's own names changes no row; of two of one name the first meets the first."""
    source, target = recipe.stir(build(tiny, names="aab")), build(tiny, names=in_target)
    transfer_weights(source, target)
    from_source = source.model[-1].cv3[0][-1].bias
    assert len(set(from_source.tolist())) == 3
    assert torch.equal(target.model[-1].cv3[0][-1].bias, from_source[rows])


def test_numbers_are_no_names(tiny):
    report = transfer_weights(build(tiny, nc=5), build(tiny, nc=3))
    assert report.classes == []
    assert str(report).endswith(
        "no class was transferred: their number differs, and one of the networks has no class names"
    )


def named(network):
    """The names come from a data set, as after training, even if they are the numbers of a new network."""
    network.named = True
    return network


def digits(tiny, count, known=True):
    network = build(tiny, nc=count)
    network.named = known
    with torch.no_grad():
        for branch in network.model[-1].cv3:
            branch[-1].bias.copy_(torch.arange(count) + 100.0)
    return network


@pytest.mark.parametrize(
    ("source", "in_target", "rows"),
    [
        # a data set of digits: its names are numbers, and in order those of a network without names
        (10, "01234", "01234"),
        (10, "7391", "7391"),
        (5, "0123456789", "01234"),
        (3, "cat", ""),  # as many classes, and none is the same
        (4, "a1b", "1"),
    ],
)
@pytest.mark.parametrize("adopted", [False, True], ids=["trained", "after a load"])
def test_digits_are_names_once_they_come_from_data(tiny, source, in_target, rows, adopted):
    network = digits(tiny, source)
    if adopted:  # a new network with as many classes takes the names, and knows that they are names
        network = build(tiny, nc=source)
        transfer_weights(digits(tiny, source), network)
    target = named(build(tiny, names=in_target, nc=len(in_target)))
    report = transfer_weights(network, target)
    assert "".join(report.classes) == rows
    for branch in target.model[-1].cv3:
        transferred = {name: x - 100 for name, x in zip(in_target, branch[-1].bias.tolist(), strict=True) if x > 50}
        assert transferred == {name: int(name) for name in rows}
    line = f"classes matched by name: {', '.join(rows) or 'none'}; {len(in_target)} in all"
    assert (line in str(report)) == (len(rows) < len(in_target))


def test_digits_of_data_meet_the_numbers_of_a_network_without_names(tiny):
    # an object from somewhere else may have the names of its data without saying so: 0 is 0 either way
    assert transfer_weights(digits(tiny, 10, known=False), named(build(tiny, nc=3))).classes == ["0", "1", "2"]


def test_names_of_data_are_not_replaced_by_those_of_the_source(tiny):
    target = named(build(tiny, nc=3))
    report = transfer_weights(build(tiny, names=["cat", "dog", "car"]), target)
    assert (report.classes, target.names) == ([], {0: "0", 1: "1", 2: "2"})


def test_names_are_known_from_a_file_of_training(tiny, tmp_path):
    for train_args, known in (({"data": "digits.yaml"}, True), ({"data": None}, False), ({}, False)):
        save_checkpoint(tmp_path / "a.pt", build(tiny), finished=True, train_args=train_args)
        assert load_checkpoint(tmp_path / "a.pt").network.named is known


def test_80_classes_become_3(recipe):
    source = recipe.stir(build("yolov8n"))
    source.names = {i: f"class {i}" for i in range(80)}
    target = build("yolov8n", nc=3, names=["class 79", "first", "class 16"])
    report = transfer_weights(source, target)
    # 80 -> 64 hidden channels in three levels: weights and 4 tensors of two normalizations, and the class layer's two
    assert len(report.partly) == 3 * (2 * 5 + 2) and not report.new
    for in_target, from_source in zip(target.model[-1].cv3, source.model[-1].cv3, strict=True):
        assert torch.equal(in_target[2].bias[[0, 2]], from_source[2].bias[[79, 16]])
        assert torch.equal(in_target[2].weight[[0, 2]], from_source[2].weight[[79, 16], :64])


@pytest.mark.parametrize("legacy", [True, False])
def test_both_kinds_of_class_branch(tiny, legacy, recipe):
    source, target = build({**tiny, "legacy": legacy}), build({**tiny, "legacy": not legacy})
    recipe.stir(source)
    report = transfer_weights(source, target)
    new = {n.rsplit(".", 1)[0] for n in report.new}
    assert all(
        n.startswith(("model.7.cv3.0.0.", "model.7.cv3.0.1.", "model.7.cv3.1.0.", "model.7.cv3.1.1.")) for n in new
    )
    assert torch.equal(target.model[7].cv3[0][2].bias, source.model[7].cv3[0][2].bias)
    assert torch.equal(outputs(target, recipe)[:, :4], outputs(source, recipe)[:, :4]), "the boxes are the same"


def test_levels_meet_by_stride():
    source, target = build(tiny_scale("yolov8", nc=3)), build(tiny_scale("yolov8-p2", nc=3))
    transfer_weights(source, target)
    for in_target, from_source in ((1, 0), (2, 1), (3, 2)):
        assert torch.equal(target.model[-1].cv2[in_target][2].weight, source.model[-1].cv2[from_source][2].weight)


@pytest.mark.parametrize("row", [[[6, 3], 1, "v10Detect", ["nc"]], [-1, 1, "Classify", ["nc"]]], ids=lambda row: row[2])
def test_every_class_layer_is_matched_by_name(tiny, row):
    tiny["head"][3] = row
    source, target = build(tiny, names="abc"), build(tiny, names="cab")
    assert transfer_weights(source, target).classes == ["c", "a", "b"]
    heads = source.model[-1], target.model[-1]
    if row[2] == "Classify":
        pairs = [[head.linear for head in heads]]
    else:
        pairs = [[head.one2one_cv3[i][-1] for head in heads] for i in range(2)]
        pairs += [[head.cv3[i][-1] for head in heads] for i in range(2)]
    for a, b in pairs:
        assert torch.equal(b.weight, a.weight[[2, 0, 1]]) and torch.equal(b.bias, a.bias[[2, 0, 1]])


# ---- ways in ---------------------------------------------------------------------------------------------------------


def test_the_old_name_of_the_report_lists_the_same_tensors(tiny):
    report = transfer_weights(build(tiny), build(tiny))
    assert report.carried == report.transferred and report.rows[0].carried == report.rows[0].transferred != []


def test_load_logs_and_returns_the_report(tiny, monkeypatch):
    texts = []
    monkeypatch.setattr(LOGGER, "info", texts.append)
    report = build(tiny).load({"model": build(tiny)})
    assert texts == [str(report)] and report.share == 1
    build(tiny).load(build(tiny), verbose=False)
    assert len(texts) == 1


def test_a_network_out_of_a_pickle_of_8_3_0(tiny, put_in):
    source = build(tiny)
    del source._layer_sizes  # in_target alone has it
    target = build(put_in(tiny, 3, [-1, 1, "nn.Identity", []]))
    state = torch.random.get_rng_state()
    assert target.load(source, verbose=False).share == 1
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_table_tells_of_changed_rows_only(tiny, put_in):
    longer = put_in(tiny, 3, [-1, 1, "deformable_LKA_Attention", []])
    longer["backbone"][1] = [-1, 1, "AKConv", [16, 3, 2]]
    lines = str(transfer_weights(build(tiny), build(longer))).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["layer", "type", "weights", "tensors"],
        ["1", "AKConv", "from", "1", "Conv", "8", "new"],
        ["3", "deformable_LKA_Attention", "new", "12", "new,", "starting", "as", "the", "identity"],
    ]


def test_training_transfers_class_rows_by_the_names_of_the_data(tiny):
    source = build(tiny, nc=2, names=["bright", "dark"])
    trainer = DetectionTrainer.__new__(DetectionTrainer)  # without a run
    trainer.data = {"nc": 2, "names": {0: "dark", 1: "gray"}}
    network = trainer.get_model(cfg=tiny, weights=source, verbose=False)
    assert torch.equal(network.model[-1].cv3[0][2].weight[0], source.model[-1].cv3[0][2].weight[1])


def test_errors(tiny):
    fused = build(tiny).fuse(verbose=False)
    with pytest.raises(ValueError, match="target network is fused"):
        transfer_weights(build(tiny), fused)
    with pytest.raises(ValueError, match="this is a Conv2d"):
        transfer_weights(nn.Conv2d(3, 3, 1), build(tiny))
    assert transfer_weights(fused, build(tiny).fuse(verbose=False)).share == 1
