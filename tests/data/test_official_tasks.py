"""Labels and validation samples of segment, pose and obb, compared with the official package."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from ultralytics.data.dataset import YOLODataset
from ultralytics.data.polygons import xywhr_to_corners
from ultralytics.tasks import LabelSchema

GOLDEN = json.loads((Path(__file__).parent / "golden" / "official_tasks.json").read_text())
SCHEMAS = {
    "coco128": LabelSchema("polygon"),
    "nuclei": LabelSchema("polygon"),
    "nuclei-separate": LabelSchema("polygon"),
    "nuclei-obb": LabelSchema("oriented_box"),
    "mouse-pose": LabelSchema("keypoints", (7, 3)),
}


@pytest.fixture
def dataset_of(shared_data, tmp_path):
    """Makes the dataset of a case as golden/make_official_tasks.py does."""

    def make(case):
        source = shared_data(case.removesuffix("-separate"))
        labels, split = ("labels-seg", "val2017") if case == "coco128" else ("labels", "val")
        for folder, origin in (("images", "images"), ("labels", labels)):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / split).symlink_to(source / origin / split)
        options = {"overlap_mask": case != "nuclei-separate", "mask_ratio": 4}
        data = {"names": {i: str(i) for i in range(91)}}
        return YOLODataset(
            str(tmp_path / "images" / split),
            data=data,
            imgsz=192 if case == "mouse-pose" else 160,
            rect=True,
            pad=0.5,
            schema=SCHEMAS[case],
            hyp=options,
        )

    return make


def has_odd_padding(sample, shape):
    """Whether 8.3.0 shifts labels by half a pixel against the image."""
    resized = [round(side * ratio) for side, ratio in zip(sample["ori_shape"], sample["ratio_pad"][0], strict=True)]
    return any((total - side) % 2 for total, side in zip(shape, resized, strict=True))


def matches(sample, official):
    """(n,) for each of our instances the position of the official one of its class and box."""
    boxes, others = sample["bboxes"].numpy()[:, :4], np.array(official["bboxes"])[:, :4]
    distance = np.abs(boxes[:, None, :2] - others[None, :, :2]).max(2)
    distance += np.abs(boxes[:, None, 2:].prod(2) - others[None, :, 2:].prod(2))
    distance += sample["cls"].numpy() != np.array(official["cls"])[None]
    index = distance.argmin(1)
    assert sorted(index.tolist()) == list(range(len(others)))
    return index


def oriented_boxes_agree(boxes, others, shape):
    """Compared by corners: where a box lies along the axes, 8.3.0 writes an angle of 0 or pi / 2 by rounding noise."""
    size = np.array([shape[1], shape[0], shape[1], shape[0], 1])
    for corners, other in zip(xywhr_to_corners(boxes * size), xywhr_to_corners(others * size), strict=True):
        assert min(np.abs(corners - np.roll(other, k, 0)).max() for k in range(4)) < 2e-3
    assert ((boxes[:, 4] > 0) & (boxes[:, 4] <= np.float32(np.pi / 2))).all()


def wrong_pixels(sample, official, index, separate):
    masks = sample["masks"].numpy()
    other = np.frombuffer(zlib.decompress(base64.b64decode(official["masks"])), np.uint8).reshape(masks.shape)
    if separate:
        return (masks != other[index]).sum(), (other > 0).sum()
    renumbered = np.zeros(256, np.uint8)  # instances of equal area are in any order
    renumbered[index + 1] = np.arange(1, len(index) + 1)
    return (masks != renumbered[other]).sum(), (other > 0).sum()


@pytest.mark.parametrize("case", GOLDEN)
def test_labels_equal_the_official_package(case, dataset_of):
    dataset = dataset_of(case)
    index_of = {Path(name).name: i for i, name in enumerate(dataset.im_files)}
    for name, official in GOLDEN[case]["labels"].items():
        label = dataset.labels[index_of[name]]
        assert label["cls"].flatten().tolist() == official["cls"]
        assert np.abs(label["bboxes"] - np.array(official["bboxes"]).reshape(-1, 4)).max(initial=0) < 2e-6
        if SCHEMAS[case].kind == "polygon":  # those with several parts are one polygon there
            assert len(label["segments"]) >= len(official["segments"])
            points, official_points = sum(s.sum() for s in label["segments"]), official["points"]
            joined = len(label["segments"]) > len(official["segments"])
            assert joined or points == pytest.approx(official_points, rel=1e-5)
        if SCHEMAS[case].kind == "keypoints":
            assert np.abs(label["keypoints"] - np.array(official["keypoints"])).max() < 2e-6


@pytest.mark.parametrize(("case", "count"), [
    ("coco128", 6), ("nuclei", 6), ("nuclei-separate", 3), ("nuclei-obb", 5), ("mouse-pose", 5)
])  # fmt: skip
def test_validation_samples_equal_the_official_package(case, count, dataset_of):
    """Masks pixel by pixel, except where parts of an instance are joined: 8.3.0 draws the line between them."""
    dataset = dataset_of(case)
    index_of = {Path(name).name: i for i, name in enumerate(dataset.im_files)}
    compared = 0
    for name, official in GOLDEN[case]["samples"].items():
        sample, shape = dataset[index_of[name]], official["shape"]
        if list(sample["img"].shape[1:]) != shape or not official["cls"]:
            continue  # images of one aspect may be sorted into another batch
        index, odd = matches(sample, official), has_odd_padding(sample, shape)
        boxes, others = sample["bboxes"].numpy(), np.array(official["bboxes"])[index]
        if SCHEMAS[case].kind == "oriented_box":
            oriented_boxes_agree(boxes, others, shape)
        else:
            assert np.abs(boxes - others).max() < (0.51 / min(shape) if odd else 1e-6)
        if SCHEMAS[case].kind == "keypoints":
            assert np.abs(sample["keypoints"].numpy() - np.array(official["keypoints"])[index]).max() < 1e-6
        if SCHEMAS[case].kind == "polygon" and not odd:
            wrong, total = wrong_pixels(sample, official, index, case == "nuclei-separate")
            joined = len(dataset.labels[index_of[name]]["segments"]) > len(index)
            assert wrong <= (0.05 * total if joined else 0)
        compared += not odd
    assert compared >= count
