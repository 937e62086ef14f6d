"""The task of oriented boxes: what the validator counts, the predictor's convention, and whole runs."""

import importlib
import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from obb_dataset import SIZE, label_line, write_dataset
from project import load_module

from ultralytics import YOLO
from ultralytics.data.dataset_config import DatasetError, check_det_dataset
from ultralytics.models.yolo.detect.data import build_yolo_dataset
from ultralytics.models.yolo.obb import OBBPredictor, OBBTrainer, OBBValidator
from ultralytics.models.yolo.obb.dota import merge_tiles, write_predictions
from ultralytics.tasks import get_task
from ultralytics.utils import IterableSimpleNamespace
from ultralytics.utils.rotated_boxes import batch_probiou, rotated_iou, xywhr2xyxyxyxy

GOLDEN = Path(__file__).parent / "golden"
ARGS = {"imgsz": 64, "workers": 0, "device": "cpu", "verbose": False}


# ---- counting, with known answers

BOXES = [(20.0, 20, 24, 8, 0.5), (60.0, 40, 30, 10, 2.0), (15.0, 15, 20, 8, 1.0)]  # xywhr in pixels of the batch
INSTANCES = list(zip((0, 0, 1), (0, 1, 0), BOXES, strict=True))  # image, class, box


def batch(instances, size=(64, 96), original=(128, 192)):
    """Two images of `size` that were twice as large."""
    boxes = torch.tensor([box for _, _, box in instances]).reshape(-1, 5)
    boxes = boxes / torch.tensor([size[1], size[0], size[1], size[0], 1])
    return {
        "img": torch.zeros(2, 3, *size),
        "batch_idx": torch.tensor([float(i) for i, _, _ in instances]),
        "cls": torch.tensor([float(c) for _, c, _ in instances]).reshape(-1, 1),
        "bboxes": boxes,
        "im_file": ("a.jpg", "b.jpg"),
        "ori_shape": [original] * 2,
        "ratio_pad": [((0.5, 0.5), (0, 0))] * 2,
    }


def predictions(*rows):
    """Rows of (xywhr, confidence, class) in the order of the network's output."""
    return torch.tensor([(*box[:4], conf, cls, box[4]) for box, conf, cls in rows]).reshape(-1, 7)


def turned(box):
    """The same rectangle in its other form."""
    x, y, w, h, r = box
    return x, y, h, w, r - math.pi / 2


CORRECT = [predictions((BOXES[0], 0.9, 0), (turned(BOXES[1]), 0.8, 1)), predictions((BOXES[2], 0.7, 0))]


@pytest.fixture
def validator(tmp_path):
    def make(**args):
        v = OBBValidator(save_dir=tmp_path, args={"mode": "val", "plots": True, **args})
        v.training = False
        v.init_metrics(IterableSimpleNamespace(names={0: "a", 1: "b"}))
        return v

    return make


def test_perfect_predictions_have_the_highest_score(validator):
    v = validator()
    v.update_metrics(CORRECT, batch(INSTANCES))
    stats = v.get_stats()
    assert stats["metrics/mAP50-95(B)"] == pytest.approx(0.995)
    np.testing.assert_array_equal(v.confusion_matrix.matrix, np.diag([2, 1, 0]))
    assert v.args.task == "obb" and list(stats)[:4] == list(get_task("obb").metric_keys)


def test_the_angle_counts(validator):
    v = validator()
    crossed = [(*box[:4], box[4] + math.pi / 2) for box in BOXES]
    rows = [predictions((crossed[0], 0.9, 0), (crossed[1], 0.8, 1)), predictions((crossed[2], 0.7, 0))]
    v.update_metrics(rows, batch(INSTANCES))
    assert v.get_stats()["metrics/mAP50(B)"] == 0
    assert v.confusion_matrix.matrix[2].tolist() == [2, 1, 0] and v.confusion_matrix.matrix[:, 2].tolist() == [2, 1, 0]


