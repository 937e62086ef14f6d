"""Rules: `<model>-<rule>.yaml` without such a file is the model file changed by the rule, for every task."""

from __future__ import annotations

import pytest
import torch

from ultralytics.cfg import MODELS_DIR, find_model_files, model_rules
from ultralytics.cli import entrypoint
from ultralytics.nn.model_file import ModelFileError, yaml_model_load
from ultralytics.nn.tasks import BaseModel, DetectionModel, guess_model_task
from ultralytics.tasks import OFFICIAL_TASKS, task_of_head
from ultralytics.utils.files import yaml_load

MODULES = {"AKConv": "AKConv", "ACmix": "ACmix", "DLKA": "deformable_LKA_Attention", "C2f-DLKA": "C2f_DLKA"}
BASES = [base + suffix for base in ("yolov8n", "yolo11n") for suffix in ("", "-seg", "-pose", "-obb", "-cls")]


def build(name: str) -> BaseModel:
    """The network of a model file, of the class of its task."""
    content = yaml_model_load(name)
    task = task_of_head([content["head"][-1][2]])
    assert task is not None
    return task.load("model")(content | {"nc": 3}, verbose=False)


def tensors(output: object) -> list[torch.Tensor]:
    """All tensors of a head's output in training."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [t for part in output for t in tensors(part)]  # type: ignore[attr-defined]


def test_the_rules() -> None:
    assert list(model_rules()) == ["C2f-DLKA", "AKConv", "ACmix", "DLKA"]  # C2f-DLKA is not C2f with the rule DLKA
    assert set(model_rules()) == set(MODULES)


@pytest.mark.parametrize("rule", MODULES)
@pytest.mark.parametrize("base", BASES)
def test_every_combination_trains(base: str, rule: str) -> None:
    torch.manual_seed(0)
    model = build(f"{base}-{rule}.yaml").train()
    assert guess_model_task(model) == guess_model_task(f"{base}.yaml") in OFFICIAL_TASKS
    layers = [m for m in model.modules() if type(m).__name__ == MODULES[rule]]
    assert len(layers) >= (1 if "-cls" in base else 3)
    sum(y.float().square().mean() for y in tensors(model(torch.rand(2, 3, 64, 64)))).backward()
    missing = [k for k, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not missing
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["yolov8-AKConv", "yolov8-ACmix", "yolov8-DLKA", "yolov8-C2f-DLKA"])
def test_the_rule_of_a_shipped_file_gives_the_shipped_rows(name: str) -> None:
    base, rule = name.split("-", 1)
    content = {"base": f"{base}.yaml", **yaml_load(model_rules()[rule])}
    built, shipped = DetectionModel(content, verbose=False), DetectionModel(f"{name}.yaml", verbose=False)
    assert built.yaml["backbone"] + built.yaml["head"] == shipped.yaml["backbone"] + shipped.yaml["head"]


def test_names(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model_files("yolo11m-obb-C2f-DLKA.yaml") == (model_rules()["C2f-DLKA"], "yolo11m-obb.yaml")
    content = yaml_model_load("yolo11m-obb-C2f-DLKA.yaml")
    assert (content["scale"], content["yaml_file"]) == ("m", "yolo11m-obb-C2f-DLKA.yaml")
    assert yaml_model_load("yolov8x-p6-ACmix.yaml")["head"][-1][0] == [21, 25, 29, 33]
    # a file of that name is preferred: yolo11-AKConv.yaml changes three rows, the rule six
    assert [row[2] for row in yaml_model_load("yolo11-AKConv.yaml")["backbone"]].count("AKConv") == 2
    (tmp_path / "yolo11-seg-AKConv.yaml").write_text("base: yolo11-seg.yaml\nnc: 5\n", encoding="utf-8")
    assert yaml_model_load("yolo11s-seg-AKConv.yaml")["nc"] == 5
    # so is a local base
    (tmp_path / "mine.yaml").write_text("base: yolov8.yaml\nnc: 6\n", encoding="utf-8")
    assert yaml_model_load("mine-ACmix.yaml")["nc"] == 6


def test_mistakes(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no model file 'yolo12n-AKConv\.yaml'"):
        yaml_model_load("yolo12n-AKConv.yaml")
    with pytest.raises(ModelFileError, match=r"rules/AKConv\.yaml:\d+: .*no row that `downsampling` selects"):
        yaml_model_load("yolov8n-ghost-AKConv.yaml")
    with pytest.raises(ModelFileError, match=r"AKConv\.yaml: `replace` needs a `base:`"):
        yaml_model_load("AKConv.yaml")


def test_yolo_modules_lists_the_rules(capsys) -> None:
    assert entrypoint(["modules"]) == 0
    text = capsys.readouterr().out
    for rule, file in model_rules().items():
        assert f"<model>-{rule}.yaml" in text
        assert file.is_relative_to(MODELS_DIR)
