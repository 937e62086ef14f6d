"""Datasets of polygons, keypoints and oriented boxes, from the label file to the batch."""

import json

import numpy as np
import pytest
import torch
from test_augment import OFF
from toy_dataset import write_image, write_label

from ultralytics.data.dataset import YOLODataset
from ultralytics.data.dataset_config import DatasetError, check_det_dataset, label_schema
from ultralytics.data.loader import build_dataloader
from ultralytics.tasks import LabelSchema
from ultralytics.utils import LOGGER

SCHEMAS = {kind: LabelSchema(kind) for kind in ("polygon", "keypoints", "oriented_box")}
LINES = {
    "polygon": "{c} .2 .2 .5 .2 .5 .6 .2 .6\n",
    "keypoints": "{c} .35 .4 .3 .4 .2 .2 2 .5 .6 1 .4 .4 0\n",
    "oriented_box": "{c} .2 .4 .35 .2 .5 .4 .35 .6\n",
}


def make(root, kind, augment=False, n=5, lines=None, **options):
    """n images of 64 x 64 with one instance each; the last image is background."""
    for i in range(n):
        image = write_image(root / "images" / f"{i}.png", 64, 64, seed=i)
        write_label(image, (lines or LINES[kind]).format(c=i % 2) if i < n - 1 else "")
    keypoint_lines = {"kpt_shape": [3, 3], "flip_idx": [1, 0, 2]} if kind == "keypoints" else {}
    content = {"path": ".", "train": "images", "val": "images", "names": ["a", "b"], **keypoint_lines}
    (root / "data.yaml").write_text(json.dumps(content))
    data = check_det_dataset(root / "data.yaml", schema=SCHEMAS[kind])
    data.update(options.pop("data", {}))
    schema = label_schema(SCHEMAS[kind], data)
    return YOLODataset(data["train"], data=data, imgsz=64, batch_size=n, augment=augment, schema=schema, **options)


def test_images_are_shared_by_label_folders(tmp_path):
    """`labels_dir` in the dataset file: two tasks with the same images, each with its cache and its stamps."""
    polygons = make(tmp_path, "polygon")
    for file in sorted((tmp_path / "labels").iterdir()):
        keypoints = LINES["keypoints"].format(c=1) if file.stem != "4" else ""
        (tmp_path / "labels-pose").mkdir(exist_ok=True)
        (tmp_path / "labels-pose" / file.name).write_text(keypoints)
    content = json.loads((tmp_path / "data.yaml").read_text()) | {"kpt_shape": [3, 3], "labels_dir": "labels-pose"}
    (tmp_path / "data.yaml").write_text(json.dumps(content))
    data = check_det_dataset(tmp_path / "data.yaml", schema=SCHEMAS["keypoints"])
    schema = label_schema(SCHEMAS["keypoints"], data)
    for cls in (1, 0):
        (tmp_path / "labels-pose" / "0.txt").write_text(LINES["keypoints"].format(c=cls) + "\n" * cls)
        poses = YOLODataset(data["train"], data=data, imgsz=64, schema=schema)
        assert poses.im_files[:] == polygons.im_files[:]
        assert poses.table.cls.tolist() == [cls, 1, 1, 1]
        assert poses.table.keypoints.shape == (4, 3, 3)
    assert polygons.table.cls.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        ("polygon", {"masks": (5, 16, 16), "bboxes": (4, 4)}),
        ("keypoints", {"keypoints": (4, 3, 3), "bboxes": (4, 4)}),
        ("oriented_box", {"bboxes": (4, 5)}),
    ],
)
def test_validation_batches(tmp_path, kind, shapes):
    dataset = make(tmp_path, kind)
    batch = YOLODataset.collate_fn([dataset[i] for i in range(5)])
    assert {key: tuple(batch[key].shape) for key in shapes} == shapes
    assert batch["batch_idx"].tolist() == [0, 1, 2, 3]
    assert np.allclose(batch["bboxes"][:, :2], [[0.35, 0.4]] * 4)
    assert ("masks" in batch) == (kind == "polygon")
    assert ("keypoints" in batch) == (kind == "keypoints")
    if kind == "polygon":
        assert [int(mask.max()) for mask in batch["masks"]] == [1, 1, 1, 1, 0]
        ys, xs = torch.nonzero(batch["masks"][0], as_tuple=True)
        assert (xs.min(), xs.max(), ys.min(), ys.max()) == (3, 7, 3, 9)
    if kind == "keypoints":
        assert np.allclose(batch["keypoints"][0], [[0.2, 0.2, 2], [0.5, 0.6, 1], [0.4, 0.4, 0]])


