"""Image files whose names are nearly as long as the file system allows (255 bytes)."""

import shutil

import pytest

from ultralytics import YOLO

NAMES = ["a" * 248, "长" * 83]  # with .png 252 and 253 bytes


@pytest.mark.parametrize("name", NAMES, ids=["ascii", "chinese"])
def test_everything_is_written_for_long_names(tiny_model, tiny_data, tmp_path, name):
    root = shutil.copytree(tiny_data.parent, tmp_path / "data")
    for split in ("train", "val"):
        (root / "images" / split / "0.png").rename(root / "images" / split / f"{name}.png")
        (root / "labels" / split / "0.txt").rename(root / "labels" / split / f"{name}.txt")
    common = {"imgsz": 64, "workers": 0, "device": "cpu", "project": str(tmp_path / "runs")}
    yolo = YOLO(tiny_model)
    yolo.train(data=str(root / "data.yaml"), epochs=1, batch=4, cache="disk", **common)
    yolo.val(data=str(root / "data.yaml"), save_txt=True, save_json=True, **common)
    source = root / "images" / "val" / f"{name}.png"
    files = {"save": True, "save_txt": True, "save_crop": True, "visualize": True}
    yolo.predict(source, conf=0.0, max_det=3, name="p", **files, **common)
    folder = tmp_path / "runs" / "p"
    assert list(folder.glob(f"{name[:70]}*")) and list(folder.rglob("crops/*/*.jpg"))
    assert (folder / "labels" / f"{name}.txt").exists()
