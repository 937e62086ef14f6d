"""Dataset files: what is found, what is refused and what the message says."""

import json
from pathlib import Path

import pytest

from ultralytics.cfg import find_data_yaml
from ultralytics.data.dataset_config import DatasetError, DatasetNotFoundError, check_det_dataset, label_schema
from ultralytics.tasks import LabelSchema
from ultralytics.utils.files import yaml_load


def write(folder: Path, **content) -> Path:
    file = folder / "my data.yaml"
    file.write_text(json.dumps({"train": "images/train", "val": "images/train", "names": ["a", "b"], **content}))
    return file


def test_facts(toy):
    data = check_det_dataset(toy)
    assert data["path"] == toy.parent.resolve()
    assert data["train"] == data["val"] == str(toy.parent.resolve() / "images" / "train")
    assert (data["test"], data["names"], data["nc"], data["yaml_file"]) == (None, {0: "a", 1: "b"}, 2, str(toy))


def test_root_counts_from_the_files_folder_not_from_the_current_one(toy, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert check_det_dataset(toy.relative_to(tmp_path))["val"] == check_det_dataset(toy)["val"]


def test_splits_may_be_lists(toy):
    file = write(toy.parent, val=["images/train", str(toy.parent / "images")])
    assert check_det_dataset(file)["val"] == [str(toy.parent / "images" / "train"), str(toy.parent / "images")]


def test_one_level_too_many_is_forgiven(toy):
    assert check_det_dataset(write(toy.parent, val="../images/train"))["val"] == str(toy.parent / "images" / "train")


def test_mapping_and_validation_alias(toy):
    data = {"path": str(toy.parent), "train": None, "validation": "images/train", "names": {"0": "x", 1: True}}
    checked = check_det_dataset(data)
    assert checked["names"] == {0: "x", 1: "True"}
    assert checked["train"] is None
    assert checked["val"] == str(toy.parent / "images" / "train")
    assert "validation" in data  # the caller's mapping is left alone


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"names": None}, "neither 'names:' nor 'nc:'"),
        ({"nc": 3}, "nc is 3, but there are 2 names"),
        ({"nc": True}, "nc is True"),
        ({"names": {0: "a", 2: "b"}}, "must be 0 to 1 without a gap"),
        ({"names": {"first": "a"}}, "must be 0 to 0"),
        ({"names": "a, b"}, "must be a list"),
        ({"names": []}, "must be a list"),
        ({"val": {"x": 7}}, "'val' is"),
        ({"path": [7]}, "path is"),
    ],
)
def test_contradictions(toy, content, message):
    with pytest.raises(DatasetError, match=message) as e:
        check_det_dataset(write(toy.parent, **content))
    assert "my data.yaml" in str(e.value)


def test_nc_alone_makes_names(toy):
    assert check_det_dataset(write(toy.parent, names=None, nc=2))["names"] == {0: "class_0", 1: "class_1"}


def test_names_and_folders_are_text_as_written(toy):
    root = toy.parent
    (root / "2024_01").mkdir()
    toy.write_text(
        "train: 2024_01\nval: images/train\ntest:\nnames: [yes, no, on, off, 010, 12:30, 1e3, null, 1_000]\n"
    )
    data = check_det_dataset(toy, splits=("train", "val"))
    assert list(data["names"].values()) == ["yes", "no", "on", "off", "010", "12:30", "1e3", "null", "1_000"]
    assert data["train"] == str(root.resolve() / "2024_01")
    assert data["test"] is None
    toy.write_text("train:\nval: images/train\nnames:\n  0: yes\n  1: 0x10\n  02: ~\n")
    assert check_det_dataset(toy)["names"] == {0: "yes", 1: "0x10", 2: "~"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("{0: a, 1: b, 1: c}", "the key '1' is also in line"),
        ("{0: a, 1: b, 01: c}", "class number 1 occurs twice"),
        ('{0: a, "0": b}', "the key '0' is also in line"),
        ("[a, '']", "the name of class 1"),
        ("{0: a, 1: }", "the name of class 1"),
        ("[a, [b]]", "the name of class 1"),
    ],
)
def test_wrong_names(toy, names, message):
    toy.write_text(f"train:\nval: images/train\nnames: {names}\n")
    with pytest.raises(ValueError, match=message):
        check_det_dataset(toy)


def test_dataset_file_in_utf_16(toy):
    toy.write_bytes("train:\nval: images/train\nnames: [苹果, b]\n".encode("utf-16"))
    assert check_det_dataset(toy)["names"] == {0: "苹果", 1: "b"}


def test_missing_key(tmp_path):
    file = tmp_path / "d.yaml"
    file.write_text("val: images\nnames: [a]\n")
    with pytest.raises(DatasetError, match="no 'train:' line"):
        check_det_dataset(file, splits=("train", "val"))
    assert check_det_dataset(file, splits=())["train"] is None


