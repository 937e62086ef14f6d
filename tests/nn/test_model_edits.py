"""Edits of model files: references stay right, files beside the script work, mistakes are named with their line."""

from __future__ import annotations

import copy

import pytest
import torch

from ultralytics import YOLO
from ultralytics.nn.model_edits import ModelEditError, expand
from ultralytics.nn.model_file import ModelFileError, yaml_model_load
from ultralytics.nn.model_source import ModelSource
from ultralytics.nn.tasks import DetectionModel, SegmentationModel, guess_model_task

BASE = {
    "nc": 3,
    "scales": {"n": [1, 1, 64]},
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [-1, 2, "C2f", [16, True]]],
    "head": [[[-1, 1], 1, "Concat", [1]], [-1, 1, "Conv", [32, 3, 2]], [[2, -1], 1, "Detect", ["nc"]]],
}


def edited_file(content, files, name="mine.yaml"):
    """Content of a model file with its edits applied; `files` are the others by name."""
    return expand(ModelSource(name, content), lambda name, folder: ModelSource(name, files[name])).content


def edited(**edits):
    return edited_file({"base": "base.yaml", **edits}, {"base.yaml": copy.deepcopy(BASE)})


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
    content = edited_file(top, files)
    assert content["backbone"][3] == [-1, 1, "C2f_ACmix", []]
    assert (content["nc"], content["kpt_shape"]) == (5, [4, 2])
    assert files == before
    assert edited_file(BASE, files) == BASE


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
    with pytest.raises(ModelEditError, match=r"mine\.yaml: `insert` needs a `base:`"):
        edited_file({**BASE, "insert": []}, {})
    with pytest.raises(ModelEditError, match="is it circular"):
        edited_file({"base": "mine.yaml"}, {"mine.yaml": {"base": "mine.yaml"}})
    with pytest.raises(ModelEditError, match=r"its base, 'empty\.yaml', has no rows"):
        edited_file({"base": "empty.yaml", "nc": 2}, {"empty.yaml": {}})


def test_a_selector_that_selects_nothing():
    base = {**BASE, "backbone": [[-1, 1, "GhostConv", [8, 3, 2]]], "head": [[-1, 1, "Detect", ["nc"]]]}
    with pytest.raises(ModelEditError, match="no row that `downsampling` selects"):
        edited_file({"base": "b.yaml", "replace": [{"rows": "downsampling", "module": "X"}]}, {"b.yaml": base})


# ---- files on disk ---------------------------------------------------------------------------------------------------


SEGMENT = """\
base: yolo11-seg.yaml
nc: 3
replace:
  - {rows: [5, 7], module: AKConv}
insert:
  - {after: 22, module: ACmix}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_a_file_beside_the_script_changes_a_file_of_the_package(folder):
    (folder / "yolo11-mine.yaml").write_text(SEGMENT, encoding="utf-8")
    content = yaml_model_load("yolo11s-mine.yaml")
    assert (content["scale"], content["yaml_file"], content["nc"]) == ("s", "yolo11s-mine.yaml", 3)
    assert not {"base", "replace", "insert"} & set(content)
    assert guess_model_task(content) == "segment"
    layers = SegmentationModel("yolo11n-mine.yaml", verbose=False).model
    assert [type(layers[i]).__name__ for i in (5, 7, 23)] == ["AKConv", "AKConv", "ACmix"]
    assert layers[-1].f == [16, 19, 23]


def test_scale_of_the_name_then_of_the_file_then_of_the_base(folder):
    write(folder, a="base: yolo11s.yaml", b="base: yolo11s.yaml\nscale: m", c="base: yolo11.yaml")
    scales = {name: yaml_model_load(name)["scale"] for name in ("a.yaml", "b.yaml", "c.yaml")}
    assert scales == {"a.yaml": "s", "b.yaml": "m", "c.yaml": ""}


def test_a_base_is_searched_beside_the_file_first(folder):
    (folder / "nets").mkdir()
    write(folder / "nets", mine="base: yolo11.yaml\nnc: 4", yolo11="base: yolov8.yaml\nnc: 9")
    content = yaml_model_load("nets/mine.yaml")
    assert (content["nc"], content["backbone"][2][2]) == (4, "C2f")


def test_files_of_the_package_mean_the_same_in_every_folder(folder):
    write(folder, yolov8="base: yolo11.yaml\nnc: 9")
    assert yaml_model_load("yolov8-ACmix.yaml")["nc"] == 80
    assert yaml_model_load("yolov8.yaml")["nc"] == 9


def test_a_checkpoint_needs_neither_the_file_nor_its_base(folder):
    write(folder, mine="base: yolov8n.yaml\nreplace:\n  - {rows: 21, module: C2f_DLKA, args: [c2]}")
    model = YOLO("mine.yaml")
    model.save("mine.pt")
    (folder / "mine.yaml").unlink()
    loaded = YOLO("mine.pt")
    assert loaded.model.yaml["head"][11] == [-1, 3, "C2f_DLKA", [1024]]
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(loaded.model.eval()(x)[0], model.model.eval()(x)[0], rtol=0.01, atol=0.1)  # half


def test_a_dict_with_a_base():
    before = {"base": "yolov8n.yaml", "nc": 2, "insert": [{"after": 9, "module": "ACmix"}]}
    model = DetectionModel(before, verbose=False)
    assert (model.yaml["scale"], type(model.model[10]).__name__) == ("n", "ACmix")
    assert "backbone" not in before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "base: yolo11.yaml\nreplace:\n  - {rows: 5, module: AKConv}\n  - {rows: 99, module: X}",
            r"^net\.yaml:4: .*99 is",
        ),
        ("base: yolo11.yaml\ninsert:\n  - {afetr: 5, module: X}", r"^net\.yaml:3: .*did you mean 'after'"),
        ("base: yolo11.yaml\ninsert:\n  - {after: 5, module: AKconv}", r"^net\.yaml:3: layer 6 .*did you mean AKConv"),
        ("base: middle.yaml\nnc: 2", r"^middle\.yaml:3: .*unknown key 'argz'"),
        ("base: bad.yaml\ninsert:\n  - {after: 0, module: ACmix}", r"^net\.yaml \(bad\.yaml:4\): layer 2 .*Conw"),
        ("base: yolo12.yaml", r"yolo12\.yaml"),
    ],
)
def test_messages_name_the_file_and_the_line(folder, text, message):
    write(
        folder,
        net=text,
        middle="base: yolo11.yaml\nreplace:\n  - {rows: 5, argz: [1]}",
        bad="nc: 2\nbackbone:\n  - [-1, 1, Conv, [8, 3, 2]]\n  - [-1, 1, Conw, [8]]\nhead:\n  - [-1, 1, Detect, [nc]]",
    )
    with pytest.raises((ModelFileError, FileNotFoundError), match=message):
        DetectionModel("net.yaml", verbose=False)
