"""`data.build`, `data.loaders`, `data.utils` and `data.converter` of 8.3.0, with the values that it gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ultralytics.cfg import get_cfg
from ultralytics.data import build_dataloader, build_yolo_dataset, loaders, utils
from ultralytics.data.build import InfiniteDataLoader, load_inference_source
from ultralytics.data.converter import coco80_to_coco91_class, coco91_to_coco80_class


@pytest.fixture
def dataset(tmp_path):
    """Three images of one split with a label each, and their dataset file."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for i, (h, w) in enumerate([(40, 80), (80, 40), (64, 64)]):
        cv2.imwrite(str(tmp_path / "images" / f"{i}.jpg"), np.full((h, w, 3), 40 * i, np.uint8))
        (tmp_path / "labels" / f"{i}.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [a, b]\n")
    return tmp_path / "data.yaml"


def test_dataset_and_loader(dataset):
    data = utils.check_det_dataset(dataset, autodownload=False)
    cfg = get_cfg(overrides={"imgsz": 64})
    val = build_yolo_dataset(cfg, data["val"], 2, data, mode="val", rect=True, stride=32)
    assert val.rect
    assert not val.augment
    assert [len(batch["img"]) for batch in build_dataloader(val, 2, 0, shuffle=False)] == [2, 1]
    train = build_yolo_dataset(cfg, data["train"], 2, data)
    assert train.augment
    assert train[0]["img"].shape == (3, 64, 64)
    with pytest.raises(ValueError, match="multi_modal"):
        build_yolo_dataset(cfg, data["train"], 2, data, multi_modal=True)


def test_infinite_loader_repeats_the_epochs():
    loader = InfiniteDataLoader(list(range(4)), batch_size=2)
    assert [batch.tolist() for _ in range(2) for batch in loader] == [[0, 1], [2, 3]] * 2
    loader.reset()
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3]]


def test_inference_sources(tmp_path):
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), np.zeros((20, 30, 3), np.uint8))
    loader = load_inference_source(str(file))
    ((paths, images, infos),) = loader
    assert paths == [str(file)]
    assert images[0].shape == (20, 30, 3)
    assert infos[0] == f"image 1/1 {file}: "
    assert (loader.bs, loader.mode, len(loader), loader.source_type) == (1, "image", 1, loaders.SourceTypes())

    array = load_inference_source(np.zeros((4, 5, 3), np.uint8))
    assert array.source_type.from_img
    tensor = torch.zeros(2, 3, 32, 32)
    ((paths, images, _),) = load_inference_source(tensor)
    assert paths == ["image0.jpg", "image1.jpg"]
    assert torch.equal(images, tensor)

    assert len(list(loaders.LoadImagesAndVideos(tmp_path, batch=4))) == 1
    assert len(next(iter(loaders.LoadPilAndNumpy([Image.new("RGB", (5, 4))] * 2)))[1]) == 2
    assert loaders.LoadTensor(tensor).source_type.tensor
    with pytest.raises(ValueError, match="neither a camera"):
        loaders.LoadStreams(str(file))


def test_paths_and_hash():
    assert utils.img2label_paths(["/a/images/b.jpg"]) == ["/a/labels/b.txt"]
    assert utils.get_hash(["/nope"]) == "7b1b58010c93110cf48bf8b7885ed23a18ab4de3c69be7d19738f3190c757438"
    assert {"jpg", "png"} <= utils.IMG_FORMATS
    assert {"mp4", "avi"} <= utils.VID_FORMATS


@pytest.mark.parametrize(("orientation", "expected"), [(1, (30, 20)), (6, (20, 30)), (3, (30, 20))])
def test_exif_size(tmp_path, orientation, expected):
    image = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert utils.exif_size(opened) == expected


def test_verify_image(tmp_path):
    good, bad = str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")
    Image.new("RGB", (30, 20)).save(good)
    (tmp_path / "b.jpg").write_bytes(b"no image")
    assert utils.verify_image(((good, 0), "p: ")) == ((good, 0), 1, 0, "")
    pair, found, corrupt, message = utils.verify_image(((bad, 2), "p: "))
    assert (pair, found, corrupt) == ((bad, 2), 0, 1)
    assert message.startswith(f"p: {bad}: ")


def test_polygons():
    outer, inner = np.array([1, 1, 8, 1, 8, 8, 1, 8.0]), np.array([2, 2, 4, 2, 4, 4, 2, 4.0])
    assert utils.polygon2mask((10, 10), [outer]).sum() == 64
    assert utils.polygons2masks((10, 10), [outer, inner], 1, 2).shape == (2, 5, 5)
    joined, order = utils.polygons2masks_overlap((10, 10), [inner.reshape(-1, 2), outer.reshape(-1, 2)])
    assert joined.shape == (10, 10)
    assert order.tolist() == [1, 0]
    assert joined[3, 3] == 2
    assert joined[7, 7] == 1


def test_find_dataset_yaml(tmp_path):
    with pytest.raises(FileNotFoundError, match="no YAML file"):
        utils.find_dataset_yaml(tmp_path)
    (tmp_path / "a.yaml").touch()
    assert utils.find_dataset_yaml(tmp_path) == tmp_path / "a.yaml"
    (tmp_path / "b.yaml").touch()
    with pytest.raises(ValueError, match="several"):
        utils.find_dataset_yaml(tmp_path)


def test_autosplit(dataset):
    folder = dataset.parent
    utils.autosplit(folder / "images", weights=(1, 0, 0))
    lines = (folder / "autosplit_train.txt").read_text().splitlines()
    assert lines == ["./images/0.jpg", "./images/1.jpg", "./images/2.jpg"]
    assert not (folder / "autosplit_val.txt").exists()
    (folder / "labels" / "0.txt").unlink()
    utils.autosplit(folder / "images", weights=(0, 1, 0), annotated_only=True)
    assert not (folder / "autosplit_train.txt").exists()
    assert len((folder / "autosplit_val.txt").read_text().splitlines()) == 2


def test_classification_folders(tmp_path):
    for name in ("train/a", "train/b", "val/a"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(tmp_path / name / "1.jpg")
    data = utils.check_cls_dataset(tmp_path)
    assert data == {
        "train": tmp_path / "train",
        "val": tmp_path / "val",
        "test": None,
        "nc": 2,
        "names": {0: "a", 1: "b"},
    }


def test_coco_class_numbers():
    forward, backward = coco80_to_coco91_class(), coco91_to_coco80_class()
    assert (len(forward), forward[0], forward[11], forward[-1]) == (80, 1, 13, 90)
    assert (len(backward), backward[10], backward[11], backward[89], backward[90]) == (91, 10, None, 79, None)
