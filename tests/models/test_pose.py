"""The pose task: what the validator counts, with a known answer; training, prediction and files on a tiny dataset."""

import importlib
import json
import logging
import math
import re

import numpy as np
import pytest
import torch
from pose_examples import MODEL, write_dataset, write_model

from ultralytics import YOLO, cli
from ultralytics.data.dataset_config import DatasetError
from ultralytics.engine.results import Keypoints
from ultralytics.models.yolo.pose import PosePredictor, PoseTrainer, PoseValidator
from ultralytics.nn.checkpoint import load_checkpoint
from ultralytics.nn.modules import Pose
from ultralytics.nn.tasks import PoseModel
from ultralytics.utils import LOGGER, IterableSimpleNamespace
from ultralytics.utils.files import read_results
from ultralytics.utils.keypoint_metrics import OKS_SIGMA
from ultralytics.utils.ops import scale_coords

LOSSES = ["box_loss", "pose_loss", "kobj_loss", "cls_loss", "dfl_loss"]
METRICS = [f"metrics/{m}({p})" for p in "BP" for m in ("precision", "recall", "mAP50", "mAP50-95")]
FAST = {"imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": False, "verbose": False}
K = 3


@pytest.fixture
def data(tmp_path):
    return write_dataset(tmp_path / "data")


@pytest.fixture
def model_file(tmp_path):
    return write_model(tmp_path)


@pytest.fixture
def log():
    """Messages that are logged during the test."""
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    LOGGER.addHandler(handler)
    yield messages
    LOGGER.removeHandler(handler)


@pytest.fixture
def train(model_file, data, tmp_path):
    def start(**args):
        yolo = YOLO(model_file)
        yolo.train(**({"data": str(data), "epochs": 1, "project": str(tmp_path / "runs")} | FAST | args))
        return yolo

    return start


@pytest.fixture(scope="module")
def trained_file(tmp_path_factory):
    """Checkpoint of a network that finds most triangles, and the table of its training."""
    folder = tmp_path_factory.mktemp("trained")
    yolo, data = YOLO(write_model(folder)), write_dataset(folder / "data")
    options = {"epochs": 60, "optimizer": "AdamW", "lr0": 0.01, "nbs": 4, "close_mosaic": 45, "warmup_epochs": 1}
    yolo.train(data=str(data), project=str(folder / "runs"), **FAST, **options)
    return yolo.trainer.best, read_results(yolo.trainer.csv)


@pytest.fixture
def trained(trained_file):
    return YOLO(trained_file[0])


def first_image(data):
    return data.parent / "images" / "val" / "0.png"


# ------------------------------------------------------------------------------------------------------- the validator


