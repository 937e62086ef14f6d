"""YOLO, the object: loading, predicting, validating, saving; nothing that one call does may leak into the next."""

import json

import numpy as np
import pytest
import torch

from ultralytics import YOLO
from ultralytics.nn.checkpoint import find_checkpoint, read_safely, save_checkpoint
from ultralytics.utils import coco
from ultralytics.utils.settings import settings

CPU = {"device": "cpu", "workers": 0, "plots": False}


@pytest.fixture(scope="module")
def trained(tiny_data, tiny_model_text, tmp_path_factory):
    """Path of a checkpoint that finds bright and dark squares."""
    folder = tmp_path_factory.mktemp("trained model")
    (folder / "tiny.yaml").write_text(tiny_model_text)
    yolo = YOLO(folder / "tiny.yaml")
    args = {"epochs": 50, "imgsz": 64, "batch": 4, "nbs": 4, "optimizer": "AdamW", "lr0": 0.01, "close_mosaic": 40}
    yolo.train(data=str(tiny_data), project=str(folder), warmup_epochs=1, **args, **CPU)
    return yolo.trainer.best


@pytest.fixture
def image_with_square():
    image = np.full((64, 96, 3), 115, np.uint8)
    image[10:34, 20:44] = 250
    return image


def boxes(result):
    return result.boxes.data.clone()


def test_a_trained_model_finds_the_square(trained, image_with_square):
    yolo = YOLO(trained)
    assert yolo.names == {0: "bright", 1: "dark"} and yolo.task == "detect"
    (result,) = yolo.predict(image_with_square, imgsz=96, verbose=False, device="cpu")
    best = result.boxes[int(result.boxes.conf.argmax())]
    assert int(best.cls) == 0
    np.testing.assert_allclose(best.xyxy[0].numpy(), [20, 10, 44, 34], atol=5)


def test_calls_do_not_leak(trained, image_with_square):
    yolo = YOLO(trained)
    before = {k: v.clone() for k, v in yolo.model.state_dict().items()}
    plain = boxes(yolo(image_with_square, imgsz=96, verbose=False, device="cpu")[0])
    assert len(yolo(image_with_square, imgsz=96, verbose=False, device="cpu", conf=0.99)[0]) <= len(plain)
    vectors = yolo.embed(image_with_square, imgsz=96, device="cpu", verbose=False)
    assert vectors[0].ndim == 1
    assert torch.equal(boxes(yolo(image_with_square, imgsz=96, verbose=False, device="cpu")[0]), plain)
    after = yolo.model.state_dict()
    assert list(before) == list(after), "predicting must not fuse the user's network"
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_val_uses_the_data_of_training_and_changes_nothing(trained, tiny_data, tmp_path):
    yolo = YOLO(trained)
    before = {k: v.clone() for k, v in yolo.model.state_dict().items()}
    metrics = yolo.val(project=str(tmp_path), save_json=True, save_txt=True, save_conf=True, **CPU)
    assert metrics.box.map50 > 0.5
    assert set(metrics.results_dict) == {
        "metrics/precision(B)",
        "metrics/recall(B)",
        "metrics/mAP50(B)",
        "metrics/mAP50-95(B)",
        "fitness",
    }
    assert set(metrics.speed) == {"preprocess", "inference", "loss", "postprocess"}
    assert all(torch.equal(before[k], v) for k, v in yolo.model.state_dict().items())
    rows = (tmp_path / "val" / "labels" / "0.txt").read_text().split("\n")
    assert all(len(row.split()) == 6 for row in rows if row)
    assert (tmp_path / "val" / "predictions.json").stat().st_size > 10


def test_cocos_figures_are_with_the_metrics(trained, tmp_path):
    pytest.importorskip("pycocotools", reason="COCO's own metrics need pycocotools")
    yolo = YOLO(trained)
    metrics = yolo.val(project=str(tmp_path), save_json=True, **CPU)
    written = (json.loads((tmp_path / "val" / f"{x}.json").read_text()) for x in ("instances", "predictions"))
    assert metrics.coco == pytest.approx(coco.evaluate(*written), nan_ok=True)
    assert list(metrics.coco) == list(coco.METRICS)
    assert metrics.coco["AP50"] == pytest.approx(metrics.box.map50, abs=0.05) and metrics.coco["APsmall"] > 0.1
    plain = yolo.val(**CPU)
    assert plain.coco == {} and plain.results_dict == metrics.results_dict


def test_rectangular_and_square_validation_agree(trained):
    yolo = YOLO(trained)
    rect, square = (yolo.val(rect=r, **CPU).box.map for r in (True, False))
    assert rect == pytest.approx(square, abs=0.1) and rect > 0


