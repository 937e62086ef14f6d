"""Samples and batches."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from test_augment import OFF, fingerprint
from toy_dataset import make_dataset, write_label

from ultralytics.data import image_cache
from ultralytics.data.augment import NUM_MIX
from ultralytics.data.base import SampleSpec
from ultralytics.data.dataset import YOLODataset, rect_batches
from ultralytics.data.dataset_config import DatasetError, check_det_dataset

GOLDEN = json.loads((Path(__file__).parent / "golden" / "official.json").read_text())


def make(toy, **options):
    data = check_det_dataset(toy)
    return YOLODataset(data["train"], data=data, **{"imgsz": 64, "batch_size": 4, "stride": 32, **options})


def test_facts(toy):
    dataset = make(toy)
    assert len(dataset) == dataset.ni == 6
    assert dataset.im_files[0].endswith("图 00.png")
    assert dataset.im_files[-2:] == list(dataset.im_files)[-2:]
    assert dataset.shapes.tolist()[:2] == [[48, 64], [64, 48]]
    assert not dataset.mosaic
    label = dataset.labels[1]
    assert label["shape"] == (64, 48)
    assert np.array_equal(label["bboxes"], np.float32([[0.5, 0.5, 0.4, 0.5], [0.25, 0.3, 0.2, 0.2]]))
    assert label["cls"].tolist() == [[1], [0]]
    assert sum(len(x["cls"]) for x in dataset.labels) == 9


def test_validation_equals_the_official_package(coco128):
    """Images bit by bit; boxes too, except for the half pixel by which 8.3.0 shifts them where the padding is odd."""
    data = check_det_dataset(coco128 / "coco128.yaml")
    dataset = YOLODataset(data["val"], data=data, imgsz=160, rect=True, pad=0.5)
    index_of = {Path(name).name: i for i, name in enumerate(dataset.im_files)}
    exact = others = 0
    for name, official in GOLDEN["validation"].items():
        sample = dataset[index_of[name]]
        if list(sample["img"].shape) != official["image"][0]:  # images of one aspect may be sorted into another batch
            others += 1
            continue
        assert fingerprint(sample["img"].numpy()) == official["image"]
        (ratio, pad), (official_ratio, official_pad) = sample["ratio_pad"], official["ratio_pad"]
        assert (list(ratio), list(pad)) == (official_ratio, official_pad)
        assert sample["cls"].flatten().tolist() == official["cls"]
        off = np.abs(sample["bboxes"].numpy() - np.array(official["bboxes"])) * np.tile(sample["img"].shape[:0:-1], 2)
        assert off.max() < 0.501
        exact += off.max() < 1e-3
    assert exact > 3
    assert others <= 2


@pytest.mark.parametrize(
    ("shapes", "pad", "expected"),
    [
        ([(64, 64)] * 3, 0.0, (64, 64)),
        ([(64, 64)] * 3, 0.5, (96, 96)),  # 8.3.0 validates square images larger, too
        ([(48, 64), (40, 64)], 0.0, (64, 64)),
        ([(30, 64), (32, 64)], 0.0, (32, 64)),
        ([(64, 30), (64, 20)], 0.0, (64, 32)),
        ([(64, 30), (30, 64)], 0.0, (64, 64)),
    ],
)
def test_rect_shapes(shapes, pad, expected):
    _, batch_shapes = rect_batches(np.array(shapes), 6, imgsz=64, stride=32, pad=pad)
    assert batch_shapes.tolist() == [list(expected)]


def test_rect_batches_are_of_like_shape(toy):
    dataset = make(toy, rect=True, batch_size=2)
    ratios = dataset.shapes[:, 0] / dataset.shapes[:, 1]
    assert (np.diff(ratios) >= 0).all()
    shapes = [tuple(dataset[i]["img"].shape[1:]) for i in range(6)]
    assert shapes == [tuple(dataset.batch_shapes[i // 2]) for i in range(6)]


def test_rect_training_has_no_mosaic(toy):
    dataset = make(toy, rect=True, batch_size=2, augment=True)
    assert not dataset.mosaic
    assert tuple(dataset[0]["img"].shape[1:]) == tuple(dataset.batch_shapes[0])


def test_classes_single_class_and_fraction(toy):
    assert [len(x["cls"]) for x in make(toy, classes=[1]).labels] == [0, 1, 0, 1, 0, 1]
    assert make(toy, classes=1)[1]["cls"].tolist() == [[1]]
    assert {c for x in make(toy, single_cls=True).labels for c in x["cls"].flatten().tolist()} == {0}
    assert len(make(toy, fraction=0.5)) == 3
    assert len(make(toy, fraction=0.01)) == 1
    with pytest.raises(DatasetError, match="fraction is 0"):
        make(toy, fraction=0)
    with pytest.raises(DatasetError, match="cache is 'rom'"):
        make(toy, cache="rom")


def test_background_stays_and_corrupt_goes(toy):
    images = sorted((toy.parent / "images" / "train").iterdir())
    write_label(images[0], "")
    write_label(images[1], "9 .5 .5 .1 .1")
    dataset = make(toy)
    assert len(dataset) == 5
    assert dataset.im_files[0] == str(images[0])
    assert tuple(dataset[0]["bboxes"].shape) == (0, 4)


def test_train_sample_and_batch(toy):
    dataset = make(toy, augment=True)
    assert dataset.mosaic
    samples = [dataset[i] for i in range(4)]
    batch = YOLODataset.collate_fn(samples)
    assert (batch["img"].shape, batch["img"].dtype) == ((4, 3, 64, 64), torch.uint8)
    assert batch["img"].is_contiguous(memory_format=torch.channels_last)
    counts = [len(s["cls"]) for s in samples]
    assert batch["cls"].shape == (sum(counts), 1)
    assert batch["bboxes"].shape == (sum(counts), 4)
    assert batch["batch_idx"].tolist() == [float(i) for i, c in enumerate(counts) for _ in range(c)]
    assert {batch[k].dtype for k in ("cls", "bboxes", "batch_idx")} == {torch.float32}
    assert (batch["bboxes"] >= 0).all()
    assert (batch["bboxes"] <= 1).all()
    assert isinstance(batch["im_file"], tuple)
    assert batch["ori_shape"] == [tuple(x) for x in dataset.shapes[:4].tolist()]
    assert batch["resized_shape"] == [(64, 64)] * 4
    assert "ratio_pad" not in batch
    assert torch.equal(batch["img"][2], samples[2]["img"])


def test_a_batch_without_instances(toy):
    dataset = make(toy, classes=[1])
    batch = YOLODataset.collate_fn([dataset[0], dataset[2]])
    assert (batch["cls"].shape, batch["bboxes"].shape, batch["batch_idx"].shape) == ((0, 1), (0, 4), (0,))


def test_a_spec_decides_everything(toy):
    dataset, other = make(toy, augment=True), make(toy, augment=True)
    spec = SampleSpec(3, 0, 77, tuple((i % 6, i % 6) for i in range(NUM_MIX)))
    other[0], other[5]  # earlier samples have no influence
    assert torch.equal(dataset[spec]["img"], other[spec]["img"])
    assert torch.equal(dataset[spec]["bboxes"], other[spec]["bboxes"])
    assert not torch.equal(dataset[spec]["img"], dataset[spec._replace(seed=78)]["img"])


def test_plain_indices_follow_numpys_seed(toy):
    dataset = make(toy, augment=True)
    images = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        images.append(dataset[0]["img"])
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_close_mosaic(toy):
    dataset = make(toy, augment=True, hyp={**OFF, "mosaic": 1.0, "mixup": 1.0})
    dataset.close_mosaic(None)
    assert not dataset.mosaic
    sample = dataset[0]
    plain = make(toy)[0]
    assert torch.equal(sample["img"], plain["img"])
    assert torch.allclose(sample["bboxes"], plain["bboxes"])


def test_boxes_are_where_the_letterbox_puts_them(toy):
    sample = make(toy)[3]  # 40 x 64 in 64 x 64: 12 rows of padding above
    assert sample["ratio_pad"] == ((1.0, 1.0), (0, 12))
    assert np.allclose(sample["bboxes"][1], [0.25, (0.3 * 40 + 12) / 64, 0.2, 0.2 * 40 / 64])
    assert (sample["img"][:, :12] == 114).all()


@pytest.mark.parametrize("cache", [False, True, "ram", "disk"])
def test_cached_images_are_the_same(toy, cache):
    dataset = make(toy, cache=cache)
    first, again = dataset[1]["img"], dataset[1]["img"]
    assert dataset.images.store.get(1, 1) is not None
    assert torch.equal(first, again)
    if cache == "disk":
        later = make(toy, cache="disk")
        assert later.images.store.get(1, 1) is not None
        assert torch.equal(later[1]["img"], first)


def test_too_little_memory_means_no_store(toy, monkeypatch):
    monkeypatch.setattr(image_cache, "available_memory", lambda: 1000)
    dataset = make(toy, cache="ram")
    assert dataset.images.store is None
    assert dataset[0]["img"].shape == (3, 64, 64)


def test_window_of_a_large_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache, "STORE_BYTES", 0)
    monkeypatch.setattr(image_cache, "WINDOW_BATCHES", 8)
    monkeypatch.setattr(image_cache, "WINDOW_MARGIN", 2)
    dataset = make(make_dataset(tmp_path, n=20), augment=True, batch_size=2)
    assert len(dataset.images.store) == 16
    assert dataset.images.mix_window(0) == (0, 8)  # of 16 kept, 4 on each side may be in use by other workers
    assert dataset.images.mix_window(19) == (4, 12)
    assert make(tmp_path / "data.yaml", batch_size=2).images.store is None  # validation uses each image once
    spec = SampleSpec(7, 18, 1, tuple((i, i + 4) for i in range(NUM_MIX)))
    one = dataset[spec]["img"]
    assert dataset.images.store.get(18 % 16, 7) is not None
    monkeypatch.undo()
    assert torch.equal(make(tmp_path / "data.yaml", augment=True)[spec]["img"], one)


def test_an_image_that_breaks_later_is_gray(toy):
    dataset = make(toy)
    Path(dataset.im_files[2]).write_bytes(b"gone")
    sample = dataset[2]
    assert (sample["img"] == 114).all()
    assert len(sample["cls"]) == 0


def test_pickle(toy):
    dataset = make(toy, augment=True)
    other = pickle.loads(pickle.dumps(dataset))
    spec = SampleSpec(3, 0, 77, tuple((i % 6, i % 6) for i in range(NUM_MIX)))
    assert torch.equal(other[spec]["img"], dataset[spec]["img"])