def test_squares_match_at_any_angle(validator):
    """ProbIoU, by which 8.3.0 matches, does not depend on the angle of a square; the overlap of the squares does."""
    square, diamond = (30.0, 30, 20, 20, 0.0), (30.0, 30, 20, 20, math.pi / 4)
    v = validator()
    v.update_metrics([predictions((diamond, 0.9, 0)), predictions()], batch([(0, 0, square)]))
    assert v.get_stats()["metrics/mAP50-95(B)"] == pytest.approx(0.995)
    pair = torch.tensor([square]), torch.tensor([diamond])
    assert batch_probiou(*pair).item() > 0.999
    assert rotated_iou(*pair).item() == pytest.approx(math.sqrt(2) / 2, abs=1e-4)


def test_false_alarms_on_an_empty_image_and_no_labels(validator):
    v = validator()
    v.update_metrics([predictions(), CORRECT[1]], batch([]))
    assert set(v.get_stats().values()) == {0.0}
    assert v.confusion_matrix.matrix[0, 2] == 1


def test_boxes_reaching_outside_are_scored_whole(validator):
    """8.3.0 clips centers and sizes to the image, as if they were corners."""
    long = (50.0, 10, 110, 12, 0.5)  # longer than the image is wide, and above its upper border
    above = (30.0, -4, 30, 20, 1.2)
    instances = [(0, 0, long), (1, 1, above)]
    v = validator()
    labels = v._prepare_batch(0, batch(instances))
    np.testing.assert_allclose(labels["bbox"], [(100, 20, 220, 24, 0.5)], rtol=1e-5)
    v.update_metrics([predictions((long, 0.9, 0)), predictions((above, 0.9, 1))], batch(instances))
    assert v.get_stats()["metrics/mAP50-95(B)"] == pytest.approx(0.995)


def test_json_and_text_are_in_pixels_of_the_original(validator, tmp_path):
    v = validator(save_json=True, save_txt=True, save_conf=True)
    v.update_metrics(CORRECT, batch(INSTANCES))
    row = v.jdict[1]
    assert (row["image_id"], row["category_id"], row["score"]) == ("a", 1, 0.8)
    np.testing.assert_allclose(row["rbox"], (120, 80, 60, 20, 2.0), atol=1e-3)
    corners = xywhr2xyxyxyxy(np.array([row["rbox"]])).reshape(-1)
    np.testing.assert_allclose(row["poly"], corners, atol=2e-3)
    line = (tmp_path / "labels" / "a.txt").read_text().splitlines()[1].split()
    values = [float(x) for x in line]
    np.testing.assert_allclose(np.array(values[1:9]).reshape(4, 2) * (192, 128), corners.reshape(4, 2), atol=1e-2)
    assert len(values) == 10 and (values[0], values[9]) == (1, 0.8)


@pytest.mark.parametrize(("module", "name"), [("train", "Trainer"), ("val", "Validator"), ("predict", "Predictor")])
def test_official_import_paths(module, name):
    from ultralytics.models.yolo import obb

    path = importlib.import_module(f"ultralytics.models.yolo.obb.{module}")
    assert getattr(path, f"OBB{name}") is getattr(obb, f"OBB{name}")


# ---- DOTA's files


def row(image, category, score, rbox):
    poly = xywhr2xyxyxyxy(np.array([rbox], float)).reshape(-1).tolist()
    return {"image_id": image, "category_id": category, "score": score, "rbox": list(rbox), "poly": poly}


def test_predictions_on_tiles_are_merged():
    same = [row("P1__64__0___0", 0, 0.6, (60, 30, 20, 8, 0.3)), row("P1__64__32___0", 0, 0.9, (28, 30, 20, 8, 0.3))]
    other = [row("P1__64__32___0", 1, 0.5, (28, 30, 20, 8, 0.3)), row("P2", 0, 0.4, (60, 30, 20, 8, 0.3))]
    lines = merge_tiles(same + other)
    kept = [(line.image, line.category, line.score) for line in lines]
    assert kept == [("P1", 0, 0.9), ("P1", 1, 0.5), ("P2", 0, 0.4)]
    np.testing.assert_allclose(lines[0].poly, same[0]["poly"], atol=1e-9)


