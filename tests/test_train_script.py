"""train/train.py: its options and defaults, the first line of output, training from any folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest
from project import ROOT, TINY, copy_train_folder, load_module, python_path, run

import ultralytics
from ultralytics.cfg import find_model_yaml, get_cfg, parse_words
from ultralytics.data.classify import check_cls_dataset
from ultralytics.data.dataset_config import check_det_dataset, label_schema
from ultralytics.data.images import find_images
from ultralytics.data.label_table import FOUND
from ultralytics.data.labels import load_labels
from ultralytics.nn.tasks import guess_model_task, yaml_model_load
from ultralytics.tasks import OFFICIAL_TASKS, TASKS, LabelKind, LabelSchema


@pytest.fixture
def script() -> ModuleType:
    return load_module(ROOT / "train" / "train.py")


def test_resuming_ignores_the_defaults(script: ModuleType) -> None:
    words = ["--resume", "runs/detect/train/weights/last.pt"]
    options = parse_words(words)
    assert script.model_file(options) == words[1]
    assert script.with_defaults(options, "detect") == {"resume": words[1]}
    options = parse_words(["--resume", "--model", "last.pt", "--device", "cpu"])
    assert script.model_file(options) == "last.pt"
    assert script.with_defaults(options, "segment") == {"resume": True, "device": "cpu"}
    with pytest.raises(ValueError, match=r"last\.pt"):
        script.model_file(parse_words(["--resume"]))


@pytest.mark.parametrize(
    ("task", "model", "data"),
    [
        ("detect", "yolo11-AKConv.yaml", "train/coco128.yaml"),
        ("segment", "yolo11-seg.yaml", "train/digits-seg.yaml"),
        ("pose", "yolo11-pose.yaml", "train/digits-pose.yaml"),
        ("obb", "yolo11-obb.yaml", "train/digits-obb.yaml"),
        ("classify", "yolo11-cls.yaml", "dataset/classify"),
    ],
)
def test_defaults_of_each_task_are_options_of_the_package(script: ModuleType, task: str, model: str, data: str) -> None:
    settings = get_cfg(script.with_defaults({"task": task}, task))
    assert settings.epochs == script.SAMPLE_DEFAULTS[task]["epochs"]
    file = find_model_yaml(script.model_file({"task": task}))
    assert file.name == model
    assert guess_model_task(yaml_model_load(file)) == task
    assert Path(settings.data) == ROOT / data
    assert Path(settings.project) == ROOT / "runs" / task
    assert {*script.DEFAULTS} == {*script.SAMPLE_DEFAULTS} == {*OFFICIAL_TASKS}


def test_sample_defaults_apply_to_the_sample_only(script: ModuleType) -> None:
    settings = script.with_defaults({"data": "own.yaml", "imgsz": 256, "model": "own.pt"}, "pose")
    assert settings == {"project": ROOT / "runs" / "pose", "data": "own.yaml", "imgsz": 256}
    settings = script.with_defaults({"imgsz": 256, "project": "elsewhere"}, "pose")
    assert settings["imgsz"] == 256
    assert settings["project"] == "elsewhere"
    assert settings["batch"] == script.SAMPLE_DEFAULTS["pose"]["batch"]


@pytest.mark.parametrize(
    ("name", "in_train"),
    [
        ("yolo11-AKConv.yaml", True),
        ("yolo11s-AKConv.yaml", True),  # the file in train/ at another scale
        ("coco128.yaml", True),
        ("digits-seg.yaml", True),
        ("yolo11n.yaml", False),  # not in train/: found by the package
        ("best.pt", False),
    ],
)
def test_files_in_train_are_found_by_name(
    script: ModuleType, name: str, in_train: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert script.in_train_dir(name) == (ROOT / "train" / name if in_train else name)
    (tmp_path / name).touch()  # a file in the current folder takes precedence
    assert script.in_train_dir(name) == name


def test_model_file_agrees_with_the_package() -> None:
    """The package's file says the same in fewer lines."""
    own, shipped = (
        yaml_model_load(ROOT / folder / "yolo11-AKConv.yaml") for folder in ("train", "ultralytics/cfg/models/add")
    )
    assert own | {"yaml_file": ""} == shipped | {"yaml_file": ""}