def test_save_and_load_predict_the_same(trained, image_with_square, tmp_path):
    yolo = YOLO(trained)
    path = yolo.save(tmp_path / "copy.pt")
    again = YOLO(path)
    assert torch.equal(
        boxes(again(image_with_square, imgsz=96, verbose=False, device="cpu")[0]),
        boxes(yolo(image_with_square, imgsz=96, verbose=False, device="cpu")[0]),
    )
    assert again.overrides["imgsz"] == 64 and again.names == yolo.names


def test_a_new_network_can_be_saved(tiny_model, tmp_path):
    YOLO(tiny_model).save(tmp_path / "new.pt")
    assert YOLO(tmp_path / "new.pt").names == {0: "0", 1: "1"}


def test_load_takes_fitting_weights_and_reset_drops_them(trained, tiny_model):
    yolo = YOLO(tiny_model).load(trained)
    key = "model.0.conv.weight"
    assert torch.equal(yolo.model.state_dict()[key], YOLO(trained).model.state_dict()[key])
    dfl = yolo.model.model[-1].dfl.conv.weight.clone()
    yolo.reset_weights()
    assert not torch.equal(yolo.model.state_dict()[key], YOLO(trained).model.state_dict()[key])
    assert torch.equal(yolo.model.model[-1].dfl.conv.weight, dfl), "the constants of the head stay"


def test_info():
    layers, parameters, gradients, gflops = YOLO("yolo11n.yaml").info(verbose=False)
    assert (layers, parameters, gradients) == (319, 2_624_080, 2_624_064)
    assert gflops == pytest.approx(6.612, abs=0.01)


def test_missing_files_say_where_they_were_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"yolo11n.pt.*Nothing is downloaded.*yolo11n\.yaml"):
        YOLO("yolo11n.pt")
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml"):
        YOLO("nothing.yaml")
    with pytest.raises(ValueError, match=r"neither|not a model"):
        YOLO("model.onnx")
    (tmp_path / "run").mkdir()
    for name in ("run", "run/", ".."):
        with pytest.raises(FileNotFoundError, match="is a folder"):
            YOLO(name)


def test_what_is_saved_can_be_read(tiny_model, monkeypatch):
    monkeypatch.chdir(tiny_model.parent)
    model = YOLO(tiny_model)
    for name, file in (("模型 a", "模型 a.pt"), ("b.pth", "b.pth"), ("c/d", "c/d.pt")):
        assert str(model.save(name)) == file
        assert YOLO(name).ckpt_path == file
    text = tiny_model.read_text()
    for name in (tiny_model, "x.ckpt", "x.onnx", "."):
        with pytest.raises(ValueError, match=r"give a .*checkpoint \(\.pt"):
            model.save(name)
    assert tiny_model.read_text() == text


@pytest.mark.parametrize("names", [["红", "b"], ("红", "b"), {"0": "红", "1": "b"}], ids=["list", "tuple", "texts"])
def test_names_may_be_set_by_hand(tiny_model, tiny_data, tmp_path, names):
    model = YOLO(tiny_model)
    model.model.names = names
    assert model.names == {0: "红", 1: "b"}
    result = model.predict(np.zeros((64, 64, 3), np.uint8), imgsz=64, conf=0.0, max_det=1)[0]
    assert result.names == model.names and "1 " in result.verbose()
    model.val(data=str(tiny_data), imgsz=64, **CPU)
    assert read_safely(model.save(tmp_path / "a.pt"))["model"].names == {0: "红", 1: "b"}
    assert YOLO(tiny_model).load(model).names == model.names


def test_data_with_more_classes_than_the_network(tiny_model, tiny_data):
    tiny_model.write_text(tiny_model.read_text().replace("nc: 2", "nc: 1"))
    model, args = YOLO(tiny_model), {"data": str(tiny_data), "imgsz": 64, **CPU}
    with pytest.raises(ValueError, match=r"data\.yaml have the class 1, the network has only 1 \(0\)"):
        model.val(**args)
    assert model.val(classes=[0], **args) is model.metrics


