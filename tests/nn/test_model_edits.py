"""Edits of model files: the shipped variants come out row by row, references stay right, mistakes are named."""

from __future__ import annotations

import copy

import pytest
import yaml

from ultralytics.cfg import find_model_yaml
from ultralytics.nn.model_edits import ModelEditError, apply_edits

BASE = {
    "nc": 3,
    "scales": {"n": [1, 1, 64]},
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [-1, 2, "C2f", [16, True]]],
    "head": [[[-1, 1], 1, "Concat", [1]], [-1, 1, "Conv", [32, 3, 2]], [[2, -1], 1, "Detect", ["nc"]]],
}


def read(name):
    return yaml.safe_load(find_model_yaml(name).read_text(encoding="utf-8"))


def edited(**edits):
    return apply_edits({"base": "base.yaml", **edits}, lambda name: copy.deepcopy(BASE), "mine.yaml")


def rows(content):
    """Rows with absolute references, so that -1 and its number count as the same."""
    flat = []
    for source, repeats, module, args in content["backbone"] + content["head"]:
        sources = source if isinstance(source, list) else [source]
        flat.append(([len(flat) + s if s < 0 else s for s in sources], repeats, module, args))
    return flat


@pytest.mark.parametrize(
    ("name", "base", "edits"),
    [
        ("yolov8-AKConv.yaml", "yolov8.yaml", {"replace": [{"rows": "downsampling", "module": "AKConv"}]}),
        ("yolo11-AKConv.yaml", "yolo11.yaml", {"replace": [{"rows": [5, 7, 20], "module": "AKConv"}], "nc": 2}),
        ("yolov8-ACmix.yaml", "yolov8.yaml", {"insert": [{"after": "outputs", "module": "ACmix"}]}),
        ("yolov8-ACmix-P5.yaml", "yolov8.yaml", {"insert": [{"after": 21, "module": "ACmix", "args": []}]}),
        (
            "yolov8-C2f-DLKA.yaml",
            "yolov8.yaml",
            {"replace": [{"rows": "outputs", "module": "C2f_DLKA", "args": ["c2"]}]},
        ),
        (
            "yolov8-DLKA.yaml",
            "yolov8.yaml",
            {"insert": [{"after": "outputs", "module": "deformable_LKA_Attention", "repeats": 3}]},
        ),
    ],
)
def test_the_shipped_variants_come_out(name, base, edits):
    content = apply_edits({"base": base, **edits}, read, name)
    expected = read(name)
    if "base" in expected:
        expected = apply_edits(expected, read, name)
    assert rows(content) == rows(expected)
    assert content["nc"] == expected["nc"]
    assert content["scales"] == expected["scales"]
    assert "base" not in content


def test_readers_of_a_row_read_what_was_inserted_after_it():
    content = edited(insert=[{"after": [1, 2], "module": "ACmix", "args": []}])
    assert content["backbone"] == [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "ACmix", []],
        [-1, 2, "C2f", [16, True]],
        [-1, 1, "ACmix", []],
    ]
    assert content["head"] == [[[-1, 2], 1, "Concat", [1]], [-1, 1, "Conv", [32, 3, 2]], [[4, -1], 1, "Detect", ["nc"]]]


def test_two_rows_after_one_row_follow_each_other():
    content = edited(insert=[{"after": 4, "module": "A"}, {"after": 4, "module": "B", "args": ["c2"]}])
    assert content["head"][1:] == [
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "A", []],
        [-1, 1, "B", [32]],
        [[2, -1], 1, "Detect", ["nc"]],
    ]


def test_replacing_keeps_what_is_not_given():
    content = edited(
        replace=[{"rows": 2, "module": "C3"}, {"rows": 4, "args": ["c2", 5, 1], "from": [0, -2], "repeats": 2}]
    )
    assert content["backbone"][2] == [-1, 2, "C3", [16, True]]
    assert content["head"][1] == [[0, 2], 2, "Conv", [32, 5, 1]]
    assert content["backbone"][:2] == BASE["backbone"][:2]


def test_a_base_may_have_a_base_and_nothing_is_changed_in_place():
    files = {
        "base.yaml": BASE,
        "middle.yaml": {"base": "base.yaml", "nc": 5, "insert": [{"after": 2, "module": "ACmix"}]},
    }
    before = copy.deepcopy(files)
    top = {"base": "middle.yaml", "replace": [{"rows": 3, "module": "C2f_ACmix"}], "kpt_shape": [4, 2]}
    content = apply_edits(top, files.__getitem__, "top.yaml")
    assert content["backbone"][3] == [-1, 1, "C2f_ACmix", []]
    assert (content["nc"], content["kpt_shape"]) == (5, [4, 2])
    assert files == before
    assert apply_edits(BASE, files.__getitem__, "base.yaml") == BASE


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"replace": [{"rows": [9], "module": "X"}]}, r"mine\.yaml.*9 is not a row of the base; rows are 0 to 5"),
        ({"replace": [{"row": 2, "module": "X"}]}, "unknown key 'row'; did you mean 'rows'"),
        ({"insert": [{"after": 2}]}, "'module' is missing"),
        ({"insert": {"after": 2, "module": "X"}}, "must be a list of mappings"),
        ({"replace": [{"rows": 1, "from": 4}]}, "`from` must name rows before row 1"),
        ({"head": []}, "`head` comes from the base file"),
        ({"replace": [{"rows": True, "module": "X"}]}, "True is not a row"),
    ],
)
def test_mistakes_are_named(edits, message):
    with pytest.raises(ModelEditError, match=message):
        edited(**edits)


def test_edits_without_a_base_and_bases_without_an_end():
    with pytest.raises(ModelEditError, match="`insert` needs a `base:`"):
        apply_edits({**BASE, "insert": []}, lambda name: BASE, "mine.yaml")
    with pytest.raises(ModelEditError, match="does one name itself"):
        apply_edits({"base": "mine.yaml"}, lambda name: {"base": "mine.yaml"}, "mine.yaml")