def test_separate_masks(tmp_path):
    dataset = make(tmp_path, "polygon", hyp={"overlap_mask": False, "mask_ratio": 2})
    batch = YOLODataset.collate_fn([dataset[i] for i in range(5)])
    assert tuple(batch["masks"].shape) == (4, 32, 32)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_training_batches(tmp_path, kind):
    hyp = {**OFF, "mosaic": 1.0, "mixup": 0.5, "degrees": 20.0, "scale": 0.5, "translate": 0.1, "fliplr": 0.5}
    dataset = make(tmp_path, kind, augment=True, hyp={**hyp, "copy_paste": 0.5})
    for _ in range(3):
        (batch,) = build_dataloader(dataset, 5, 0)
        n = len(batch["cls"])
        assert n > 5
        if kind == "polygon":
            assert tuple(batch["masks"].shape) == (5, 16, 16)
            counts = torch.bincount(batch["batch_idx"].long(), minlength=5)
            assert all(int(m.max()) <= c for m, c in zip(batch["masks"], counts, strict=True))
        elif kind == "keypoints":
            assert tuple(batch["keypoints"].shape) == (n, 3, 3)
            visible = batch["keypoints"][batch["keypoints"][..., 2] > 0]
            assert ((visible[:, :2] >= 0) & (visible[:, :2] <= 1)).all()
            assert (batch["keypoints"][:, 2, 2] == 0).all()
        else:
            assert tuple(batch["bboxes"].shape) == (n, 5)
            assert ((batch["bboxes"][:, 4] > 0) & (batch["bboxes"][:, 4] <= torch.pi / 2)).all()


def test_masks_lie_in_their_boxes(tmp_path):
    hyp = {**OFF, "mosaic": 1.0, "degrees": 30.0, "scale": 0.5, "translate": 0.3}
    dataset = make(tmp_path, "polygon", augment=True, hyp={**hyp, "mask_ratio": 1, "overlap_mask": False})
    np.random.seed(0)
    for k in range(8):
        sample = dataset[k % 5]
        for mask, (x, y, w, h) in zip(sample["masks"], sample["bboxes"] * 64, strict=True):
            ys, xs = torch.nonzero(mask, as_tuple=True)
            drawn = torch.tensor([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            box = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
            assert (drawn - box).abs().max() < 1.5


def test_labels_of_another_task(tmp_path, capsys):
    with pytest.raises(DatasetError, match="none of the 2 label files is usable"):
        make(tmp_path, "polygon", n=3, lines="0 .5 .5 .2 .2\n")
    assert f"{tmp_path / 'labels' / '1.txt'}:1: 5 numbers are a box or 2 points" in capsys.readouterr().out


def test_filters_keep_the_parts_together(tmp_path):
    dataset = make(tmp_path, "keypoints", classes=[1])
    assert [len(label["cls"]) for label in dataset.labels] == [0, 1, 0, 1, 0]
    assert tuple(dataset[0]["keypoints"].shape) == (0, 3, 3)
    assert tuple(dataset[1]["keypoints"].shape) == (1, 3, 3)
    assert make(tmp_path, "oriented_box", single_cls=True)[1]["cls"].tolist() == [[0]]


def test_label_views(tmp_path):
    polygon = make(tmp_path / "a", "polygon").labels[0]
    assert np.allclose(polygon["segments"], [[[0.2, 0.2], [0.5, 0.2], [0.5, 0.6], [0.2, 0.6]]])
    assert polygon["keypoints"] is None
    assert np.allclose(make(tmp_path / "b", "keypoints").labels[0]["keypoints"][0, 1], [0.5, 0.6, 1])


def test_keypoints_without_flip_idx_are_not_flipped(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    hyp = {**OFF, "fliplr": 1.0}
    assert make(tmp_path, "keypoints", augment=True, hyp=hyp).augmenter.flip.chances == (0, 1)
    dataset = make(tmp_path, "keypoints", augment=True, hyp=hyp, data={"flip_idx": None})
    assert "no 'flip_idx'" in caplog.text
    assert np.allclose(dataset[0]["keypoints"][0], [[0.2, 0.2, 2], [0.5, 0.6, 1], [0.4, 0.4, 0]])


def test_the_cache_distinguishes_schemas(tmp_path):
    """8.3.0 reads the labels of the last task again."""
    nine = "{c} .2 .2 .5 .2 .5 .6 .2 .6\n"
    as_polygon, as_box = (make(tmp_path, kind, lines=nine) for kind in ("polygon", "oriented_box"))
    again = make(tmp_path, "polygon", lines=nine)
    assert [d.table.corners.shape[1] for d in (as_polygon, as_box, again)] == [0, 4, 0]
    assert [len(d.table.points) for d in (as_polygon, as_box, again)] == [16, 0, 16]
    assert not again.table.points.flags.owndata


def test_oriented_boxes_that_reach_outside_are_kept(tmp_path):
    dataset = make(tmp_path, "oriented_box", lines="{c} -.2 .5 .2 .1 .6 .5 .2 .9\n")
    assert len(dataset) == 5
    x, y, w, h, angle = dataset[0]["bboxes"][0].tolist()
    assert (x, y, angle) == pytest.approx((0.2, 0.5, np.pi / 4), abs=1e-6)
    assert w * h == pytest.approx(0.8 * 0.8 / 2, abs=1e-6)


def test_copy_paste_of_other_images_draws_more_indices(tmp_path):
    hyp = {**OFF, "mosaic": 1.0, "copy_paste": 1.0, "copy_paste_mode": "mixup"}
    dataset = make(tmp_path, "polygon", augment=True, hyp=hyp)
    loader = build_dataloader(dataset, 5, 0)
    (specs,) = (next(iter(loader.sampler)),)
    assert {len(spec.mix_indices) for spec in specs} == {15}
    pasted = sum(len(b["cls"]) for b in loader)
    dataset.close_mosaic()
    loader.reset()
    assert {len(spec.mix_indices) for spec in next(iter(loader.sampler))} == {7}
    assert pasted > sum(len(b["cls"]) for b in loader) == 4