@pytest.mark.parametrize(
    ("name", "kind", "labels"),
    [
        ("coco128.yaml", "box", "labels"),
        ("digits-seg.yaml", "polygon", "labels-seg"),
        ("digits-pose.yaml", "keypoints", "labels-pose"),
        ("digits-obb.yaml", "oriented_box", "labels-obb"),
    ],
)
def test_data_files_lead_to_the_sample(name: str, kind: LabelKind, labels: str) -> None:
    data = check_det_dataset(ROOT / "train" / name, ("train", "val"), LabelSchema(kind))
    schema = label_schema(LabelSchema(kind), data)
    assert schema.folder == labels
    for split, count in (("train", 200), ("val", 50)):
        table = load_labels(find_images(data[split]), data["nc"], schema=schema)
        assert table.status.tolist() == [FOUND] * count
    assert list(data["names"].values()) == (data["path"] / "classes.txt").read_text().split()


def test_classes_of_the_classification_sample_are_the_digits() -> None:
    data = check_cls_dataset(ROOT / "dataset" / "classify")
    assert data["names"] == {i: str(i) for i in range(10)}
    assert [len(data[split] or []) for split in ("train", "val", "test")] == [800, 200, 0]


def fake_tree(folder: Path, build: str = "addmodules.1", body: str = "x = 1\n") -> Path:
    (folder / "ultralytics" / "nn").mkdir(parents=True)
    (folder / "ultralytics" / "__init__.py").write_text(f'__version__, __build__ = "8.3.0", "{build}"\n')
    (folder / "ultralytics" / "nn" / "block.py").write_text(body)
    return folder


@pytest.mark.parametrize(
    ("tree", "installed", "message", "warns"),
    [
        ("x = 1\n", "x = 1\n", "identical to the source tree", False),
        ("x = 1\n", "x = 1\r\n", "identical to the source tree", False),  # git on Windows
        ("x = 2\n", "x = 1\n", "nn/block.py", True),
    ],
)
def test_first_line_says_which_copy_runs(tmp_path: Path, tree: str, installed: str, message: str, warns: bool) -> None:
    project = fake_tree(tmp_path / "my project 课程", body=tree)
    (project / "train").mkdir()
    shutil.copy(ROOT / "train" / "train.py", project / "train")
    site = fake_tree(tmp_path / "site", body="")
    (site / "ultralytics" / "nn" / "block.py").write_bytes(installed.encode())
    env = {**python_path(tmp_path / "bin"), "PYTHONPATH": str(site)}
    code = "import sys; sys.path[0] = sys.argv[1]; import train; print(train.which_copy())"
    lines = run(["python", "-c", code, project / "train"], tmp_path, env).splitlines()
    assert lines[0].startswith(f"ultralytics 8.3.0+addmodules.1 from {site / 'ultralytics'}")
    assert message in "\n".join(lines)
    assert "WARNING" in lines[1] if warns else len(lines) == 1
    if warns:
        assert "pip install" in lines[2]
        assert "警告" in lines[3]


def test_output_that_cannot_encode_chinese(tmp_path: Path) -> None:
    """Redirected to a file in a Western encoding: missing characters are written as \\u8b66, and the run continues."""
    project = fake_tree(copy_train_folder(tmp_path / "课程"))
    env = {**python_path(tmp_path / "bin"), "PYTHONIOENCODING": "cp1252"}
    text = run(["python", project / "train" / "train.py", "--epoch", "3"], tmp_path, env, code=1)
    assert "\\u8b66\\u544a" in text  # 警告
    assert "did you mean 'epochs'" in text
    assert "Traceback" not in text


