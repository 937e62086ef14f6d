"""Weight transfer between tasks: backbone and neck completely, of the heads what means the same in both."""

from __future__ import annotations

import itertools

import pytest
import torch

from ultralytics.nn.model_file import yaml_model_load
from ultralytics.nn.tasks import BaseModel, PoseModel
from ultralytics.nn.transfer import transfer_weights
from ultralytics.tasks import task_of_head

SUFFIXES = ("", "-seg", "-pose", "-obb", "-cls")


def build(file: str, **changes: object) -> BaseModel:
    """A network of the class of the file's task, with other weights at every call."""
    content = yaml_model_load(f"{file}.yaml") | {"nc": 3} | changes
    task = task_of_head([content["head"][-1][2]])
    assert task is not None
    return task.load("model")(content, verbose=False)


def names(network: BaseModel, first: int, last: int | None = None) -> set[str]:
    """Names of the tensors of the layers first … last - 1."""
    numbers = range(len(network.model))[first:last]
    return {name for name in network.state_dict() if int(name.split(".")[1]) in numbers}


def detection_parts(network: BaseModel) -> set[str]:
    """Names of the tensors of the head that every detection network has."""
    return {name for name in names(network, -1) if name.split(".")[2] in ("cv2", "cv3", "dfl")}


@pytest.mark.parametrize("base", ["yolov8n", "yolo11n"])
@pytest.mark.parametrize(("old", "new"), list(itertools.permutations(SUFFIXES[:-1], 2)))
def test_between_tasks_with_boxes(base: str, old: str, new: str) -> None:
    source, target = build(base + old), build(base + new)
    before = {name: x.clone() for name, x in target.state_dict().items()}
    report = transfer_weights(source, target)
    assert set(report.transferred) == names(target, 0, -1) | detection_parts(target)
    assert not report.partly
    assert set(report.new) == names(target, -1) - detection_parts(target)
    assert set(report.left) == names(source, -1) - detection_parts(source)
    for name, x in target.state_dict().items():
        assert torch.equal(x, before[name] if name in report.new else source.state_dict()[name]), name
    head = [line for line in str(report).splitlines() if type(target.model[-1]).__name__ in line]
    assert len(head) == bool(report.new)  # only rows that are not complete have a line
    assert all(f"{len(detection_parts(target))} transferred, {len(report.new)} new" in line for line in head)


@pytest.mark.parametrize("suffix", SUFFIXES[:-1])
@pytest.mark.parametrize("base", ["yolov8n", "yolo11n"])
def test_between_classification_and_tasks_with_boxes(base: str, suffix: str) -> None:
    """The rows of the classification network are the backbone without SPPF, row 9 of the others."""
    classify, other = build(f"{base}-cls"), build(base + suffix)
    report = transfer_weights(classify, other)
    backbone = names(other, 0, 9) | (names(other, 10, 11) if base == "yolo11n" else set())
    assert set(report.transferred) == backbone
    assert not report.partly
    assert set(report.left) == names(classify, -1)
    assert f"{type(other.model[-1]).__name__:<26} new" in str(report)

    other, classify = build(base + suffix), build(f"{base}-cls")
    report = transfer_weights(other, classify)
    assert set(report.transferred) == names(classify, 0, -1)
    assert set(report.new) == names(classify, -1)
    assert torch.equal(classify.model[8].cv2.conv.weight, other.model[8].cv2.conv.weight)


@pytest.mark.parametrize(("old", "new"), [("yolo11n", "yolo11n-seg-ACmix"), ("yolov8n-AKConv", "yolov8n-obb-AKConv")])
def test_with_added_modules(old: str, new: str) -> None:
    source, target = build(old), build(new)
    report = transfer_weights(source, target)
    added = {i for i, m in enumerate(target.model) if type(m).__name__ == "ACmix"}
    expected = {n for n in names(target, 0, -1) if int(n.split(".")[1]) not in added} | detection_parts(target)
    assert set(report.transferred) == expected


def pose(*kpt_shape: int) -> PoseModel:
    model = build("yolov8n-pose", kpt_shape=list(kpt_shape))
    assert isinstance(model, PoseModel)
    return model


def test_keypoints_with_and_without_visibility() -> None:
    source, target = pose(5, 3), pose(5, 2)
    report = transfer_weights(source, target)
    weight = source.model[-1].cv4[0][-1].weight.view(5, 3, -1)[:, :2].flatten(0, 1)
    assert torch.equal(target.model[-1].cv4[0][-1].weight.flatten(1), weight)
    assert not report.new


def test_keypoints_of_another_skeleton_are_new() -> None:
    report = transfer_weights(pose(5, 3), pose(4, 3))
    assert report.new == [f"model.22.cv4.{i}.2.{name}" for i in range(3) for name in ("weight", "bias")]
