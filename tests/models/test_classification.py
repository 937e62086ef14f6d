"""The task classify from training to prediction, on images of one color each."""

import importlib
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from classification_data import COLORS, every_class, write_dataset, write_model
from PIL import Image

from ultralytics import YOLO
from ultralytics.engine.metrics_json import read_metrics
from ultralytics.engine.optimizer import auto_choice
from ultralytics.models.yolo.classify import ClassificationPredictor, ClassificationTrainer, ClassificationValidator
from ultralytics.nn.checkpoint import load_checkpoint
from ultralytics.nn.tasks import ClassificationModel
from ultralytics.utils import LOGGER
from ultralytics.utils.files import read_results
from ultralytics.utils.torch_utils import init_seeds

COMMON = {"imgsz": 32, "batch": 8, "workers": 0, "device": "cpu", "plots": False, "verbose": False}
COLUMNS = [
    "epoch", "train/loss", "metrics/accuracy_top1", "metrics/accuracy_top5", "val/loss", "lr/pg0", "lr/pg1", "lr/pg2",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("数据"), train=every_class(8), val=every_class(4))


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def trained(model_file, data, tmp_path_factory):
    """A network that has learned the colors, and its run."""
    yolo = YOLO(model_file)
    learning = {
        "epochs": 20, "optimizer": "AdamW", "lr0": 0.01, "warmup_epochs": 0, "nbs": 8, "plots": True,
        "hsv_h": 0.0, "auto_augment": None, "erasing": 0.0,
    }  # fmt: skip
    yolo.train(data=data, project=str(tmp_path_factory.mktemp("runs")), **COMMON | learning)
    return yolo


def start(model_file, data, tmp_path, **options):
    """A network after one epoch."""
    yolo = YOLO(model_file)
    yolo.train(data=data, **{**COMMON, "epochs": 1, "project": str(tmp_path / "runs"), **options})
    return yolo


def messages(caplog):
    return " ".join(record.getMessage() for record in caplog.records)


# ---- training --------------------------------------------------------------------------------------------------------


def test_a_run_learns_and_leaves_the_documented_files(trained):
    folder = trained.trainer.save_dir
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files >= {
        "args.yaml", "results.csv", "results.png", "labels.jpg", "metrics.json", "train_batch0.jpg",
        "val_batch0_labels.jpg", "val_batch0_pred.jpg", "confusion_matrix.png", "confusion_matrix_normalized.png",
        "weights/best.pt", "weights/last.pt",
    }  # fmt: skip
    assert not {"PR_curve.png", "F1_curve.png"} & files
    history = read_results(folder / "results.csv")
    assert list(history) == COLUMNS
    assert history["train/loss"][-1] < 0.5 < 0.8 < history["train/loss"][0]
    assert trained.metrics.top1 > 0.9


def test_validation_loss_is_comparable_with_the_training_loss(trained):
    """8.3.0 takes the softmax of probabilities, which is never below 0.55 for three classes."""
    assert read_results(trained.trainer.csv)["val/loss"][-1] < 0.4


def test_names_of_the_data_are_in_the_checkpoint(trained, tmp_path):
    assert load_checkpoint(trained.trainer.best).network.names == {0: "blue", 1: "green", 2: "red"}
    for suffix in (".pt", ".safetensors"):
        copy = YOLO(trained.save(tmp_path / f"copy{suffix}"))
        assert (copy.task, copy.names) == ("classify", trained.names)
        state = copy.model.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in trained.model.state_dict().items())


def test_the_network_in_training_has_the_validation_transform(trained, data):
    image = Image.open(Path(data) / "val" / "red" / "0.png")
    validation = trained.trainer.test_loader.dataset.transform(image)
    for network in (trained.trainer.model, trained.trainer.ema.ema):
        assert torch.equal(network.transforms(image), validation)


def test_metrics_json_has_figures_per_class(trained):
    content = read_metrics(trained.trainer.save_dir)
    assert (content["task"], content["images"], content["instances"]) == ("classify", 12, 12)
    assert [(c["name"], c["images"]) for c in content["per_class"]] == [("blue", 4), ("green", 4), ("red", 4)]
    means = np.mean([c["metrics"]["metrics/accuracy_top1"] for c in content["per_class"]])
    assert content["metrics"]["metrics/accuracy_top1"] == pytest.approx(means)
    train, val = content["data"]["splits"]["train"], content["data"]["splits"]["val"]
    assert (train["images"], train["instances"], val["images"]) == (24, 24, 12)
    assert train["fingerprint"].startswith("sha256:") and train["fingerprint"] != val["fingerprint"]