def test_ctrl_c_ends_without_a_traceback(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(model: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(vars(ultralytics), "YOLO", interrupted)
    with pytest.raises(SystemExit) as e:
        script.main([])
    assert e.value.code == 130


@pytest.mark.parametrize(("site", "message"), [("official", "not this project's package"), ("empty", "not installed")])
def test_wrong_or_missing_package(tmp_path: Path, site: str, message: str) -> None:
    fake_tree(tmp_path / "official", build="")
    (tmp_path / "empty").mkdir()
    env = {**python_path(tmp_path / "bin"), "PYTHONPATH": str(tmp_path / site)}
    # -S ignores the packages installed for this interpreter
    text = run(["python", "-S", ROOT / "train" / "train.py"], tmp_path, env, code=1)
    assert message in text
    assert "pip install ." in text


def test_trains_from_any_folder(tmp_path: Path) -> None:
    project = copy_train_folder(tmp_path / "my project 课程")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    text = run(["python", project / "train" / "train.py", *TINY], elsewhere, python_path(tmp_path / "bin"))
    assert text.startswith("ultralytics 8.3.0+addmodules.1 from ")
    run_folder = project / "runs" / "detect" / "train"
    for name in ("weights/best.pt", "weights/last.pt", "results.csv", "args.yaml"):
        assert (run_folder / name).is_file(), name
    assert "mAP50" in text
    assert str(run_folder) in text
    assert not list(elsewhere.iterdir())


# one of them in the default run, all in CI
SAMPLE_TASKS = [
    task if task == "segment" else pytest.param(task, marks=pytest.mark.slow)
    for task in OFFICIAL_TASKS
    if task != "detect"
]


@pytest.mark.parametrize("task", SAMPLE_TASKS)
def test_trains_each_task_on_the_sample(task: str, tmp_path: Path) -> None:
    if task not in TASKS:
        pytest.skip(f"{task} is not part of this version yet")
    project = copy_train_folder(tmp_path / "project")
    env = python_path(tmp_path / "bin")
    text = run(["python", project / "train" / "train.py", "--task", task, *TINY], tmp_path, env)
    assert "Settings for the sample dataset" in text
    run_folder = project / "runs" / task / "train"
    for name in ("weights/best.pt", "results.csv", "metrics.json"):
        assert (run_folder / name).is_file(), name
    # the task of a checkpoint is known; its data are again those of the sample
    run(["python", project / "train" / "train.py", "--model", run_folder / "weights/best.pt", *TINY], tmp_path, env)
    assert (project / "runs" / task / "train2" / "weights" / "best.pt").is_file()


def test_mistakes_give_one_line(tmp_path: Path) -> None:
    env = python_path(tmp_path / "bin")
    text = run(["python", ROOT / "train" / "train.py", "--epoch", "3"], tmp_path, env, code=1)
    assert "epochs" in text
    assert "Traceback" not in text
    text = run(["python", ROOT / "train" / "train.py", "--data", "nowhere.yaml"], tmp_path, env, code=1)
    assert "nowhere.yaml" in text
    assert "Traceback" not in text
    text = run(["python", ROOT / "train" / "train.py", "--task", "segmnt"], tmp_path, env, code=1)
    assert "'task' accepts detect, segment, classify, pose or obb" in text
    assert "Traceback" not in text
    command = ["python", ROOT / "train" / "train.py", "--task", "pose", "--model", "yolo11n.yaml"]
    text = run(command, tmp_path, env, code=1)
    assert "yolo11n.yaml is for the task detect; use --model yolo11n-pose.yaml" in text
    assert "Traceback" not in text
    text = run(["python", ROOT / "train" / "train.py", "val", "--model", "best.pt"], tmp_path, env, code=1)
    assert "train.py only trains; use `yolo val ...`" in text
    assert "Traceback" not in text
    text = run(["python", ROOT / "train" / "train.py", "--help"], tmp_path, env)
    assert text.startswith("usage:")
    assert "--task TASK" in text
    for task in OFFICIAL_TASKS:
        assert f"\n  {task:8}  --model " in text
