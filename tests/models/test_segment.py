"""The segment task: equal to 8.3.0 on the same weights and images (golden/segment.json); cases with known answers."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ultralytics import YOLO
from ultralytics.models.yolo.segment import SegmentationTrainer, SegmentationValidator
from ultralytics.models.yolo.segment.val import MaskPredictions
from ultralytics.nn.checkpoint import save_checkpoint
from ultralytics.nn.tasks import SegmentationModel
from ultralytics.utils import LOGGER, IterableSimpleNamespace, coco, rle

GOLDEN = Path(__file__).parent / "golden"
_spec = importlib.util.spec_from_file_location("golden_make_segment", GOLDEN / "make_segment.py")
make_segment = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_segment)


@pytest.fixture(scope="module")
def golden():
    return json.loads((GOLDEN / "segment.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The network of the golden file as a checkpoint, its images and its dataset."""
    root = tmp_path_factory.mktemp("golden")
    (root / "seg.yaml").write_text(make_segment.MODEL, encoding="utf-8")
    network = make_segment.stir(SegmentationModel(root / "seg.yaml", verbose=False)).half().float()
    network.names = {0: "a", 1: "b"}
    save_checkpoint(root / "seg.pt", network, finished=True, train_args={"task": "segment"})
    make_segment.write_images(root / "images")
    make_segment.write_dataset(root, json.loads((GOLDEN / "segment.json").read_text())["labels"])
    return root


@pytest.fixture
def images(folder):
    return [str(folder / "images" / f"{i}.png") for i in range(len(make_segment.SHAPES))]


def run_val(folder, tmp_path, **options):
    args = {**make_segment.VAL, "data": str(folder / "data.yaml"), "project": str(tmp_path), **options}
    return YOLO(folder / "seg.pt").val(**args)


def mask_of(runs, shape):
    return (np.arange(len(runs)) % 2 == 1).repeat(runs).reshape(shape)


# ---- against the official package


@pytest.mark.parametrize("retina", [False, True])
def test_predictions_equal_the_official_package(golden, folder, images, retina):
    chosen = make_segment.RETINA if retina else range(len(images))
    sources = [images[i] for i in chosen]
    results = YOLO(folder / "seg.pt").predict(sources, retina_masks=retina, **make_segment.PREDICT)
    for result, expected in zip(results, golden["retina" if retina else "results"], strict=True):
        assert len(result) == len(expected["boxes"]) > 0
        np.testing.assert_allclose(result.boxes.data.numpy(), expected["boxes"], atol=1e-3)
        for mask, runs in zip(result.masks.data.numpy(), expected["masks"], strict=True):
            assert (mask == mask_of(runs, mask.shape)).mean() >= 0.999


@pytest.mark.parametrize("name", make_segment.VARIANTS)
def test_metrics_equal_the_official_package(golden, folder, tmp_path, name):
    metrics = run_val(folder, tmp_path, **make_segment.VARIANTS[name])
    assert metrics.results_dict == pytest.approx(golden["metrics"][name], abs=1e-3)


# ---- validation


def test_files_do_not_change_the_metrics(folder, tmp_path):
    """8.3.0 compares masks of another size if save_json or save_txt is set."""
    plain = run_val(folder, tmp_path)
    written = run_val(folder, tmp_path, save_json=True, save_txt=True)
    assert written.results_dict == plain.results_dict
    assert plain.results_dict["metrics/mAP50(M)"] > 0.05


