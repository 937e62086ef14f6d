"""Finding model and dataset files, and the folders of the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from ultralytics.cfg import data_root, find_data_folder, find_data_yaml, find_model_yaml, lookup
from ultralytics.utils.files import yaml_load
from ultralytics.utils.settings import settings


@pytest.fixture
def package_models(cwd, monkeypatch):
    """A folder of model files that stands for that of the package."""
    folder = cwd / "package" / "models"
    for name in ("11/yolo11.yaml", "v8/yolov8-p6.yaml", "add/yolov8-ACmix.yaml", "add/yolov8-ACmix-P5.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("nc: 1", encoding="utf-8")
    monkeypatch.setattr(lookup, "MODELS_DIR", folder)
    return folder


@pytest.mark.parametrize(
    ("name", "local", "expected"),
    [
        ("yolo11n.yaml", [], "package/models/11/yolo11.yaml"),
        ("yolo11.yaml", [], "package/models/11/yolo11.yaml"),
        ("yolov8x6.yaml", [], "package/models/v8/yolov8-p6.yaml"),
        ("yolov8x-p6.yaml", [], "package/models/v8/yolov8-p6.yaml"),
        ("yolov8s-ACmix.yaml", [], "package/models/add/yolov8-ACmix.yaml"),
        ("yolov8x-ACmix-P5.yaml", [], "package/models/add/yolov8-ACmix-P5.yaml"),
        ("yolo11n.yaml", ["yolo11n.yaml", "yolo11.yaml"], "yolo11n.yaml"),  # 8.3.0 ignores it
        ("yolo11n.yaml", ["yolo11.yaml"], "yolo11.yaml"),
        ("sub/myyolo11m.yaml", ["sub/myyolo11.yaml"], "sub/myyolo11.yaml"),
        ("run11n/yolo11n.yaml", ["run11n/yolo11.yaml"], "run11n/yolo11.yaml"),  # only the file name has a scale letter
    ],
)
def test_find_model_yaml(name, local, expected, package_models, cwd):
    for path in local:
        (cwd / path).parent.mkdir(exist_ok=True)
        (cwd / path).write_text("nc: 1", encoding="utf-8")
    assert find_model_yaml(name).absolute() == cwd / expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yolov8-acmix.yaml", "did you mean 'yolov8-ACmix.yaml'"),
        ("yolo11.yml", "did you mean 'yolo11.yaml'"),
        ("other.yaml", "searched"),
        ("best", "such as 'best.yaml'"),
    ],
)
def test_missing_model_files(name, message, package_models):
    with pytest.raises(FileNotFoundError) as e:
        find_model_yaml(name)
    assert message in str(e.value)
    assert name in str(e.value)


def test_find_data_yaml(cwd):
    shipped = find_data_yaml("coco128.yaml")
    assert shipped.parent.name == "datasets"
    data = yaml_load(shipped)
    assert len(data["names"]) == 80
    assert (data["names"][0], data["names"][79]) == ("person", "toothbrush")
    Path("coco128.yaml").write_text("path: .", encoding="utf-8")
    assert find_data_yaml("coco128.yaml") == Path("coco128.yaml")
    with pytest.raises(FileNotFoundError, match=r"did you mean 'coco128\.yaml'"):
        find_data_yaml("coco182.yaml")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        find_data_yaml(cwd)


def test_data_root(cwd):
    assert data_root(cwd / "a" / "my.yaml", "photos") == [cwd / "a" / "photos"]
    assert data_root("my.yaml", None) == [cwd]
    assert data_root(cwd / "my.yaml", cwd / "b") == [cwd / "b"]
    shipped = find_data_yaml("coco128.yaml")
    assert data_root(shipped, "coco128") == [cwd / "datasets" / "coco128", cwd / "coco128"]
    settings["datasets_dir"] = str(cwd / "d")
    assert data_root(shipped, "coco128")[0] == cwd / "d" / "coco128"


def test_folders_of_classification_data(cwd):
    settings["datasets_dir"] = str(cwd / "d")
    for name in ("d/flowers", "d/both", "both"):
        (cwd / name).mkdir(parents=True)
    assert find_data_folder("flowers") == cwd / "d" / "flowers"
    assert find_data_folder("both") == cwd / "both"
    assert find_data_folder("none") == cwd / "none"