def test_dota_files(tmp_path):
    names = {0: "small vehicle", 1: "ship", 2: "plane"}
    folders = write_predictions([row("P1__64__32___16", 0, 0.5, (10, 10, 8, 4, 0))], names, tmp_path)
    assert [f.name for f in folders] == ["predictions_txt", "predictions_merged_txt"]
    for folder, shift in zip(folders, ((0, 0), (32, 16)), strict=True):
        assert sorted(f.name for f in folder.iterdir()) == [
            "Task1_plane.txt", "Task1_ship.txt", "Task1_small-vehicle.txt"
        ]  # fmt: skip
        image, score, *corners = (folder / "Task1_small-vehicle.txt").read_text().split()
        assert (image, score) == ("P1" if any(shift) else "P1__64__32___16", "0.50000")
        expected = np.array([(14, 12), (14, 8), (6, 8), (6, 12)]) + shift
        np.testing.assert_allclose(np.array(corners, float).reshape(4, 2), expected)
        assert (folder / "Task1_ship.txt").read_text() == ""
    (folder,) = write_predictions([row("a", 1, 0.5, (9, 9, 8, 4, 0))], names, tmp_path)
    assert folder.name == "predictions_txt", "without tiles there is nothing to merge"


# ---- one convention from the label to the output


class Echo(torch.nn.Module):
    """A network that returns given boxes (n, 5) xywhr in pixels of its input, with confidence 0.9 and class 1 of 2."""

    def __init__(self, boxes):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.stride, self.names = torch.tensor([32.0]), {0: "a", 1: "b"}
        scores = torch.tensor([0.0, 0.9]).expand(len(boxes), 2)
        self.output = torch.cat((boxes[:, :4], scores, boxes[:, 4:]), 1).T[None]

    def predict(self, x, augment=False):
        return self.output, None


@pytest.mark.parametrize("shape", [(64, 96), (128, 192), (50, 96)])
def test_round_trip_from_label_to_output(tmp_path, shape):
    """Corners of a label file -> batch -> (a perfect network) -> result -> label file: the same rectangles."""
    rng = np.random.default_rng(1)
    h, w = shape
    sides = [(30, 8), (20, 20), (40, 3), (12, 30), (25, 24), (9, 9.5)]
    boxes = np.concatenate([rng.uniform(0, 64, (6, 2)), sides, rng.uniform(0, np.pi, (6, 1))], 1)
    boxes[:, 1] = np.arange(6) * 12  # apart, so that none is suppressed
    boxes[:, :4] *= h / 64
    corners = xywhr2xyxyxyxy(boxes)
    assert corners.min() < 0, "some reach outside the image"
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    file = tmp_path / "images" / "a.png"
    cv2.imwrite(str(file), np.zeros((h, w, 3), np.uint8))
    lines = [" ".join(["1", *(f"{v:.7f}" for v in (c / (w, h)).flatten())]) for c in corners]
    (tmp_path / "labels" / "a.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "data.yaml").write_text('{"path": ".", "train": "images", "val": "images", "names": ["a", "b"]}')
    data = check_det_dataset(tmp_path / "data.yaml", schema=get_task("obb").labels)
    args = OBBValidator(save_dir=tmp_path, args={"imgsz": 96, "mode": "val"}).args
    sample = build_yolo_dataset(args, str(tmp_path / "images"), 1, data, train=False, stride=32)[0]
    pixels = sample["bboxes"] * torch.tensor([96, 96, 96, 96, 1])
    predictor = OBBPredictor(overrides={**ARGS, "imgsz": 96, "iou": 0.9})
    predictor.model, predictor.batch = Echo(pixels), ([str(file)], [cv2.imread(str(file))], [""])
    outputs = predictor.model.predict(None)
    (result,) = predictor.postprocess(outputs, torch.zeros(1, 3, 96, 96), predictor.batch[1])
    found = result.obb.xywhr.double()
    assert len(found) == 6 and result.boxes is None
    assert (found[:, 2] >= found[:, 3]).all() and ((found[:, 4] >= 0) & (found[:, 4] < math.pi)).all()
    overlap = rotated_iou(found, torch.tensor(boxes))
    assert overlap.max(1).values.min() > 0.995
    result.save_txt(tmp_path / "out.txt")
    written = np.loadtxt(tmp_path / "out.txt")
    np.testing.assert_allclose(written[:, 1:].reshape(-1, 4, 2) * (w, h), result.obb.xyxyxyxy, atol=1e-3)


def test_corners_of_results_may_lie_outside_the_image():
    """`xyxy` encloses the corners and is not clipped; a result says so by its coordinates."""
    predictor = OBBPredictor(overrides=ARGS)
    box = torch.tensor([[5.0, 5, 40, 10, 0.0]])
    predictor.model, predictor.batch = Echo(box), (["a"], [np.zeros((64, 64, 3), np.uint8)], [""])
    (result,) = predictor.postprocess(predictor.model.predict(None), torch.zeros(1, 3, 64, 64), predictor.batch[1])
    assert result.obb.xyxy.tolist() == [[-15, 0, 25, 10]]


# ---- whole runs


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("obb") / "data")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory, tiny_model_text):
    path = tmp_path_factory.mktemp("model") / "tiny-obb.yaml"
    path.write_text(tiny_model_text.replace("Detect, [nc]", "OBB, [nc, 1]"))
    return path