def test_json_has_masks_of_the_original_size(folder, tmp_path):
    pytest.importorskip("pycocotools")
    metrics = run_val(folder, tmp_path, save_json=True, conf=0.3, name="json")
    entries = json.loads((tmp_path / "json" / "predictions.json").read_text())
    truth = json.loads((tmp_path / "json" / "instances.json").read_text())
    sizes = {image["id"]: [image["height"], image["width"]] for image in truth["images"]}
    assert sizes == {i: list(shape) for i, shape in enumerate(make_segment.SHAPES)}
    for entry in (*entries, *truth["annotations"]):
        mask = rle.decode(entry["segmentation"])
        assert list(mask.shape) == sizes[entry["image_id"]]
        left, top, width, height = entry["bbox"]
        rows, columns = np.nonzero(mask)
        if "score" in entry and len(rows):  # a mask is cut at its box, to a pixel
            assert columns.min() >= left - 1
            assert columns.max() <= left + width + 1
            assert rows.min() >= top - 1
            assert rows.max() <= top + height + 1
    assert all(
        annotation["area"] == rle.decode(annotation["segmentation"]).sum() for annotation in truth["annotations"]
    )
    assert list(metrics.coco) == [*coco.METRICS, *(f"{name}(M)" for name in coco.METRICS)]
    assert 0 < metrics.coco["AP(M)"] < 1
    saved = json.loads((tmp_path / "json" / "metrics.json").read_text())
    assert saved["coco"]["AP(M)"] == pytest.approx(metrics.coco["AP(M)"], abs=1e-4)


def full_masks(boxes, coefficient=1.0):
    """Predictions in an image of 64 x 64 whose masks fill their boxes: one prototype, one coefficient."""
    rows = [[*box, 0.9 - 0.1 * i, 0, coefficient] for i, box in enumerate(boxes)]
    return MaskPredictions(torch.tensor(rows, dtype=torch.float32).reshape(-1, 7), torch.ones(1, 16, 16))


@pytest.fixture
def validator(tmp_path):
    def make(**args):
        v = SegmentationValidator(save_dir=tmp_path, args={"mode": "val", "plots": True, **args})
        v.init_metrics(IterableSimpleNamespace(names={0: "a"}))
        return v

    return make