def test_missing_images_name_place_and_remedy_and_run_nothing(toy, tmp_path):
    bait = tmp_path / "ran"
    file = write(toy.parent, val="images/none", download=f"open({str(bait)!r}, 'w')")
    with pytest.raises(DatasetNotFoundError) as e:
        check_det_dataset(file)
    assert str(toy.parent.resolve() / "images" / "none") in str(e.value)
    assert "correct `path`" in str(e.value)
    assert "never downloaded" in str(e.value)
    assert not bait.exists()


def test_only_the_splits_in_question_must_exist(toy):
    file = write(toy.parent, train="images/none")
    assert check_det_dataset(file)["train"].endswith("none")
    with pytest.raises(DatasetNotFoundError, match="train: expected at"):
        check_det_dataset(file, splits=("train", "val"))


def test_missing_file():
    with pytest.raises(DatasetNotFoundError, match="no-such-data"):
        check_det_dataset("no-such-data.yaml")


def test_files_of_the_package_find_data_below_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shipped = yaml_load(find_data_yaml("coco128.yaml"))
    with pytest.raises(DatasetNotFoundError, match="root: searched"):
        check_det_dataset("coco128.yaml")
    (tmp_path / shipped["path"] / shipped["val"]).mkdir(parents=True)
    assert check_det_dataset("coco128.yaml")["path"] == (tmp_path / shipped["path"]).resolve()


KEYPOINTS = LabelSchema("keypoints")


def with_lines(toy, **lines):
    toy.write_text(json.dumps({**json.loads(toy.read_text()), **lines}))
    return toy


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({}, "there is no 'kpt_shape:' line, which keypoints need"),
        ({"kpt_shape": 17}, r"kpt_shape is 17, but must be \[number of keypoints, 2 or 3\]"),
        ({"kpt_shape": [17, 4]}, r"kpt_shape is \[17, 4\]"),
        ({"kpt_shape": [0, 3]}, r"kpt_shape is \[0, 3\]"),
        ({"kpt_shape": [3.5, 3]}, r"kpt_shape is \[3.5, 3\]"),
        ({"kpt_shape": [3, 3], "flip_idx": [0, 1]}, "flip_idx has 2 items, but must list an index for each of 3"),
        ({"kpt_shape": [3, 3], "flip_idx": "none"}, "flip_idx has 'none'"),
        (
            {"kpt_shape": [3, 3], "flip_idx": [0, 1, 1]},
            r"is \[0, 1, 1\], but must hold each index from 0 to 2",
        ),
        ({"kpt_shape": [3, 3], "flip_idx": [1, 2, 3]}, "each index from 0 to 2 once"),
        ({"kpt_shape": [3, 3], "flip_idx": [1, 2, 0]}, "flip_idx swaps keypoint 0 with 1, but 1 with 2"),
        ({"kpt_shape": [3, 3], "kpt_sigmas": [0.1, 0.1]}, "kpt_sigmas is .* a number above 0 for each of 3 keypoints"),
        ({"kpt_shape": [3, 3], "kpt_sigmas": [0.1, 0, 0.1]}, "number above 0"),
        ({"kpt_shape": [3, 3], "kpt_sigmas": 0.1}, "number above 0"),
    ],
)
def test_wrong_keypoint_lines(toy, lines, message):
    with pytest.raises(DatasetError, match=message):
        check_det_dataset(with_lines(toy, **lines), schema=KEYPOINTS)


def test_keypoint_lines(toy):
    lines = {"kpt_shape": [3, 3], "flip_idx": [1, 0, 2], "kpt_sigmas": [0.1, 0.2, 0.3]}
    data = check_det_dataset(with_lines(toy, **lines), schema=KEYPOINTS)
    assert {key: data[key] for key in lines} == lines
    assert label_schema(KEYPOINTS, data) == LabelSchema("keypoints", (3, 3))
    assert label_schema(LabelSchema("box"), data) == LabelSchema("box")  # keypoints in the file, boxes for the task


@pytest.mark.parametrize("folder", ["", "..", "../labels", "labels/seg", "a\\b", 3, ["labels-seg"]])
def test_wrong_labels_dir(toy, folder):
    with pytest.raises(DatasetError, match=r"labels_dir is .* must be the name of a folder"):
        check_det_dataset(with_lines(toy, labels_dir=folder))


def test_labels_dir(toy):
    assert label_schema(LabelSchema("polygon"), check_det_dataset(toy)).folder == "labels"
    data = check_det_dataset(with_lines(toy, labels_dir="labels-seg", kpt_shape=[3, 3]))
    assert label_schema(LabelSchema("polygon"), data) == LabelSchema("polygon", folder="labels-seg")
    assert label_schema(KEYPOINTS, data) == LabelSchema("keypoints", (3, 3), "labels-seg")


def test_a_dataset_of_boxes_needs_no_keypoint_lines(toy):
    assert "kpt_shape" not in check_det_dataset(toy)