@pytest.fixture(scope="module")
def trained(dataset, model_file, tmp_path_factory):
    """A short run with all files, and its YOLO."""
    folder = tmp_path_factory.mktemp("runs")
    model = YOLO(model_file)
    sizes = []
    model.add_callback("on_pretrain_routine_end", lambda trainer: sizes.append(trainer.test_loader.batch_size))
    metrics = model.train(data=str(dataset), epochs=2, batch=4, project=str(folder), name="train", **ARGS)
    return model, metrics, folder / "train", sizes


def test_training_writes_what_detection_writes(trained):
    model, metrics, folder, sizes = trained
    assert model.task == "obb" and sizes == [4], "validation batches are as large as those of training"
    header = [name.strip() for name in (folder / "results.csv").read_text().splitlines()[0].split(",")]
    losses = ["box_loss", "cls_loss", "dfl_loss"]
    keys = list(get_task("obb").metric_keys)
    expected = ["epoch", *(f"train/{x}" for x in losses), *keys, *(f"val/{x}" for x in losses)]
    assert header == [*expected, "lr/pg0", "lr/pg1", "lr/pg2"]
    assert metrics.task == "obb" and set(metrics.results_dict) == {*keys, "fitness"}
    for name in ("train_batch0.jpg", "labels.jpg", "results.png", "val_batch0_labels.jpg", "val_batch0_pred.jpg"):
        assert cv2.imread(str(folder / name)) is not None, name
    content = json.loads((folder / "metrics.json").read_text())
    assert content["task"] == "obb" and set(content["metrics"]) >= set(keys)


def test_training_reduces_the_loss(model_file, dataset, tmp_path):
    model, losses = YOLO(model_file), []
    model.add_callback("on_train_epoch_end", lambda trainer: losses.append(float(trainer.tloss.sum())))
    model.train(
        data=str(dataset), epochs=12, batch=4, nbs=4, project=str(tmp_path), plots=False, val=False,
        optimizer="AdamW", lr0=0.01, warmup_epochs=0, **ARGS,
    )  # fmt: skip
    assert losses[-1] < 0.8 * losses[0]


def test_saved_networks_predict_the_same(trained, dataset, tmp_path):
    model, _, folder, _ = trained
    source = str(dataset.parent / "images" / "val")
    options = {"conf": 0.0, "max_det": 5, **ARGS}
    expected = model.predict(source, **options)
    assert [len(r.obb) for r in expected] == [5] * 6
    for file in (folder / "weights" / "best.pt", model.save(tmp_path / "x.pt"), model.save(tmp_path / "x.safetensors")):
        other = YOLO(file)
        assert other.task == "obb" and type(other.model).__name__ == "OBBModel"
        for a, b in zip(other.predict(source, **options), expected, strict=True):
            np.testing.assert_allclose(a.obb.data, b.obb.data, rtol=1e-4, atol=1e-4)