def batch(instances, size=(64, 96), original=(128, 192)):
    """Two images of `size` that were twice as large; instances are (image, class, box, keypoints) in batch pixels."""
    h, w = size
    boxes = torch.tensor([box for _, _, box, _ in instances], dtype=torch.float32).reshape(-1, 4)
    x1, y1, x2, y2 = boxes.T
    points = torch.tensor([p for *_, p in instances], dtype=torch.float32).reshape(-1, K, 3)
    return {
        "img": torch.zeros(2, 3, h, w),
        "batch_idx": torch.tensor([float(i) for i, *_ in instances]),
        "cls": torch.tensor([[float(c)] for _, c, *_ in instances]).reshape(-1, 1),
        "bboxes": torch.stack([(x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h], 1),
        "keypoints": points / torch.tensor([w, h, 1.0]),
        "im_file": ("a.jpg", "b.jpg"),
        "ori_shape": [original] * 2,
        "ratio_pad": [((0.5, 0.5), (0, 0))] * 2,
    }


BOX, POINTS = (10, 10, 30, 30), [[10, 10, 2], [30, 10, 1], [20, 30, 0]]
INSTANCES = [(0, 0, BOX, POINTS), (1, 1, (40, 10, 60, 50), [[40, 10, 2], [60, 10, 2], [50, 50, 2]])]


def prediction(box, points, conf=0.9, cls=0):
    return torch.tensor([[*box, conf, cls, *np.ravel([[x, y, 0.8] for x, y, *_ in points])]])


CORRECT = [prediction(BOX, POINTS), prediction(*INSTANCES[1][2:], conf=0.8, cls=1)]


@pytest.fixture
def validator(tmp_path):
    def make(data=None, **args):
        v = PoseValidator(save_dir=tmp_path, args={"mode": "val", "plots": True, **args})
        v.training, v.data = False, data or {}
        v.init_metrics(IterableSimpleNamespace(names={0: "a", 1: "b"}, kpt_shape=(K, 3)))
        return v

    return make


def test_perfect_predictions_have_the_highest_score(validator):
    v = validator()
    v.update_metrics(CORRECT, batch(INSTANCES))
    stats = v.get_stats()
    assert list(stats) == [*METRICS, "fitness"]
    assert stats["metrics/mAP50-95(B)"] == stats["metrics/mAP50-95(P)"] == pytest.approx(0.995)
    assert stats["fitness"] == pytest.approx(2 * 0.995)
    np.testing.assert_array_equal(v.confusion_matrix.matrix, np.diag([1, 1, 0]))


@pytest.mark.parametrize("distance", [3.0, 6.0, 9.0])
@pytest.mark.parametrize("sigmas", [None, [0.05, 0.1, 0.2]])
def test_matches_are_decided_by_the_similarity_of_visible_keypoints(validator, distance, sigmas):
    """OKS by hand: two of three keypoints are visible, one is right, the other `distance` pixels off; the box is right.

    Sigmas of the dataset file replace 1/K.
    """
    v = validator({"kpt_sigmas": sigmas})
    moved = [[10, 10, 0], [30 + distance, 10, 0], [90, 60, 0]]  # the third is not labeled, wherever it is predicted
    v.update_metrics([prediction(BOX, moved), torch.zeros(0, 6 + 3 * K)], batch(INSTANCES[:1]))
    stats = v.get_stats()
    sigma = sigmas[1] if sigmas else 1 / K
    area = 40 * 40 * 0.53  # of the original image, twice as large
    similarity = (1 + math.exp(-((2 * distance) ** 2) / (2 * (2 * sigma) ** 2 * area))) / 2
    levels = (similarity >= v.iouv.numpy()).sum()
    assert stats["metrics/mAP50-95(P)"] == pytest.approx(0.995 * levels / 10)
    assert stats["metrics/mAP50-95(B)"] == pytest.approx(0.995)


def test_seventeen_keypoints_have_the_sigmas_of_coco(tmp_path):
    v = PoseValidator(save_dir=tmp_path, args={"mode": "val"})
    v.init_metrics(IterableSimpleNamespace(names={0: "person"}, kpt_shape=(17, 3)))
    assert v.sigma.tolist() == pytest.approx(OKS_SIGMA)


def test_no_labels_or_no_predictions_give_zeros(validator):
    nothing = [torch.zeros(0, 6 + 3 * K)] * 2
    for preds, labels in ((CORRECT, []), (nothing, INSTANCES), (nothing, [])):
        v = validator()
        v.update_metrics(preds, batch(labels))
        assert set(v.get_stats().values()) == {0.0}


def test_single_cls_ignores_the_predicted_class(validator):
    swapped = [p.clone() for p in CORRECT]
    for rows in swapped:
        rows[:, 5] = 1 - rows[:, 5]
    for single, expected in ((False, 0.0), (True, 0.995)):
        v = validator(single_cls=single)
        v.update_metrics(swapped, batch([(i, 0 if single else c, *rest) for i, c, *rest in INSTANCES]))
        assert v.get_stats()["metrics/mAP50(P)"] == pytest.approx(expected)


def test_files_are_in_pixels_of_the_original(validator, tmp_path):
    v = validator(save_json=True, save_txt=True, save_conf=True)
    v.update_metrics(CORRECT, batch(INSTANCES))
    assert v.jdict[0] == {
        "image_id": "a", "category_id": 0, "bbox": [20.0, 20.0, 40.0, 40.0], "score": 0.9,
        "keypoints": [20.0, 20.0, 0.8, 60.0, 20.0, 0.8, 40.0, 60.0, 0.8],
    }  # fmt: skip
    line = [float(x) for x in (tmp_path / "labels" / "a.txt").read_text().splitlines()[0].split()]
    w, h = 192, 128
    points = [20 / w, 20 / h, 0.8, 60 / w, 20 / h, 0.8, 40 / w, 60 / h, 0.8]
    assert line == pytest.approx([0, 40 / w, 40 / h, 40 / w, 40 / h, *points, 0.9], abs=1e-5)


def test_coco_evaluates_keypoints_with_the_sigmas_of_the_data(validator):
    pytest.importorskip("pycocotools.cocoeval")
    figures = []
    for sigmas in (None, [0.01, 0.01, 0.01]):
        v = validator({"kpt_sigmas": sigmas}, save_json=True)
        shifted = CORRECT[0].clone()
        shifted[:, 6::3] += 2
        v.update_metrics([shifted, CORRECT[1]], batch(INSTANCES))
        v.eval_json({})
        figures.append(v.metrics.coco)
        truth = json.loads((v.save_dir / "instances.json").read_text())["annotations"]
    assert truth[0]["keypoints"] == [20, 20, 2, 60, 20, 1, 40, 60, 0] and truth[0]["num_keypoints"] == 2
    assert figures[0]["AP"] == figures[1]["AP"] == pytest.approx(1)
    assert (figures[0]["AP(P)"], figures[1]["AP(P)"]) == (pytest.approx(1), pytest.approx(0.5))


# ------------------------------------------------------------------------------------------------------------ training


def test_a_run_leaves_the_documented_files(train):
    yolo = train(epochs=2, plots=True)
    folder = yolo.trainer.save_dir
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    curves = {f"{part}{curve}_curve.png" for part in ("Box", "Pose") for curve in ("PR", "F1", "P", "R")}
    images = {"labels.jpg", "results.png", "train_batch0.jpg", "val_batch0_labels.jpg", "val_batch0_pred.jpg"}
    matrices = {"confusion_matrix.png", "confusion_matrix_normalized.png"}
    assert files >= curves | images | matrices | {"args.yaml", "metrics.json", "weights/best.pt", "weights/last.pt"}
    results = read_results(folder / "results.csv")
    train_losses, val_losses = ([f"{split}/{loss}" for loss in LOSSES] for split in ("train", "val"))
    assert list(results) == ["epoch", *train_losses, *METRICS, *val_losses, "lr/pg0", "lr/pg1", "lr/pg2"]
    assert all(math.isfinite(v) for values in results.values() for v in values)
    assert list(yolo.metrics.results_dict) == [*METRICS, "fitness"] and yolo.metrics.task == "pose"
    content = json.loads((folder / "metrics.json").read_text())
    assert content["metrics"].keys() >= set(METRICS)


def test_training_learns(trained_file):
    results = trained_file[1]
    assert max(results["metrics/mAP50(B)"]) > 0.4
    assert max(results["metrics/mAP50(P)"]) > 0.4
    assert np.mean(results["train/pose_loss"][-5:]) < 0.5 * results["train/pose_loss"][0]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_saved_network_keeps_keypoints_and_sigmas(suffix, model_file, tmp_path):
    data = write_dataset(tmp_path / "sigmas", kpt_sigmas=[0.1, 0.2, 0.3])
    yolo = YOLO(model_file)
    yolo.train(data=str(data), epochs=1, project=str(tmp_path / "runs"), **FAST)
    again = YOLO(yolo.save(tmp_path / f"saved{suffix}"))
    assert (again.task, again.model.kpt_shape, again.model.kpt_sigmas) == ("pose", (3, 3), [0.1, 0.2, 0.3])
    assert again.model.init_criterion().keypoint_loss.sigmas.tolist() == pytest.approx([0.1, 0.2, 0.3])
    options = {"conf": 0.001, "imgsz": 64, "verbose": False, "device": "cpu"}
    first, second = (y.predict(str(first_image(data)), **options)[0] for y in (yolo, again))
    assert len(first) and torch.equal(first.keypoints.data, second.keypoints.data)


def test_sigmas_of_an_older_dataset_are_forgotten(train, model_file, tmp_path):
    yolo = train()
    yolo.model.kpt_sigmas = [1, 2, 3]
    other = write_dataset(tmp_path / "other")
    yolo.train(data=str(other), epochs=1, project=str(tmp_path / "runs"), **FAST)
    assert yolo.model.kpt_sigmas is None


def test_a_resumed_run_continues(model_file, data, tmp_path):
    def stop(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    broken = YOLO(model_file)
    broken.add_callback("on_train_epoch_start", stop)
    with pytest.raises(KeyboardInterrupt):
        broken.train(data=str(data), epochs=2, project=str(tmp_path / "runs"), **FAST)
    resumed = YOLO(broken.trainer.last)
    resumed.train(resume=True)
    assert resumed.trainer.start_epoch == 1 and isinstance(resumed.trainer, PoseTrainer)
    assert read_results(resumed.trainer.csv)["epoch"] == [1, 2]
    assert load_checkpoint(resumed.trainer.best).network.kpt_shape == (3, 3)


def test_the_head_follows_the_keypoints_of_the_data(data, tmp_path):
    """A model file for 17 keypoints, and weights for other keypoints, become a network for the data."""
    file = write_model(tmp_path, MODEL.replace("[3, 3]", "[17, 3]"))
    yolo = YOLO(file)
    assert yolo.model.kpt_shape == (17, 3)
    yolo.train(data=str(data), epochs=1, project=str(tmp_path / "runs"), **FAST)
    assert yolo.model.kpt_shape == tuple(yolo.model.model[-1].kpt_shape) == (3, 3)
    other = write_dataset(tmp_path / "other", kpt_shape=[3, 2])
    yolo.train(data=str(other), epochs=1, project=str(tmp_path / "runs"), **FAST)
    assert yolo.model.kpt_shape == (3, 2)


def test_keypoints_without_visibility(train, tmp_path):
    """kpt_shape [K, 2]: every keypoint counts as visible, and there is no visibility loss."""
    data = write_dataset(tmp_path / "two", kpt_shape=[3, 2])
    yolo = train(data=str(data), epochs=2)
    assert read_results(yolo.trainer.csv)["train/kobj_loss"] == [0, 0]
    result = yolo.predict(str(first_image(data)), conf=0.001, imgsz=64, verbose=False, device="cpu")[0]
    assert result.keypoints.shape[1:] == (3, 2) and result.keypoints.conf is None
    yolo.val(save_json=True, conf=0.001, project=str(tmp_path / "runs"), **FAST)
    rows = json.loads(next((tmp_path / "runs").rglob("predictions.json")).read_text())
    assert len(rows[0]["keypoints"]) == 9 and rows[0]["keypoints"][2::3] == [1, 1, 1]


@pytest.mark.parametrize("case", ["empty labels", "one image", "single_cls", "classes", "rect"])
def test_unusual_data(case, train, tmp_path):
    data = write_dataset(tmp_path / "unusual", counts=(1, 1) if case == "one image" else (6, 2))
    args = {"single_cls": {"single_cls": True}, "classes": {"classes": [1]}, "rect": {"rect": True}}.get(case, {})
    if case == "empty labels":
        for file in data.parent.glob("labels/*/*.txt"):
            file.write_text("")
    if case == "one image":
        args = {"batch": 2}
    yolo = train(data=str(data), **args)
    assert all(math.isfinite(v) for values in read_results(yolo.trainer.csv).values() for v in values)
    instances = sum(c.instances for c in yolo.trainer.validator.result.per_class)
    assert instances == {"empty labels": 0, "one image": 2, "single_cls": 4, "classes": 2, "rect": 4}[case]


# ---------------------------------------------------------------------------------------------------------- prediction


def test_every_source_gives_keypoints(trained, data):
    image = first_image(data)
    array = np.full((40, 70, 3), 127, np.uint8)
    sources = [str(image), image.parent, array, [array, array], torch.rand(1, 3, 64, 96)]
    for source in sources:
        for result in trained.predict(source, conf=0.001, imgsz=64, max_det=7, verbose=False, device="cpu"):
            assert 0 < len(result.boxes) == len(result.keypoints) <= 7
            h, w = result.orig_shape
            assert result.keypoints.shape[1:] == (3, 3)
            assert (result.keypoints.xy >= 0).all() and (result.keypoints.xy <= torch.tensor([w, h])).all()
            assert ((result.keypoints.conf >= 0) & (result.keypoints.conf <= 1)).all()
            assert result.summary()[0].keys() == {"name", "class", "confidence", "box", "keypoints"}


def test_saved_predictions(trained, data, tmp_path):
    options = {"conf": 0.001, "imgsz": 64, "max_det": 3, "verbose": False, "device": "cpu", "project": str(tmp_path)}
    result = trained.predict(
        str(first_image(data)), save=True, save_txt=True, save_conf=True, save_crop=True, name="out", **options
    )[0]
    folder = tmp_path / "out"
    assert (folder / "0.png").stat().st_size > 0
    lines = (folder / "labels" / "0.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [1 + 4 + 9 + 1] * 3
    numbers = np.array([[float(x) for x in line.split()] for line in lines])
    points = numbers[:, 5:14].reshape(3, 3, 3)
    np.testing.assert_allclose(points[..., :2], result.keypoints.xyn.numpy(), atol=1e-5)
    assert len(list((folder / "crops").rglob("*.jpg"))) == 3


def test_nothing_found(trained, data, tmp_path):
    options = {"imgsz": 64, "verbose": False, "device": "cpu", "project": str(tmp_path), "name": "empty"}
    result = trained.predict(str(first_image(data)), conf=0.999, save=True, save_txt=True, **options)[0]
    assert len(result) == 0 and result.keypoints.shape == (0, 3, 3) and result.summary() == []
    assert (tmp_path / "empty" / "0.png").exists() and not list((tmp_path / "empty").rglob("*.txt"))


def test_embeddings_and_test_time_augmentation(trained, data, log):
    vector = trained.embed(str(first_image(data)), imgsz=64, device="cpu", verbose=False)[0]
    assert vector.ndim == 1 and vector.isfinite().all()
    options = {"conf": 0.001, "imgsz": 64, "max_det": 3, "verbose": False, "device": "cpu"}
    plain, augmented = (trained.predict(str(first_image(data)), augment=a, **options)[0] for a in (False, True))
    assert torch.equal(plain.keypoints.data, augmented.keypoints.data)
    assert any("has no test-time augmentation" in message for message in log)


def test_boxes_are_not_rounded(trained, data):
    boxes = trained.predict(str(first_image(data)), conf=0.001, imgsz=64, verbose=False, device="cpu")[0].boxes.xyxy
    assert len(boxes) and not torch.equal(boxes, boxes.round())


def test_low_confidence_keeps_the_coordinates_of_a_keypoint():
    data = torch.tensor([[[5.0, 6.0, 0.1], [7.0, 8.0, 0.9]]])
    keypoints = Keypoints(data, (20, 20))
    assert keypoints.xy.tolist() == [[[5, 6], [7, 8]]] and data[0, 0].tolist() == pytest.approx([5, 6, 0.1])


@pytest.mark.parametrize("as_type", [torch.tensor, np.array])
def test_points_return_from_a_letterbox_with_an_odd_border(as_type):
    """97 rows in 128: the image lies 15 pixels below the upper edge, as `LetterBox` puts it, and not 15.5."""
    points = as_type([[[10.0, 35.0, 0.4], [200.0, 5.0, 0.9]]])
    back = scale_coords((128, 160), points, (97, 160))
    assert back.tolist() == [[[10, 20, pytest.approx(0.4)], [160, 0, pytest.approx(0.9)]]]
    assert points.tolist()[0][0][:2] == [10, 35], "the input is not changed"
    fractions = scale_coords((128, 160), points, (97, 160), normalize=True)
    assert fractions.tolist()[0][0][:2] == pytest.approx([10 / 160, 20 / 97])
    given = scale_coords((128, 160), points, (64, 80), ratio_pad=((2.0, 2.0), (0, 3)))
    assert given.tolist()[0][0][:2] == [5, 16]


# ----------------------------------------------------------------------------------------------------------- bad input


def test_a_network_for_other_keypoints_is_refused_by_name(trained, tmp_path):
    data = write_dataset(tmp_path / "four", kpt_shape=[3, 2])
    with pytest.raises(ValueError, match=r"data\.yaml has kpt_shape \[3, 2\], the network \[3, 3\]"):
        trained.val(data=str(data), project=str(tmp_path / "runs"), **FAST)


def test_a_model_file_with_a_fixed_head_is_refused(data, tmp_path):
    file = write_model(tmp_path, MODEL.replace("[nc, kpt_shape]", "[nc, [5, 3]]"))
    with pytest.raises(ValueError, match=r"tiny-pose\.yaml: the last row has kpt_shape \[5, 3\], the data \[3, 3\]"):
        YOLO(file).train(data=str(data), epochs=1, project=str(tmp_path / "runs"), **FAST)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", r"kpt_shape \[3, 3\] needs 'class cx cy w h' and x y visibility for each of 3 keypoints"),
        ("0 0.5 0.5 0.2 0.2" + " 0.5 0.5 2" * 4, r"kpt_shape \[3, 3\] needs"),
        ("0 0.5 0.5 0.2 0.2" + " 0.5 0.5 3" * 3, "keypoint 1 has the visibility 3"),
        ("0 0.5 0.5 0.2 0.2" + " nan 0.5 2" * 3, "a value is NaN or Inf"),
    ],
    ids=["box", "another number", "visibility", "NaN"],
)
def test_bad_labels_are_left_out_by_name(line, message, train, tmp_path, log):
    """One bad file among good ones is named and skipped; if all are bad, training does not start."""
    data = write_dataset(tmp_path / "bad")
    files = sorted(data.parent.glob("labels/train/*.txt"))
    files[0].write_text(line + "\n")
    yolo = train(data=str(data))
    assert len(yolo.trainer.train_loader.dataset) == 9
    assert any("1 corrupt and left out" in entry for entry in log)
    assert any(f"{files[0].name}:1" in entry and re.search(message, entry) for entry in log)
    for file in files:
        file.write_text(line + "\n")
    with pytest.raises(DatasetError, match="none of the 10 images is usable"):
        train(data=str(data))


def test_a_dataset_without_keypoints_is_refused(train, tiny_data):
    with pytest.raises(DatasetError, match="there is no 'kpt_shape:' line, which keypoints need"):
        train(data=str(tiny_data))


def test_without_flip_idx_images_are_not_mirrored(train, tmp_path, log):
    data = write_dataset(tmp_path / "no flip", flip_idx=None)
    yolo = train(data=str(data))
    assert any("no 'flip_idx'" in message for message in log)
    dataset = yolo.trainer.train_loader.dataset
    assert dataset.augmenter.flip.chances == (0, 0)


# ----------------------------------------------------------------------------------------------------------- interface


@pytest.mark.parametrize("cls", [PoseTrainer, PoseValidator, PosePredictor])
def test_official_import_paths(cls):
    from ultralytics.models.yolo import pose

    name = cls.__name__
    module = {"PoseTrainer": "train", "PoseValidator": "val", "PosePredictor": "predict"}[name]
    assert getattr(importlib.import_module(f"ultralytics.models.yolo.pose.{module}"), name) is getattr(pose, name)


def test_classes_set_their_task(model_file, data, tmp_path):
    """As in 8.3.0 the classes can be used without YOLO."""
    args = {"model": str(model_file), "data": str(data), "epochs": 1, "project": str(tmp_path / "runs")} | FAST
    trainer = PoseTrainer(overrides=args)
    trainer.train()
    assert trainer.args.task == "pose" and trainer.save_dir.is_dir()
    stats = PoseValidator(args={"model": str(trainer.best), "data": str(data), "project": str(tmp_path)} | FAST)()
    assert stats.keys() == {*METRICS, "fitness"}
    predictor = PosePredictor(overrides={"model": str(trainer.best), "imgsz": 64, "conf": 0.001, "verbose": False})
    assert predictor(str(first_image(data)))[0].keypoints is not None


def test_command_line(model_file, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fast = ["imgsz=64", "workers=0", "device=cpu", "verbose=False", f"project={tmp_path / 'runs'}"]
    train = ["pose", "train", f"model={model_file}", f"data={data}", "epochs=1", "batch=4", "plots=False", *fast]
    assert cli.entrypoint(train) == 0
    best = tmp_path / "runs" / "train" / "weights" / "best.pt"
    assert cli.entrypoint(["val", f"model={best}", "batch=4", "conf=0.001", "save_json=True", *fast]) == 0
    predict = ["pose", "predict", f"model={best}", f"source={first_image(data)}", "conf=0.001", "save_txt=True", *fast]
    assert cli.entrypoint(predict) == 0
    line = (tmp_path / "runs" / "predict" / "labels" / "0.txt").read_text().splitlines()[0]
    assert len(line.split()) == 1 + 4 + 9
    assert (tmp_path / "runs" / "val" / "PosePR_curve.png").exists()
    assert "keypoints" in json.loads((tmp_path / "runs" / "val" / "predictions.json").read_text())[0]


def test_kpt_shape_of_networks():
    """Scripts read it from the network; the head of a file has it too."""
    model = PoseModel("yolo11n-pose.yaml", nc=2, data_kpt_shape=(7, 3), verbose=False)
    head = model.model[-1]
    assert model.kpt_shape == (7, 3) and model.yaml["kpt_shape"] == [7, 3]
    assert isinstance(head, Pose) and head.nk == 21
    assert vars(model)["kpt_shape"] == (7, 3), "8.3.0 reads the attribute from the pickle"