def test_weights_folder_and_missing_suffix(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / settings["weights_dir"]).mkdir()
    target = tmp_path / settings["weights_dir"] / "custom.pt"
    target.write_bytes(trained.read_bytes())
    assert find_checkpoint("custom").resolve() == target


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: y.predict(), "needs a source"),
        (lambda y: y.predict("x.jpg", confidence=0.5), "confidence"),
        (lambda y: y.predict("missing.jpg"), "missing.jpg"),
        (lambda y: y.val(data=None), "needs data"),
        (lambda y: y.train(), "needs data"),
        (lambda y: y.add_callback("on_trian_end", print), "on_train_end"),
    ],
)
def test_mistakes(tiny_model, call, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call(YOLO(tiny_model))


def test_other_tasks_are_named(tiny_model):
    with pytest.raises(ValueError, match=r"the task 'poes' is not part of this version.*did you mean 'pose'"):
        YOLO(tiny_model, task="poes")
    with pytest.raises(ValueError, match="the last row is Detect; a pose network needs Pose"):
        YOLO(tiny_model, task="pose")


def test_callbacks_reach_predictor_and_validator(trained, image_with_square):
    yolo = YOLO(trained)
    seen = []
    yolo.add_callback("on_predict_end", lambda p: seen.append(type(p).__name__))
    yolo.add_callback("on_val_end", lambda v: seen.append(type(v).__name__))
    yolo(image_with_square, imgsz=96, verbose=False, device="cpu")
    yolo.val(**CPU)
    assert seen == ["DetectionPredictor", "DetectionValidator"]
    yolo.reset_callbacks()
    yolo(image_with_square, imgsz=96, verbose=False, device="cpu")
    assert len(seen) == 2


@pytest.mark.parametrize("weights", ["nowhere.pt", "tiny.yaml"])
def test_weights_that_are_missing_are_named_before_anything_starts(tiny_model, tiny_data, tmp_path, weights):
    with pytest.raises((FileNotFoundError, ValueError), match=f"{weights}.*(Nothing is downloaded|holds no weights)"):
        YOLO(tiny_model).train(data=str(tiny_data), pretrained=weights, project=str(tmp_path / "r"), **CPU)
    assert not (tmp_path / "r").exists()


def test_weights_of_another_object(trained, tiny_model):
    one, other = YOLO(trained), YOLO(tiny_model)
    other.load(one)
    assert torch.equal(one.model.model[0].conv.weight, other.model.model[0].conv.weight)
    assert other.transfer_report.share == 1 and other.carried is other.transfer_report and other.names == one.names


@pytest.mark.parametrize(
    ("train_args", "kept"),
    [
        ({"task": ["detect"], "imgsz": 96}, {"imgsz": 96}),
        ({"imgsz": "large", "data": "a.yaml"}, {"data": "a.yaml"}),
        ({"single_cls": "x", "data": 5}, {}),
        ({"of_the_future": 1, "imgsz": [64, 96]}, {"imgsz": [64, 96]}),
    ],
)
def test_settings_of_a_checkpoint_that_no_call_could_use_are_left_out(tiny_model, tmp_path, train_args, kept):
    save_checkpoint(tmp_path / "a.pt", YOLO(tiny_model).model, finished=True, train_args=train_args)
    overrides = YOLO(tmp_path / "a.pt").overrides
    assert overrides == kept | {"model": str(tmp_path / "a.pt"), "task": "detect"}


def test_a_checkpoint_of_another_task_is_named(tiny_model, tmp_path):
    save_checkpoint(tmp_path / "a.pt", YOLO(tiny_model).model, finished=True, train_args={"task": "track3d"})
    with pytest.raises(ValueError, match=r"task=track3d is invalid: .task. accepts detect, segment"):
        YOLO(tmp_path / "a.pt")
    with pytest.raises(ValueError, match="'' is not a model"):
        YOLO("")


def test_what_another_program_interrupted_is_not_resumed(tiny_model, tiny_data, tmp_path):
    network = YOLO(tiny_model).model
    content = {"epoch": 3, "optimizer": {"state": {}, "param_groups": []}, "version": "8.3.0"}
    save_checkpoint(tmp_path / "last.pt", network, finished=False, train_args={"data": str(tiny_data)}, **content)
    with pytest.raises(ValueError, match=r"last\.pt was written in the middle .*ultralytics 8\.3\.0.*epochs=N"):
        YOLO(tmp_path / "last.pt").train(resume=True)


def test_class_rows_that_load_brought_reach_the_trained_weights(trained, tiny_model, tiny_data, tmp_path):
    """The file has 5 classes, checkpoint and data 2: a training that changes nothing gives what the checkpoint has."""
    path = tmp_path / "five.yaml"
    path.write_text(tiny_model.read_text().replace("nc: 2", "nc: 5"))
    yolo = YOLO(path).load(trained)
    assert yolo.transfer_report.classes == [] and len(yolo.transfer_report.new) == 6
    still = {"optimizer": "SGD", "lr0": 0.0, "warmup_bias_lr": 0.0, "epochs": 1, "imgsz": 64, "val": False}
    yolo.train(data=str(tiny_data), project=str(tmp_path / "runs"), **still, **CPU)
    source, network = YOLO(trained).model, yolo.model
    for a, b in zip(source.model[-1].cv3, network.model[-1].cv3, strict=True):
        assert torch.equal(a[-1].weight, b[-1].weight) and torch.equal(a[-1].bias, b[-1].bias)