def test_prediction_files_and_sources(trained, dataset, tmp_path):
    model, *_ = trained
    file = dataset.parent / "images" / "val" / "0.png"
    image = cv2.imread(str(file))
    options = {"conf": 0.0, "max_det": 3, "project": str(tmp_path), **ARGS}
    (result,) = model.predict(file, save=True, save_txt=True, save_conf=True, name="p", **options)
    assert (tmp_path / "p" / "0.png").exists() or (tmp_path / "p" / "0.jpg").exists()
    lines = (tmp_path / "p" / "labels" / "0.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [10, 10, 10]
    rows = json.loads(result.to_json())
    assert list(rows[0]["box"]) == ["x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"]
    for source in (image, [str(file), image], torch.zeros(1, 3, 64, 64)):
        results = model.predict(source, **options)
        assert all(len(r.obb) == 3 and r.boxes is None for r in results)
    np.testing.assert_allclose(model.predict(image, **options)[0].obb.data, result.obb.data, atol=1e-4)
    assert not np.array_equal(result.plot(), image) and np.array_equal(result.plot(boxes=False), image)


def test_options_of_prediction(trained, dataset):
    model, *_ = trained
    file = dataset.parent / "images" / "val" / "0.png"
    options = {"conf": 0.0, "max_det": 50, **ARGS}
    (everything,) = model.predict(file, **options)
    assert set(everything.obb.cls.tolist()) <= {0.0, 1.0}
    (second,) = model.predict(file, classes=[1], **options)
    assert set(second.obb.cls.tolist()) <= {1.0}
    (nothing,) = model.predict(file, conf=0.999, **ARGS)
    assert (
        len(nothing.obb) == 0 and nothing.verbose() == "(no detections), " and nothing.obb.xyxyxyxy.shape == (0, 4, 2)
    )
    (vector,) = model.embed(file, **ARGS)
    assert vector.ndim == 1 and vector.isfinite().all()


def test_validation_files(trained, dataset, tmp_path):
    model, *_ = trained
    metrics = model.val(
        data=str(dataset),
        conf=0.0005,
        max_det=20,
        save_json=True,
        save_txt=True,
        project=str(tmp_path),
        name="v",
        **ARGS,
    )
    rows = json.loads((tmp_path / "v" / "predictions.json").read_text())
    assert {tuple(r) for r in rows} == {("image_id", "category_id", "score", "rbox", "poly")}
    assert (tmp_path / "v" / "predictions_txt" / "Task1_bright.txt").exists()
    assert metrics.confusion_matrix.matrix.shape == (3, 3)
    assert (tmp_path / "v" / "confusion_matrix.png").exists()
    assert json.loads((tmp_path / "v" / "metrics.json").read_text())["task"] == "obb"


def test_single_cls_empty_labels_and_one_image(model_file, dataset, tmp_path):
    root = tmp_path / "one"
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    shutil.copy(dataset.parent / "images" / "train" / "0.png", root / "images")
    shutil.copy(dataset.parent / "labels" / "train" / "0.txt", root / "labels")
    shutil.copy(dataset.parent / "images" / "val" / "5.png", root / "images" / "empty.png")
    (root / "data.yaml").write_text('{"path": ".", "train": "images", "val": "images", "names": ["bright", "dark"]}')
    model = YOLO(model_file)
    options = {"epochs": 1, "batch": 2, "plots": False, "single_cls": True, "project": str(tmp_path), **ARGS}
    metrics = model.train(data=str(root / "data.yaml"), **options)
    assert set(metrics.results_dict) == {*get_task("obb").metric_keys, "fitness"}


def test_a_resumed_run_continues(model_file, dataset, tmp_path):
    class Stop(Exception):
        pass

    def stop(trainer):
        if trainer.epoch == 1:
            raise Stop

    model = YOLO(model_file)
    model.add_callback("on_train_epoch_start", stop)
    with pytest.raises(Stop):
        model.train(data=str(dataset), epochs=3, batch=4, plots=False, project=str(tmp_path), name="r", **ARGS)
    resumed = YOLO(tmp_path / "r" / "weights" / "last.pt")
    resumed.train(resume=True)
    assert isinstance(resumed.trainer, OBBTrainer) and resumed.trainer.start_epoch == 1
    assert len((tmp_path / "r" / "results.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .5 .5 .2 .2", "5 numbers in the line instead of 9; an oriented box has 4 corners"),
        ("0 .1 .1 .3 .1 .3 .3", "7 numbers in the line instead of 9"),
        ("0 .1 .1 .3 .1 .3 .3 .1 nan", "NaN"),
        ("7 .1 .1 .3 .1 .3 .3 .1 .3", "class 7"),
        ("0 10 10 30 10 30 30 10 30", "divide pixels"),
    ],
)
def test_bad_labels_are_skipped_and_named(model_file, dataset, tmp_path, capsys, line, message):
    root = tmp_path / "bad"
    shutil.copytree(dataset.parent, root)
    for file in (root / "labels" / "train").iterdir():
        file.write_text(line + "\n")
    with pytest.raises(DatasetError, match="none of the 12 images is usable"):
        YOLO(model_file).train(data=str(root / "data.yaml"), epochs=1, batch=4, project=str(tmp_path / "runs"), **ARGS)
    assert message in capsys.readouterr().out
    assert not (tmp_path / "runs" / "train").exists() or not list((tmp_path / "runs" / "train").rglob("*.pt"))