def test_image_size_is_224_unless_it_is_set(model_file, data, tmp_path):
    options = {"model": model_file, "data": data, "device": "cpu", "project": str(tmp_path)}
    assert ClassificationTrainer(overrides=options).args.imgsz == 224
    assert ClassificationTrainer(overrides=options | {"imgsz": 640}).args.imgsz == 640
    assert ClassificationTrainer(cfg={"imgsz": 96}, overrides=options).args.imgsz == 96
    assert ClassificationTrainer(overrides=options).args.task == "classify"
    assert ClassificationValidator(args=options).args.imgsz == 224
    result = YOLO(model_file).predict(np.zeros((50, 60, 3), np.uint8), verbose=False, device="cpu")
    assert len(result[0].probs) == 80


def test_auto_optimizer_does_not_depend_on_the_number_of_classes(model_file, data, tmp_path):
    yolo = start(model_file, data, tmp_path, epochs=1)
    assert auto_choice(10, 100)[1] == 0.000714
    assert {group["initial_lr"] for group in yolo.trainer.optimizer.param_groups} == {0.000714}


def test_dropout_is_for_training_only(model_file, data, tmp_path):
    yolo = start(model_file, data, tmp_path, dropout=0.3)
    assert yolo.trainer.model.model[-1].drop.p == 0.3
    one, two = (yolo.predict(np.full((32, 32, 3), 90, np.uint8), verbose=False)[0].probs.data for _ in range(2))
    assert torch.equal(one, two)


def test_a_resumed_run_ends_like_an_uninterrupted_one(model_file, data, tmp_path):
    class Interrupt(Exception):
        pass

    def stop(trainer):
        if trainer.epoch == 2:
            raise Interrupt

    options = {**COMMON, "data": data, "epochs": 3, "nbs": 8, "project": str(tmp_path)}
    whole, broken = YOLO(model_file), YOLO(model_file)
    whole.train(name="whole", **options)
    broken.add_callback("on_train_epoch_start", stop)
    with pytest.raises(Interrupt):
        broken.train(name="broken", **options)
    resumed = YOLO(broken.trainer.last)
    resumed.train(resume=True)
    assert read_results(resumed.trainer.csv) == read_results(whole.trainer.csv)
    state = load_checkpoint(whole.trainer.last).network.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in load_checkpoint(resumed.trainer.last).network.state_dict().items())


def test_one_image_per_class_trains(model_file, tmp_path):
    data = write_dataset(tmp_path / "data", train=every_class(1), val=every_class(1))
    assert start(model_file, data, tmp_path).trainer.best.exists()


@pytest.mark.parametrize("name", ["yolov8n-cls-resnet50.yaml", "yolov8n-cls.yaml", "yolo11n-cls.yaml"])
def test_networks_of_the_model_folder_learn_without_downloads(name):
    init_seeds(0)
    network = ClassificationModel(name, nc=3, verbose=False)
    loss, items = network({"img": torch.rand(2, 3, 64, 64), "cls": torch.tensor([0, 2])})
    loss.backward()
    assert items.ndim == 0 and math.isfinite(float(items))
    assert all(p.grad is not None for p in network.parameters())


# ---- validation ------------------------------------------------------------------------------------------------------


def test_val_and_predict_see_the_same_image(trained, tmp_path):
    """Probabilities of images of any shape are equal, whatever the crop."""
    root = tmp_path / "data"
    write_dataset(root, train=every_class(1))
    (root / "val" / "red").mkdir(parents=True)
    for i, (h, w) in enumerate([(20, 90), (90, 20), (7, 7), (41, 64)]):
        y, x, c = np.mgrid[:h, :w, :3]
        share = (x + y) / (h + w)  # from blue to red
        pixels = share * np.array(COLORS["red"])[c] + (1 - share) * np.array(COLORS["blue"])[c]
        cv2.imwrite(str(root / "val" / "red" / f"{i}.png"), pixels.astype(np.uint8))
    files = [str(root / "val" / "red" / f"{i}.png") for i in range(4)]
    seen = []
    for options in ({}, {"crop_fraction": 0.5}, {"letterbox": True}, {"imgsz": 64}):
        folder = {"project": str(tmp_path / "runs"), "plots": False, "verbose": False}
        trained.val(data=str(root), save_json=True, **folder | options)
        run = sorted((tmp_path / "runs").iterdir(), key=lambda p: p.stat().st_mtime_ns)[-1]
        rows = json.loads((run / "predictions.json").read_text())
        scores = {row["image"]: row["score"] for row in rows}
        results = trained.predict(files, verbose=False, **options)
        for file, result in zip(files, results, strict=True):
            assert float(result.probs.top1conf) == pytest.approx(scores[f"red/{Path(file).name}"], abs=1e-5)
        seen.append(tuple(scores.values()))
    assert len(set(seen)) == 4, "every option changes what the network sees"


