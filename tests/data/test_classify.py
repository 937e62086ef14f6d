"""Classification datasets: classes by name, splits, transforms compared with the official package."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from toy_dataset import write_image

from ultralytics.cfg import get_cfg
from ultralytics.data import augment
from ultralytics.data.classify import ClassificationDataset, check_cls_dataset, find_class_images
from ultralytics.data.classify_transforms import classify_augmentations, classify_transforms
from ultralytics.data.dataset_config import DatasetError, DatasetNotFoundError
from ultralytics.data.loader import build_dataloader
from ultralytics.utils import LOGGER

GOLDEN = json.loads((Path(__file__).parent / "golden" / "official_classify.json").read_text())


def drawn(h, w):
    """As in golden/make_official_classify.py."""
    y, x, c = np.mgrid[:h, :w, :3]
    return Image.fromarray(((y * 7 + x * 3 + c * 50 + (x * y) // 5) % 256).astype(np.uint8))


def fingerprint(tensor):
    """As in golden/make_official_classify.py."""
    flat = tensor.double().flatten()
    return [list(tensor.shape), float(flat.sum()), float((flat * (torch.arange(flat.numel()) % 1009)).sum())]


def same(result, official):
    assert result[0] == official[0]
    assert result[1:] == pytest.approx(official[1:], rel=1e-6)


def make(root, **splits):
    """Folders of 20 x 24 images: split={"class": count}."""
    seed = 0
    for split, classes in splits.items():
        for name, count in classes.items():
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                seed += 1
                write_image(root / split / name / f"{i}.png", 20, 24, seed=seed)
    return root


def paths(images):
    return [str(Path(image.path).relative_to(Path(image.path).parents[1])) for image in images]


@pytest.mark.parametrize(("options", "shape", "official"), GOLDEN["validation"])
def test_validation_transform_is_the_official_one(options, shape, official):
    same(fingerprint(classify_transforms(**options)(drawn(*shape))), official)


@pytest.mark.parametrize(("options", "shape", "seed", "official"), GOLDEN["training"])
def test_training_transform_is_the_official_one(options, shape, seed, official):
    torch.manual_seed(seed)
    same(fingerprint(classify_augmentations(**options)(drawn(*shape))), official)


def test_unknown_policy():
    with pytest.raises(ValueError, match="auto_augment is 'rand', but must be one of randaugment, augmix"):
        classify_augmentations(auto_augment="rand")


def test_letterbox_keeps_what_a_center_crop_cuts():
    image = np.zeros((20, 100, 3), np.uint8)
    image[:, :10] = 255
    crop, whole = (classify_transforms(50, letterbox=letterbox)(Image.fromarray(image)) for letterbox in (False, True))
    assert crop.max() == 0
    assert whole.shape == (3, 50, 50)
    assert whole[:, 25, :4].min() == 1
    assert whole[:, 0, 0].tolist() == pytest.approx([114 / 255] * 3)


def test_official_paths():
    assert augment.classify_transforms is classify_transforms
    with pytest.raises(AttributeError, match="no attribute 'classify_nothing'"):
        augment.classify_nothing  # noqa: B018


def test_classes_are_mapped_by_name(tmp_path):
    """8.3.0 numbers the folders of each split, so that a missing one shifts all after it."""
    make(tmp_path, train={"Bus": 2, "apple": 2, "zebra": 1}, validation={"apple": 1, "zebra": 1}, test={"zebra": 2})
    data = check_cls_dataset(tmp_path)
    assert (data["names"], data["nc"]) == ({0: "Bus", 1: "apple", 2: "zebra"}, 3)
    assert [image.cls for image in data["train"]] == [0, 0, 1, 1, 2]
    assert [image.cls for image in data["val"]] == [1, 2]
    assert [image.cls for image in data["test"]] == [2, 2]
    assert paths(data["val"]) == ["apple/0.png", "zebra/0.png"]


def test_missing_and_empty_class_folders_are_named(tmp_path, capsys, monkeypatch):
    make(tmp_path, train={"a": 1, "b": 0, "c": 1}, val={"c": 1})
    check_cls_dataset(tmp_path)
    out = capsys.readouterr().out
    assert f"{tmp_path / 'train' / 'b'}: there is no image in it" in out
    assert f"{tmp_path / 'val'}: no folder for a, b" in out


@pytest.mark.parametrize(
    ("splits", "error", "message"),
    [
        ({"val": {"a": 1}}, DatasetNotFoundError, "there is no folder 'train'"),
        ({"train": {"a": 0}}, DatasetError, "there is no image in the folders of the classes a"),
        ({"train": {}, "val": {"a": 1}}, DatasetNotFoundError, "there is no folder 'train'"),
        ({"train": {"a": 1}, "val": {"b": 1}}, DatasetError, r"val: 'b' is not a class of the training images \(a\)"),
    ],
)
def test_wrong_folders(tmp_path, splits, error, message):
    make(tmp_path, **splits)
    with pytest.raises(error, match=message):
        check_cls_dataset(tmp_path)


def test_no_folder_and_a_yaml(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="there is no folder"):
        check_cls_dataset(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="not a YAML file"):
        check_cls_dataset(tmp_path / "data.yaml")
    with pytest.raises(DatasetError, match="there is no class"):
        check_cls_dataset(tmp_path)


def test_one_folder_is_divided_by_the_seed(tmp_path):
    make(tmp_path, **{"": {"a": 10, "b": 5}})
    data, again, other = (check_cls_dataset(tmp_path, seed) for seed in (0, 0, 1))
    assert data == again
    assert [sum(image.cls == c for image in data["val"]) for c in (0, 1)] == [2, 1]
    assert sorted(paths(data["train"]) + paths(data["val"])) == sorted(
        paths(find_class_images(tmp_path, {0: "a", 1: "b"}))
    )
    assert data["val"] != other["val"]


def test_fraction_keeps_every_class(tmp_path):
    make(tmp_path, train={"a": 10, "b": 4})
    args = SimpleNamespace(imgsz=16, fraction=0.5)
    dataset = ClassificationDataset(tmp_path / "train", args, augment=True)
    assert [sample.cls for sample in dataset.samples] == [0] * 5 + [1] * 2
    assert len(ClassificationDataset(tmp_path / "train", args)) == 14  # validation uses all


def test_samples_and_batches(tmp_path):
    make(tmp_path, train={"a": 3, "b": 2})
    images = check_cls_dataset(tmp_path)["train"]
    dataset = ClassificationDataset(images, get_cfg(overrides={"imgsz": 16}), augment=True)
    loader = build_dataloader(dataset, 4, 0)
    first, second = loader
    assert (first["img"].shape, first["img"].dtype) == ((4, 3, 16, 16), torch.float32)
    assert (len(second["cls"]), first["cls"].dtype) == (1, torch.int64)
    names = {image.path: image.cls for image in images}
    assert [names[path] for path in first["im_file"]] == first["cls"].tolist()
    assert 0 <= first["img"].min() <= first["img"].max() <= 1


def test_the_seed_decides_with_any_number_of_workers(tmp_path):
    make(tmp_path, train={"a": 3, "b": 3})

    def run(workers, seed=0):
        dataset = ClassificationDataset(tmp_path / "train", get_cfg(overrides={"imgsz": 16}), augment=True)
        loader = build_dataloader(dataset, 3, workers, seed=seed)
        epochs = [[batch["img"].clone() for batch in loader] for _ in range(2)]
        loader.reset()
        return torch.stack([img for epoch in epochs for img in epoch])

    state = torch.random.get_rng_state()
    runs = run(0), run(2), run(0, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)  # the network's random numbers are not touched
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0][:2], runs[0][2:])


def test_gray_alpha_tiny_and_broken_images(tmp_path, capsys):
    folder = make(tmp_path, train={"a": 1}) / "train" / "a"
    cv2.imwrite(str(folder / "gray.png"), np.full((20, 30), 51, np.uint8))
    cv2.imwrite(str(folder / "rgba.png"), np.full((20, 30, 4), (51, 102, 204, 10), np.uint8))
    cv2.imwrite(str(folder / "tiny.png"), np.full((1, 3, 3), 51, np.uint8))
    (folder / "broken.jpg").write_bytes(b"nothing")
    dataset = ClassificationDataset(tmp_path / "train", SimpleNamespace(imgsz=16), prefix="train: ")
    samples = {Path(sample["im_file"]).stem: sample["img"] for sample in (dataset[i] for i in range(len(dataset)))}
    assert set(samples) == {"0", "gray", "rgba", "tiny"}
    assert samples["gray"].mean() == pytest.approx(0.2)
    assert samples["tiny"].mean() == pytest.approx(0.2)
    assert samples["rgba"].mean((1, 2)).tolist() == pytest.approx([0.8, 0.4, 0.2])
    out = capsys.readouterr().out
    assert "train: 4 images in 1 classes, 1 corrupt and left out" in out
    assert f"{folder / 'broken.jpg'}: the image cannot be read" in out


def test_nothing_usable(tmp_path):
    folder = make(tmp_path, train={"a": 0}) / "train" / "a"
    (folder / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="none of the 1 images is usable"):
        ClassificationDataset(tmp_path / "train", SimpleNamespace(imgsz=16))


def test_cache_has_no_effect_and_says_so(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    make(tmp_path, train={"a": 1})
    ClassificationDataset(tmp_path / "train", SimpleNamespace(imgsz=16, cache="ram"))
    assert "cache has no effect on classification" in caplog.text


def test_real_crops(shared_data):
    data = check_cls_dataset(shared_data("bccd-crops"))
    assert data["names"] == {0: "Platelets", 1: "RBC", 2: "WBC"}
    assert len(data["train"]) + len(data["val"]) == 600
    dataset = ClassificationDataset(data["val"], get_cfg(overrides={"imgsz": 64}))
    assert dataset[0]["img"].shape == (3, 64, 64)
