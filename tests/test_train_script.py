"""train/train.py: its options and defaults, the first line of output, training from any folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from project import ROOT, TINY, copy_train_folder, load_module, python_path, run

import ultralytics
from ultralytics.cfg import parse_words


@pytest.fixture
def script() -> ModuleType:
    return load_module(ROOT / "train" / "train.py")


def test_resuming_ignores_the_defaults(script: ModuleType) -> None:
    words = ["--resume", "runs/detect/train/weights/last.pt"]
    settings = script.with_defaults(parse_words(words))
    assert settings == {"resume": words[1], "model": words[1]}
    settings = script.with_defaults(parse_words(["--resume", "--model", "last.pt", "--device", "cpu"]))
    assert settings == {"resume": True, "model": "last.pt", "device": "cpu"}
    with pytest.raises(ValueError, match=r"last\.pt"):
        script.with_defaults(parse_words(["--resume"]))


def test_defaults_are_options_of_the_package(script: ModuleType) -> None:
    from ultralytics.cfg import find_model_yaml, get_cfg

    settings = get_cfg(script.with_defaults({}))
    assert settings.epochs == script.SAMPLE_DEFAULTS["epochs"]
    assert find_model_yaml(settings.model) == ROOT / "train" / "yolo11-AKConv.yaml"
    assert Path(settings.data) == ROOT / "train" / "coco128.yaml"


def test_sample_defaults_apply_to_the_sample_only(script: ModuleType) -> None:
    settings = script.with_defaults({"data": "own.yaml", "imgsz": 256})
    assert settings == {**script.DEFAULTS, "data": "own.yaml", "imgsz": 256, "model": str(script.DEFAULTS["model"])}
    assert script.with_defaults({"imgsz": 256})["imgsz"] == 256
    assert script.with_defaults({"imgsz": 256})["batch"] == script.SAMPLE_DEFAULTS["batch"]


@pytest.mark.parametrize(
    ("name", "in_train"),
    [
        ("yolo11-AKConv.yaml", True),
        ("yolo11s-AKConv.yaml", True),  # the file in train/ at another scale
        ("coco128.yaml", True),
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
    from ultralytics.nn.model_file import yaml_model_load

    own, shipped = (
        yaml_model_load(ROOT / folder / "yolo11-AKConv.yaml") for folder in ("train", "ultralytics/cfg/models/add")
    )
    assert own | {"yaml_file": ""} == shipped | {"yaml_file": ""}


def test_data_file_leads_to_the_sample() -> None:
    file = ROOT / "train" / "coco128.yaml"
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    root = file.parent / data["path"]
    assert sum(1 for _ in (root / data["train"]).iterdir()) == 200
    assert sum(1 for _ in (root / data["val"]).iterdir()) == 50
    assert list(data["names"].values()) == (root / "classes.txt").read_text().split()


def fake_tree(folder: Path, version: str = "8.3.0+addmodules.1", body: str = "x = 1\n") -> Path:
    (folder / "ultralytics" / "nn").mkdir(parents=True)
    (folder / "ultralytics" / "__init__.py").write_text(f'__version__ = "{version}"\n')
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
    fake_tree(tmp_path / "official", version="8.3.0")
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


def test_mistakes_give_one_line(tmp_path: Path) -> None:
    env = python_path(tmp_path / "bin")
    text = run(["python", ROOT / "train" / "train.py", "--epoch", "3"], tmp_path, env, code=1)
    assert "epochs" in text
    assert "Traceback" not in text
    text = run(["python", ROOT / "train" / "train.py", "--data", "nowhere.yaml"], tmp_path, env, code=1)
    assert "nowhere.yaml" in text
    assert "Traceback" not in text
    text = run(["python", ROOT / "train" / "train.py", "val", "--model", "best.pt"], tmp_path, env, code=1)
    assert "train.py only trains; use `yolo val ...`" in text
    assert "Traceback" not in text
    assert "usage:" in run(["python", ROOT / "train" / "train.py", "--help"], tmp_path, env)