def batch(boxes, size, ratio_pad, original, overlap=True):
    """One image with box-shaped masks at a quarter of the size; boxes in pixels of the batch."""
    h, w = size
    masks = torch.zeros(len(boxes) or int(overlap), h // 4, w // 4, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=False):
        mask[y1 // 4 : y2 // 4, x1 // 4 : x2 // 4] = 1
    xyxy = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    xywh = torch.cat([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], 1) / torch.tensor([w, h, w, h])
    if overlap and boxes:
        masks = (masks * torch.arange(1, len(boxes) + 1, dtype=torch.uint8)[:, None, None]).amax(0, keepdim=True)
    return {
        "img": torch.zeros(1, 3, h, w),
        "batch_idx": torch.zeros(len(boxes)),
        "cls": torch.zeros(len(boxes), 1),
        "bboxes": xywh,
        "masks": masks,
        "im_file": ("a.jpg",),
        "ori_shape": [original],
        "ratio_pad": [ratio_pad],
    }


BOXES = [(8, 8, 24, 24), (32, 8, 56, 40)]


@pytest.mark.parametrize("overlap", [True, False])
def test_perfect_masks_have_the_highest_score(validator, overlap):
    v = validator(overlap_mask=overlap)
    data = batch(BOXES, (64, 64), ((1, 1), (0, 0)), (64, 64), overlap)
    v.update_metrics([full_masks(BOXES)], data)
    stats = v.get_stats()
    assert stats["metrics/mAP50-95(M)"] == stats["metrics/mAP50-95(B)"] == pytest.approx(0.995)
    assert stats["fitness"] == pytest.approx(2 * 0.995)
    assert list(v.class_results()[0].metrics) == list(v.metric_keys)


def test_boxes_and_masks_are_matched_on_their_own(validator):
    """Right boxes with empty masks."""
    v = validator()
    v.update_metrics([full_masks(BOXES, -1.0)], batch(BOXES, (64, 64), ((1, 1), (0, 0)), (64, 64)))
    stats = v.get_stats()
    assert stats["metrics/mAP50(B)"] == pytest.approx(0.995)
    assert stats["metrics/mAP50(M)"] == 0


@pytest.mark.parametrize(("predicted", "labeled"), [([], BOXES), (BOXES, []), ([], [])])
def test_nothing_predicted_or_nothing_labeled(validator, predicted, labeled):
    v = validator(save_json=True, save_txt=True)
    v.update_metrics([full_masks(predicted)], batch(labeled, (64, 64), ((1, 1), (0, 0)), (64, 64)))
    assert set(v.get_stats().values()) == {0.0}
    assert v.seen == 1
    assert len(v.jdict) == len(predicted)


def test_masks_in_files_are_not_shifted_by_an_odd_border(validator, tmp_path):
    """An image of 50 x 58 in a batch of 64 x 64, 7 and 3 pixels from its corner, is not scaled."""
    v = validator(save_json=True, save_txt=True, save_conf=True)
    boxes = [(8, 16, 24, 32)]
    data = batch(boxes, (64, 64), ((1, 1), (3, 7)), (50, 58))
    v.update_metrics([full_masks(boxes)], data)
    expected = np.zeros((50, 58), bool)
    expected[9:25, 5:21] = True
    np.testing.assert_array_equal(rle.decode(v.jdict[0]["segmentation"]), expected)
    label = v._truth.as_dict()["annotations"][0]  # from the masks of the batch: there is no dataset
    assert (rle.decode(label["segmentation"]) != expected).sum() <= 4 * 16
    assert label["bbox"] == v.jdict[0]["bbox"] == [5, 9, 16, 16]
    cls, *points, conf = map(float, (tmp_path / "labels" / "a.txt").read_text().split())
    assert (cls, conf) == (0, pytest.approx(0.9))
    corners = np.reshape(points, (-1, 2)) * (58, 50)
    np.testing.assert_allclose([corners.min(0), corners.max(0)], [[5, 9], [20, 24]], atol=1e-3)


# ---- prediction


def test_an_image_without_instances_has_no_masks(folder, images, tmp_path):
    options = {"imgsz": 160, "conf": 0.999, "verbose": False, "save": True, "save_txt": True, "project": str(tmp_path)}
    result = YOLO(folder / "seg.pt").predict(images[0], name="nothing", **options)[0]
    assert result.masks is None
    assert len(result.boxes) == 0
    assert result.summary() == []
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*")} == {"nothing/0.png"}


@pytest.mark.parametrize("retina", [False, True])
def test_crop_options(folder, images, retina):
    """A margin adds pixels outside of the box, and without a crop there are more of them."""
    outside, masks = [], {}
    for crop in ("box", "margin", "none"):
        options = {"imgsz": 160, "conf": 0.55, "retina_masks": retina, "mask_crop": crop, "verbose": False}
        result = YOLO(folder / "seg.pt").predict(images[0], **options)[0]
        masks[crop] = result.masks.data.numpy()
        for mask, (x1, y1, x2, y2) in zip(masks[crop], result.boxes.xyxy.numpy().astype(int), strict=True):
            mask[max(y1 - 8, 0) : y2 + 9, max(x1 - 8, 0) : x2 + 9] = 0  # two cells of the prototypes
        outside.append(int(masks[crop].sum(dtype=int)))
    assert outside[0] == 0
    assert 0 < outside[1] < outside[2]


def test_masks_are_bytes_and_agree_with_polygons(folder, images):
    result = YOLO(folder / "seg.pt").predict(images[1], imgsz=160, conf=0.55, retina_masks=True, verbose=False)[0]
    assert result.masks.data.dtype == torch.uint8
    assert tuple(result.masks.shape[1:]) == result.orig_shape
    assert set(np.unique(result.masks.data.numpy())) <= {0, 1}
    for mask, polygon in zip(result.masks.data.numpy(), result.masks.xy, strict=True):
        if len(polygon) > 2:
            filled = cv2.fillPoly(np.zeros(mask.shape, np.uint8), [polygon.astype(np.int32)], 1)
            largest = filled & mask
            assert largest.sum() >= 0.8 * filled.sum()


def test_options_of_prediction(folder, images):
    yolo = YOLO(folder / "seg.pt")
    some = yolo.predict(images, imgsz=160, conf=0.5, max_det=3, classes=[1], batch=3, verbose=False)
    assert [len(result.masks) for result in some] == [len(result.boxes) for result in some]
    assert max(len(result) for result in some) == 3
    assert all((result.boxes.cls == 1).all() for result in some)
    array = yolo.predict(cv2.imread(images[0]), imgsz=160, conf=0.5, max_det=3, classes=[1], verbose=False)[0]
    assert torch.equal(array.masks.data, some[0].masks.data)
    vectors = yolo.embed(images[:2], imgsz=160)
    assert len(vectors) == 2
    assert vectors[0].ndim == 1


# ---- training


@pytest.fixture(scope="module")
def polygon_data(tmp_path_factory):
    """A dataset file: rings (a hole bridged to the outline) of class 0 and pairs of squares (two parts) of class 1."""
    root = tmp_path_factory.mktemp("多边形 data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(90, 140, (64, 96, 3), dtype=np.uint8)
            lines = []
            for c, (x, y) in enumerate(((2, int(rng.integers(2, 26))), (52, int(rng.integers(2, 26))))):
                points = np.array([RING, PAIR][c]) + np.array([x, y])
                # a part inside another is a hole
                mask = cv2.fillPoly(np.zeros(image.shape[:2], np.uint8), [points[:4], points[5:9]], 1)
                image[mask > 0] = 250 if c == 0 else 5
                lines.append(f"{c} " + " ".join(f"{a / 96:.6f} {b / 64:.6f}" for a, b in points))
            (root / "images" / split / f"{i}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
            (root / "labels" / split / f"{i}.txt").write_text("\n".join(lines) + "\n")
    (root / "labels" / "val" / "3.txt").write_text("")  # an image without instances
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [ring, pair]\n")
    return root / "data.yaml"


# an outline, a line to another part and back again
RING = [(0, 0), (32, 0), (32, 32), (0, 32), (0, 0), (8, 8), (24, 8), (24, 24), (8, 24), (8, 8), (0, 0)]
PAIR = [(0, 0), (12, 0), (12, 32), (0, 32), (0, 0), (24, 0), (36, 0), (36, 32), (24, 32), (24, 0), (0, 0)]

TRAIN = {"imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "verbose": False}
LOSSES = ["box_loss", "seg_loss", "cls_loss", "dfl_loss"]


@pytest.fixture(scope="module")
def trained(polygon_data, tmp_path_factory):
    """A model after two epochs with copy-paste, and the folder of the run."""
    root = tmp_path_factory.mktemp("run")
    (root / "seg.yaml").write_text(make_segment.MODEL, encoding="utf-8")
    model = YOLO(root / "seg.yaml")
    model.train(data=str(polygon_data), epochs=2, copy_paste=0.5, project=str(root), name="run", **TRAIN)
    return model, root / "run"


def test_files_of_a_training_run(trained):
    model, run = trained
    assert model.task == "segment"
    with open(run / "results.csv", newline="") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    expected = [f"train/{name}" for name in LOSSES]
    expected += [f"metrics/{name}({c})" for c in "BM" for name in ("precision", "recall", "mAP50", "mAP50-95")]
    expected += [f"val/{name}" for name in LOSSES]
    assert list(rows[0])[1:17] == expected
    assert all(float(rows[1][f"{part}/seg_loss"]) > 0 for part in ("train", "val"))
    names = {p.name for p in run.iterdir()}
    curves = {f"{part}{curve}_curve.png" for part in ("Box", "Mask") for curve in ("PR", "F1", "P", "R")}
    plots = {"labels.jpg", "results.png", "confusion_matrix.png", "train_batch0.jpg", "val_batch0_labels.jpg"}
    assert plots | {"val_batch0_pred.jpg", "metrics.json"} <= names
    assert curves <= names or not curves & names  # none if no prediction of any class was counted
    assert set(json.loads((run / "metrics.json").read_text())["metrics"]) >= set(expected[4:12])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_saved_network_predicts_the_same(trained, polygon_data, tmp_path, suffix):
    model, _ = trained
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    file = model.save(tmp_path / f"saved{suffix}")
    source = str(polygon_data.parent / "images" / "val")
    options = {"imgsz": 64, "conf": 0.001, "verbose": False}
    again = YOLO(file)
    assert (again.task, type(again.model)) == ("segment", SegmentationModel)
    for before, after in zip(model.predict(source, **options), again.predict(source, **options), strict=True):
        assert len(before) > 0
        torch.testing.assert_close(after.boxes.data, before.boxes.data, atol=0.05, rtol=0.01)
        assert (after.masks.data == before.masks.data).float().mean() > 0.98


def test_a_run_is_resumed(polygon_data, tmp_path):
    (tmp_path / "seg.yaml").write_text(make_segment.MODEL, encoding="utf-8")
    options = {**TRAIN, "data": str(polygon_data), "plots": False, "project": str(tmp_path)}

    whole = YOLO(tmp_path / "seg.yaml")
    whole.train(epochs=2, name="whole", **options)
    options["model"] = str(tmp_path / "seg.yaml")
    trainer = SegmentationTrainer(overrides={**options, "epochs": 2, "name": "cut"})
    assert trainer.args.task == "segment"

    def interrupt(trainer):
        if trainer.epoch == 0:
            raise KeyboardInterrupt

    trainer.add_callback("on_fit_epoch_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    YOLO(tmp_path / "cut" / "weights" / "last.pt").train(resume=True)
    rows = [(tmp_path / name / "results.csv").read_text().splitlines() for name in ("whole", "cut")]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 3


@pytest.mark.parametrize("options", [{"overlap_mask": False}, {"single_cls": True}, {"classes": [1]}, {"rect": True}])
def test_options_of_training(polygon_data, tmp_path, options):
    (tmp_path / "seg.yaml").write_text(make_segment.MODEL, encoding="utf-8")
    model = YOLO(tmp_path / "seg.yaml")
    plots = "overlap_mask" in options
    model.train(data=str(polygon_data), epochs=1, project=str(tmp_path), name="x", plots=plots, **TRAIN, **options)
    assert model.trainer.tloss.shape == (4,)
    assert torch.isfinite(model.trainer.tloss).all()
    if plots:
        assert (tmp_path / "x" / "train_batch0.jpg").exists()
    val = {"data": str(polygon_data), "imgsz": 64, "plots": False, "verbose": False, "workers": 0}
    metrics = model.val(project=str(tmp_path), **val, **options)
    assert set(metrics.results_dict) == {*SegmentationValidator.metric_keys, "fitness"}


def test_holes_and_parts_reach_the_loss(polygon_data, tmp_path):
    """In the validation batch the ring has a hole and the pair has two parts."""
    options = {**TRAIN, "imgsz": 192, "data": str(polygon_data), "project": str(tmp_path)}
    trainer = SegmentationTrainer(overrides={**options, "model": "yolo11n-seg.yaml"})
    loader = trainer.get_dataloader(trainer.testset, 1, mode="val")
    data = next(iter(loader))
    areas = {int(c): (data["masks"][0] == i + 1).sum() for i, c in enumerate(data["cls"].reshape(-1))}
    # in cells of 4 x 4 pixels of an image enlarged to twice its size: rings are 32² - 16² pixels, pairs 2 * 12 * 32
    assert float(areas[0]) == pytest.approx((32**2 - 16**2) / 4, rel=0.12)  # 32² without the hole
    assert float(areas[1]) == pytest.approx(2 * 12 * 32 / 4, rel=0.12)  # 36 * 32 without the gap


def test_boxes_instead_of_polygons_are_named(tiny_data, tmp_path, monkeypatch):
    """The dataset of another task: every label file is left out with its reason, and training does not start."""
    texts = []
    monkeypatch.setattr(LOGGER, "warning", lambda text, *args: texts.append(str(text) % args))
    (tmp_path / "seg.yaml").write_text(make_segment.MODEL, encoding="utf-8")
    with pytest.raises(ValueError, match=r"train: none of the 12 images is usable; the reasons are listed above"):
        YOLO(tmp_path / "seg.yaml").train(data=str(tiny_data), epochs=1, project=str(tmp_path), **TRAIN)
    assert re.search(r"0\.txt:1: 5 numbers are a box or 2 points, but the task needs polygons", texts[0])
    assert not list(tmp_path.rglob("*.pt"))


# ---- names


@pytest.mark.parametrize(("module", "name"), [("train", "Trainer"), ("val", "Validator"), ("predict", "Predictor")])
def test_official_import_paths_of_segmentation(module, name):
    from ultralytics.models.yolo import segment

    path = importlib.import_module(f"ultralytics.models.yolo.segment.{module}")
    assert getattr(path, f"Segmentation{name}") is getattr(segment, f"Segmentation{name}")