def test_boxes_outside_survive_labels_mosaic_and_validation(tmp_path):
    """Boxes reaching over the border are labels like others; 8.3.0 calls their images corrupt."""
    root = tmp_path / "outside"
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    corners = xywhr2xyxyxyxy(np.array([[10.0, 12, 50, 10, 0.7], [90, 60, 30, 12, 2.0]]))
    assert (corners < 0).any() and (corners > SIZE).any()
    for i in range(4):
        cv2.imwrite(str(root / "images" / f"{i}.png"), np.zeros((*SIZE[::-1], 3), np.uint8))
        (root / "labels" / f"{i}.txt").write_text("\n".join(label_line(0, c) for c in corners) + "\n")
    (root / "data.yaml").write_text('{"path": ".", "train": "images", "val": "images", "names": ["a"]}')
    data = check_det_dataset(root / "data.yaml", schema=get_task("obb").labels)
    args = OBBValidator(save_dir=tmp_path, args={"imgsz": 96, "mode": "val", "scale": 0.0, "translate": 0.0}).args
    plain = build_yolo_dataset(args, str(root / "images"), 4, data, train=False, stride=32)[0]["bboxes"]
    found = xywhr2xyxyxyxy(plain.double() * torch.tensor([96, 96, 96, 96, 1])) - torch.tensor([0, 16])
    for box, expected in zip(found, corners, strict=True):
        order = [int(torch.linalg.norm(box - torch.tensor(corner), dim=1).argmin()) for corner in expected]
        np.testing.assert_allclose(box[order], expected, atol=1e-3)
    samples = build_yolo_dataset(args, str(root / "images"), 4, data, train=True, stride=32)
    np.random.seed(0)
    boxes = torch.cat([samples[i]["bboxes"] for i in (0, 1, 2, 3)]).double() * torch.tensor([96, 96, 96, 96, 1])
    whole = (boxes[:, 2:4].sort(1).values - torch.tensor([10, 50])).abs().amax(1) < 0.5
    outside = ((xywhr2xyxyxyxy(boxes) < 0) | (xywhr2xyxyxyxy(boxes) > 96)).flatten(1).any(1)
    assert (whole & outside).any(), "a box is kept whole in a mosaic, too, while its center is visible"


# ---- the official package


def test_results_and_metrics_equal_the_official_package():
    golden = json.loads((GOLDEN / "obb.json").read_text())["values"]
    actual = load_module(GOLDEN / "make_obb.py").record()
    assert 0.2 < golden["validation"]["metrics"]["metrics/mAP50-95(B)"] < 0.9
    for name in ("validation", "confident"):
        for key, value in golden[name]["metrics"].items():
            assert actual[name]["metrics"][key] == pytest.approx(value, abs=1e-4), (name, key)
        np.testing.assert_allclose(actual[name]["ap"], golden[name]["ap"], atol=1e-4)
    np.testing.assert_array_equal(actual["confident"]["confusion"], golden["confident"]["confusion"])
    for name in ("prediction", "agnostic", "limited"):
        for found, expected in zip(actual[name], golden[name], strict=True):
            assert len(found) == len(expected) > 2, name
            np.testing.assert_allclose(found, expected, atol=1e-3, err_msg=name)
