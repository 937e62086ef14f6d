"""The kit: train/train.py reads its words, says which copy runs, and trains from any folder."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from project import ROOT, TINY, copy_kit, python_path, run

import ultralytics


@pytest.fixture
def kit() -> ModuleType:
    return load(ROOT / "train" / "train.py")


def load(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("kit_train", script)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {}),
        (["--epochs", "3", "--lr0", "1e-3"], {"epochs": 3, "lr0": 0.001}),
        (["--epochs=3", "imgsz=64"], {"epochs": 3, "imgsz": 64}),
        (["--rect"], {"rect": True}),  # a flag may stand alone
        (["--rect", "--epochs", "3"], {"rect": True, "epochs": 3}),
        (["--rect", "false"], {"rect": False}),
        (["--save-period", "-1"], {"save_period": -1}),  # a negative number is a value; a dash in a name is a slip
        (["--name", "2024_01", "--data", "a b/c=d.yaml"], {"name": "2024_01", "data": "a b/c=d.yaml"}),
        (["--device", "none", "--classes", "[0,2]"], {"device": None, "classes": [0, 2]}),
    ],
)
def test_words(kit: ModuleType, words: list[str], options: dict[str, object]) -> None:
    assert kit.read_words(words) == options


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epoch", "3"], "epochs"),
        (["--epochs"], "needs a value"),
        (["yolo11n.yaml"], "belongs to no option"),
        (["--epochs", "many"], "whole number"),
    ],
)
def test_mistyped_words(kit: ModuleType, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kit.read_words(words)


def test_a_resumed_run_keeps_its_own_settings(kit: ModuleType) -> None:
    words = ["--resume", "runs/detect/train/weights/last.pt"]
    settings = kit.with_defaults(kit.read_words(words))
    assert settings == {"resume": words[1], "model": words[1]}
    settings = kit.with_defaults(kit.read_words(["--resume", "--model", "last.pt", "--device", "cpu"]))
    assert settings == {"resume": True, "model": "last.pt", "device": "cpu"}
    with pytest.raises(ValueError, match=r"last\.pt"):
        kit.with_defaults(kit.read_words(["--resume"]))


def test_defaults_are_options_of_the_package(kit: ModuleType) -> None:
    from ultralytics.cfg import find_model_yaml, get_cfg

    settings = get_cfg(kit.with_defaults({}))
    assert settings.epochs == kit.FOR_THE_SAMPLE["epochs"]
    assert find_model_yaml(settings.model) == ROOT / "train" / "yolo11-AKConv.yaml"
    assert Path(settings.data) == ROOT / "train" / "coco128.yaml"


def test_the_samples_settings_are_not_put_on_other_data(kit: ModuleType) -> None:
    settings = kit.with_defaults({"data": "mine.yaml", "imgsz": 256})
    assert settings == {**kit.DEFAULTS, "data": "mine.yaml", "imgsz": 256, "model": str(kit.DEFAULTS["model"])}
    assert kit.with_defaults({"imgsz": 256})["imgsz"] == 256
    assert kit.with_defaults({"imgsz": 256})["batch"] == kit.FOR_THE_SAMPLE["batch"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("yolo11-AKConv.yaml", True),
        ("yolo11s-AKConv.yaml", True),  # the kit's file at another size
        ("coco128.yaml", True),
        ("yolo11n.yaml", False),  # not in the kit: left to the package
        ("best.pt", False),
    ],
)
def test_files_of_the_kit_are_found_by_name(
    kit: ModuleType, name: str, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert kit.in_kit(name) == (ROOT / "train" / name if found else name)
    (tmp_path / name).touch()  # what lies where the command is given goes first
    assert kit.in_kit(name) == name


def test_model_file_agrees_with_the_package(kit: ModuleType) -> None:
    own, shipped = (
        yaml.safe_load(file.read_text(encoding="utf-8"))
        for file in (
            ROOT / "train" / "yolo11-AKConv.yaml",
            ROOT / "ultralytics" / "cfg" / "models" / "add" / "yolo11-AKConv.yaml",
        )
    )
    assert own == shipped


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
    ("tree", "installed", "says", "warns"),
    [
        ("x = 1\n", "x = 1\n", "same as the tree", False),
        ("x = 1\n", "x = 1\r\n", "same as the tree", False),  # git on Windows
        ("x = 2\n", "x = 1\n", "nn/block.py", True),
    ],
)
def test_first_line_says_which_copy_runs(tmp_path: Path, tree: str, installed: str, says: str, warns: bool) -> None:
    project = fake_tree(tmp_path / "my project 课程", body=tree)
    (project / "train").mkdir()
    shutil.copy(ROOT / "train" / "train.py", project / "train")
    site = fake_tree(tmp_path / "site", body="")
    (site / "ultralytics" / "nn" / "block.py").write_bytes(installed.encode())
    env = {**python_path(tmp_path / "bin"), "PYTHONPATH": str(site)}
    code = "import sys; sys.path[0] = sys.argv[1]; import train; print(train.which_copy())"
    lines = run(["python", "-c", code, project / "train"], tmp_path, env).splitlines()
    assert lines[0].startswith(f"ultralytics 8.3.0+addmodules.1 from {site / 'ultralytics'}")
    assert says in "\n".join(lines)
    assert "WARNING" in lines[1] if warns else len(lines) == 1
    if warns:
        assert "pip install" in lines[2]
        assert "警告" in lines[3]


def test_output_that_cannot_hold_chinese(tmp_path: Path) -> None:
    """Sent into a file on a Western system: what the encoding lacks is written as \\u8b66, and the run goes on."""
    project = fake_tree(copy_kit(tmp_path / "课程"))
    env = {**python_path(tmp_path / "bin"), "PYTHONIOENCODING": "cp1252"}
    text = run(["python", project / "train" / "train.py", "--epoch", "3"], tmp_path, env, code=1)
    assert "\\u8b66\\u544a" in text  # 警告
    assert "did you mean 'epochs'" in text
    assert "Traceback" not in text


def test_ctrl_c_ends_without_a_traceback(kit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(model: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(vars(ultralytics), "YOLO", stopped)
    with pytest.raises(SystemExit) as e:
        kit.main([])
    assert e.value.code == 130


@pytest.mark.parametrize(("site", "says"), [("official", "not this project's package"), ("empty", "not installed")])
def test_wrong_or_missing_package(tmp_path: Path, site: str, says: str) -> None:
    fake_tree(tmp_path / "official", version="8.3.0")
    (tmp_path / "empty").mkdir()
    env = {**python_path(tmp_path / "bin"), "PYTHONPATH": str(tmp_path / site)}
    # -S leaves out what is installed for this interpreter
    text = run(["python", "-S", ROOT / "train" / "train.py"], tmp_path, env, code=1)
    assert says in text
    assert "pip install ." in text


def test_trains_from_any_folder(tmp_path: Path) -> None:
    project = copy_kit(tmp_path / "my project 课程")
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


def test_mistakes_end_in_one_line_before_anything_slow(tmp_path: Path) -> None:
    env = python_path(tmp_path / "bin")
    text = run(["python", ROOT / "train" / "train.py", "--epoch", "3"], tmp_path, env, code=1)
    assert "epochs" in text
    assert "Traceback" not in text
    text = run(["python", ROOT / "train" / "train.py", "--data", "nowhere.yaml"], tmp_path, env, code=1)
    assert "nowhere.yaml" in text
    assert "Traceback" not in text
    assert "usage:" in run(["python", ROOT / "train" / "train.py", "--help"], tmp_path, env)