def test_settings_of_training_are_those_of_later_calls(model_file, data, tmp_path):
    best = start(model_file, data, tmp_path, crop_fraction=0.6, letterbox=True, seed=3).trainer.best
    yolo = YOLO(best)
    assert {k: yolo.overrides[k] for k in ("imgsz", "crop_fraction", "letterbox", "seed")} == {
        "imgsz": 32, "crop_fraction": 0.6, "letterbox": True, "seed": 3,
    }  # fmt: skip


def test_label_files_and_table(trained, data, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    metrics = trained.val(data=data, save_txt=True, plots=False, project=str(tmp_path), name="v")
    lines = (tmp_path / "v" / "labels" / "red" / "0.txt").read_text().splitlines()
    assert len(lines) == 3 and lines[0].split()[1] in COLORS
    assert metrics.top5 == 1.0, "with three classes the true one is always among the first five"
    table = messages(caplog)
    assert "top1_acc" in table and "green" in table
    assert metrics.confusion_matrix.matrix.shape == (3, 3) and metrics.confusion_matrix.matrix.sum() == 12
    assert metrics.results_dict.keys() == {"metrics/accuracy_top1", "metrics/accuracy_top5", "fitness"}


def test_half_precision_needs_a_gpu(trained, data, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    trained.val(data=data, half=True, plots=False, verbose=False, project=str(tmp_path), device="cpu")
    assert "half=True needs a GPU" in messages(caplog)


# ---- prediction ------------------------------------------------------------------------------------------------------


def test_every_source_has_probabilities(trained, data, tmp_path):
    file = Path(data) / "val" / "green" / "0.png"
    image = cv2.imread(str(file))
    tensor = torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)[None].float() / 255
    gray, alpha = tmp_path / "gray.png", tmp_path / "alpha.png"
    cv2.imwrite(str(gray), image[..., 1])
    cv2.imwrite(str(alpha), np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]))
    sources = [str(file), file, image, Image.open(file), tensor, str(file.parent), [image, image], str(alpha)]
    for source in sources:
        for result in trained.predict(source, verbose=False):
            assert result.names[result.probs.top1] == "green"
            assert float(result.probs.data.sum()) == pytest.approx(1.0, abs=1e-5)
            assert sorted(result.probs.top5) == [0, 1, 2] and len(result.probs.top5conf) == 3
            assert result.boxes is None
    assert len(trained.predict(str(gray), verbose=False)[0].probs) == 3
    assert len(trained.predict(np.zeros((1, 1, 3), np.uint8), verbose=False)[0].probs) == 3


def test_files_of_a_prediction(trained, data, tmp_path):
    source = str(Path(data) / "val" / "blue")
    options = {"save": True, "save_txt": True, "project": str(tmp_path), "name": "p", "verbose": False}
    results = trained.predict(source, **options)
    assert sorted(p.name for p in (tmp_path / "p").glob("*.png")) == ["0.png", "1.png", "2.png", "3.png"]
    assert "blue" in (tmp_path / "p" / "labels" / "0.txt").read_text().splitlines()[0]
    assert results[0].summary()[0]["name"] == "blue"
    assert not np.array_equal(results[0].plot(), results[0].orig_img)


def test_embeddings(trained, data):
    vectors = trained.embed(str(Path(data) / "val" / "blue"), verbose=False)
    assert len(vectors) == 4 and vectors[0].shape == (16,)


def test_options_without_an_effect_are_named(trained, data, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    trained.predict(str(Path(data) / "val" / "blue" / "0.png"), verbose=False, classes=[0], conf=0.9, iou=0.5)
    for key in ("classes", "conf", "iou"):
        assert f"option '{key}' has no effect on the task classify" in messages(caplog)


@pytest.mark.parametrize(("module", "name"), [("train", "Trainer"), ("val", "Validator"), ("predict", "Predictor")])
def test_official_import_paths(module, name):
    from ultralytics.models.yolo import classify

    path = importlib.import_module(f"ultralytics.models.yolo.classify.{module}")
    assert getattr(path, f"Classification{name}") is getattr(classify, f"Classification{name}")


def test_a_predictor_is_made_as_in_8_3_0(trained, data):
    predictor = ClassificationPredictor(overrides={"model": str(trained.trainer.best), "imgsz": 32, "save": False})
    (result,) = predictor(str(Path(data) / "val" / "red" / "0.png"))
    assert predictor.args.task == "classify" and result.names[result.probs.top1] == "red"
