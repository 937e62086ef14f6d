"""The model files of the added modules: their rows are as specified, and every file builds, trains and predicts."""

from pathlib import Path

import pytest
import torch

import ultralytics
from ultralytics.nn.model_file import yaml_model_load
from ultralytics.nn.registry import registered
from ultralytics.nn.tasks import DetectionModel, guess_model_task

FOLDER = Path(ultralytics.__file__).parent / "cfg" / "models" / "add"
FILES = sorted(p.name for p in FOLDER.glob("*.yaml"))
POSITIONS = ("residual", "backbone", "neck", "head")

# file -> layer: (module, args) of the layers that are not the base's, and the layers Detect reads
SPECIFIED = {
    "yolov8-AKConv.yaml": (
        {i: ("AKConv", [w, 3, 2]) for i, w in ((1, 128), (3, 256), (5, 512), (7, 1024), (16, 256), (19, 512))},
        [15, 18, 21],
    ),
    "yolo11-AKConv.yaml": ({i: ("AKConv", [w, 3, 2]) for i, w in ((5, 512), (7, 1024), (20, 512))}, [16, 19, 22]),
    "yolov8-ACmix.yaml": ({i: ("ACmix", []) for i in (16, 20, 24)}, [16, 20, 24]),
    "yolov8-ACmix-P5.yaml": ({22: ("ACmix", [])}, [15, 18, 22]),
    "yolov8-C2f-DLKA.yaml": ({i: ("C2f_DLKA", [w]) for i, w in ((15, 256), (18, 512), (21, 1024))}, [15, 18, 21]),
    "yolov8-DLKA.yaml": ({i: ("deformable_LKA_Attention", []) for i in (16, 20, 24)}, [16, 20, 24]),
}


def _scaled(file, letter):
    base = "yolo11" if file.startswith("yolo11") else "yolov8"
    return file.replace(base, base + letter, 1)


def _rows(file):
    d = yaml_model_load(FOLDER / file)
    return d["backbone"] + d["head"]


@pytest.mark.parametrize("file", SPECIFIED)
def test_rows_are_where_the_specification_wants_them(file):
    added, detect = SPECIFIED[file]
    rows = _rows(file)
    assert {i: (row[2], row[3]) for i, row in enumerate(rows) if row[2] in registered()} == added
    assert rows[-1][0] == detect
    base = "11/yolo11.yaml" if file.startswith("yolo11") else "v8/yolov8.yaml"
    d, expected = yaml_model_load(FOLDER / file), yaml_model_load(FOLDER.parent / base)
    assert d["scales"] == expected["scales"]
    assert d["nc"] == (2 if file == "yolo11-AKConv.yaml" else 80)


def test_joins_read_what_the_specification_names():
    rows = _rows("yolov8-ACmix.yaml")
    assert [row[0] for row in rows if row[2] == "Concat"] == [[-1, 6], [-1, 4], [-1, 12], [-1, 9]]
    assert [row[1] for row in _rows("yolov8-DLKA.yaml") if row[2] == "deformable_LKA_Attention"] == [3, 3, 3]


def test_every_module_has_a_file_for_every_position():
    expected = {f"yolov8-{module}-{place}.yaml" for module in ("AKConv", "ACmix", "DLKA") for place in POSITIONS}
    assert expected <= set(FILES)
    assert set(FILES) == expected | set(SPECIFIED)


@pytest.mark.parametrize("file", FILES)
def test_trains_a_step_and_predicts_on_any_size(file):
    torch.manual_seed(0)
    m = DetectionModel(_scaled(file, "n"), nc=3, verbose=False)
    assert m.stride.tolist() == [8, 16, 32]
    assert guess_model_task(m) == "detect"
    m.to(memory_format=torch.channels_last).train()
    for size in ((64, 64), (96, 96), (64, 160)):
        images = torch.rand(2, 3, *size).contiguous(memory_format=torch.channels_last)
        maps = m(images)
        assert [tuple(y.shape) for y in maps] == [(2, 67, size[0] // s, size[1] // s) for s in (8, 16, 32)]
    sum(y.square().mean() for y in maps).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in m.parameters() if p.requires_grad)
    with torch.inference_mode():
        result = m.eval()(torch.rand(1, 3, 96, 32))[0]
    assert result.shape == (1, 7, 96 * 32 * 21 // 1024)
    assert result.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("letter", "nslmx")
@pytest.mark.parametrize("file", FILES)
def test_builds_and_trains_at_every_scale(file, letter):
    m = DetectionModel(_scaled(file, letter), verbose=False).train()
    for size in (64, 320) if letter == "n" else (64,):
        sum(y.square().mean() for y in m(torch.rand(2, 3, size, size))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in m.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("nc", "width"), [(98, 98), (10, 64), (97, 97)], ids=["two heads", "four heads", "one head: a prime width"]
)
def test_acmix_in_the_head_takes_any_number_of_classes(nc, width):
    m = DetectionModel("yolov8n-ACmix-head.yaml", nc=nc, verbose=False)
    assert m.model[-1].cv3[0][-1].in_channels == width
    assert m.eval()(torch.zeros(1, 3, 32, 32))[0].shape == (1, 4 + nc, 21)
