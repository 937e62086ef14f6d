"""The training loop on a dataset of 12 small images."""

import math
import shutil

import pytest
import torch

from ultralytics import YOLO
from ultralytics.engine.stability import TrainingError
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn.checkpoint import load_checkpoint, read_safely
from ultralytics.utils.files import read_results, yaml_load

COLUMNS = [
    "epoch",
    "train/box_loss",
    "train/cls_loss",
    "train/dfl_loss",
    "metrics/precision(B)",
    "metrics/recall(B)",
    "metrics/mAP50(B)",
    "metrics/mAP50-95(B)",
    "val/box_loss",
    "val/cls_loss",
    "val/dfl_loss",
    "lr/pg0",
    "lr/pg1",
    "lr/pg2",
]


@pytest.fixture
def run(tiny_model, tiny_data, tmp_path):
    def start(model=None, **kwargs):
        args = {"epochs": 2, "imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": False} | kwargs
        yolo = YOLO(str(model or tiny_model))
        yolo.train(data=str(tiny_data), project=str(tmp_path / "runs"), **args)
        return yolo

    return start


def state(path):
    return load_checkpoint(path).network.state_dict()


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_leaves_the_documented_files(run, tiny_model):
    yolo = run(plots=True, save_period=1)
    folder = yolo.trainer.save_dir
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files >= {
        "args.yaml",
        "results.csv",
        "results.png",
        "labels.jpg",
        "train_batch0.jpg",
        "weights/best.pt",
        "weights/last.pt",
        "weights/epoch0.pt",
        "weights/epoch1.pt",
        "confusion_matrix.png",
        "metrics.json",
        "confusion_matrix_normalized.png",
        "val_batch0_labels.jpg",
        "val_batch0_pred.jpg",
    }
    results = read_results(folder / "results.csv")
    assert list(results) == COLUMNS and results["epoch"] == [1, 2]
    assert all(math.isfinite(v) for values in results.values() for v in values)
    args = yaml_load(folder / "args.yaml")
    assert args["epochs"] == 2 and args["save_dir"] == str(folder) and args.keys() == dict(yolo.trainer.args).keys()
    content = read_safely(folder / "weights" / "last.pt")
    assert content["epoch"] == -1 and content["train_results"]["epoch"] == [1, 2]
    assert yolo.ckpt_path == str(folder / "weights" / "best.pt") and yolo.names == {0: "bright", 1: "dark"}


def test_training_learns(run):
    yolo = run(epochs=40, optimizer="AdamW", lr0=0.01, nbs=4, close_mosaic=25, warmup_epochs=1)
    results = read_results(yolo.trainer.csv)
    assert max(results["metrics/mAP50(B)"]) > 0.5
    assert yolo.metrics.box.map50 == pytest.approx(max(results["metrics/mAP50(B)"]), abs=0.1)


def test_best_file_validates_to_what_training_printed(run):
    yolo = run(epochs=8, optimizer="AdamW", lr0=0.01, nbs=4)
    printed = yolo.trainer.metrics["metrics/mAP50-95(B)"]
    again = YOLO(yolo.trainer.best).val(imgsz=64, batch=8, workers=0, device="cpu", plots=False)
    assert round(again.box.map, 5) == printed


def test_same_seed_same_weights(run):
    first, second = run(seed=3), run(seed=3)
    assert same(state(first.trainer.last), state(second.trainer.last))
    assert not same(state(first.trainer.last), state(run(seed=4).trainer.last))


class Interrupt(KeyboardInterrupt):
    pass


def test_a_resumed_run_ends_like_an_uninterrupted_one(run, tiny_model, tiny_data, tmp_path):
    # nbs = batch: every batch is a step, nothing is left over between epochs
    common = {"epochs": 4, "nbs": 4, "close_mosaic": 1, "optimizer": "SGD"}
    whole = run(name="whole", **common)

    broken = YOLO(str(tiny_model))

    def stop(trainer):
        if trainer.epoch == 2:
            raise Interrupt

    broken.add_callback("on_train_epoch_start", stop)
    with pytest.raises(Interrupt):
        args = {"imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": False} | common
        broken.train(data=str(tiny_data), project=str(tmp_path / "runs"), name="broken", **args)
    last = broken.trainer.last
    assert load_checkpoint(last).can_resume
    resumed = YOLO(str(last))
    resumed.train(resume=True)
    assert resumed.trainer.start_epoch == 2 and resumed.trainer.save_dir == broken.trainer.save_dir
    history, expected = read_results(resumed.trainer.csv), read_results(whole.trainer.csv)
    assert history == expected
    assert same(state(resumed.trainer.last), state(whole.trainer.last))
    with pytest.raises(ValueError, match="nothing to resume"):
        YOLO(str(last)).train(resume=True)


def test_a_run_killed_between_last_and_best_gets_its_best_file(tiny_model, tiny_data, tmp_path):
    def stop(trainer):
        if trainer.epoch == trainer.start_epoch + 1 or trainer.resumed:
            raise Interrupt

    args = {"imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": False, "epochs": 3, "lr0": 0.0}
    broken = YOLO(str(tiny_model))
    broken.add_callback("on_train_epoch_start", stop)
    with pytest.raises(Interrupt):
        broken.train(data=str(tiny_data), project=str(tmp_path / "runs"), **args)
    last, best = broken.trainer.last, broken.trainer.best
    best.write_bytes(b"of an earlier epoch")
    again = YOLO(str(last))
    again.add_callback("on_train_epoch_start", stop)
    with pytest.raises(Interrupt):
        again.train(resume=True)
    assert best.read_bytes() == last.read_bytes()
    assert again.trainer.fitness == load_checkpoint(last).content["train_metrics"]["fitness"]


def test_nan_stops_with_the_batch_named_and_the_last_weights_kept(tiny_model, tiny_data, tmp_path):
    yolo = YOLO(str(tiny_model))

    def poison(trainer):
        if trainer.epoch == 1:
            with torch.no_grad():
                next(trainer.model.parameters()).fill_(float("nan"))

    yolo.add_callback("on_train_epoch_start", poison)
    args = {"epochs": 3, "imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": False}
    with pytest.raises(TrainingError, match=r"batch 1 of epoch 2.*\.png"):
        yolo.train(data=str(tiny_data), project=str(tmp_path), **args)
    kept = state(yolo.trainer.last)
    assert all(torch.isfinite(v).all() for v in kept.values() if v.is_floating_point())


def test_callbacks_fire_in_order(run, tiny_model, tiny_data, tmp_path):
    seen = []
    yolo = YOLO(str(tiny_model))
    for event in yolo.callbacks:
        yolo.add_callback(event, lambda source, event=event: seen.append(event))
    args = {"epochs": 1, "imgsz": 64, "batch": 12, "workers": 0, "device": "cpu", "plots": False}
    yolo.train(data=str(tiny_data), project=str(tmp_path), **args)
    assert seen == [
        "on_pretrain_routine_start",
        "on_pretrain_routine_end",
        "on_train_start",
        "on_train_epoch_start",
        "on_train_batch_start",
        "optimizer_step",
        "on_before_zero_grad",
        "on_params_update",
        "on_batch_end",
        "on_train_batch_end",
        "on_train_epoch_end",
        "on_val_start",
        "on_val_batch_start",
        "on_val_batch_end",
        "on_val_end",
        "on_model_save",
        "on_fit_epoch_end",
        "on_val_start",
        "on_val_batch_start",
        "on_val_batch_end",
        "on_val_end",
        "on_fit_epoch_end",
        "on_train_end",
        "teardown",
    ]


@pytest.mark.parametrize("freeze", [2, [0, 1]])
def test_frozen_layers_stay(run, freeze):
    yolo = run(freeze=freeze, seed=0)
    fresh = run(epochs=1, freeze=freeze, seed=0, lr0=0.0, optimizer="SGD", warmup_bias_lr=0.0, name="fresh")
    a, b = state(yolo.trainer.last), state(fresh.trainer.last)
    frozen = [k for k in a if k.startswith(("model.0.", "model.1.")) and k.endswith(("weight", "bias"))]
    assert frozen and all(torch.equal(a[k], b[k]) for k in frozen)
    assert not torch.equal(a["model.2.conv.weight"], b["model.2.conv.weight"])


def test_statistics_of_frozen_layers_stay(run):
    yolo = run(freeze=2, seed=0, save_period=1)
    folder = yolo.trainer.wdir
    before, after = state(folder / "epoch0.pt"), state(folder / "epoch1.pt")
    statistics = [k for k in after if k.endswith(("running_mean", "running_var"))]
    for key in statistics:
        assert torch.equal(before[key], after[key]) == key.startswith(("model.0.", "model.1."))


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (8, "freezes all 8 layers.*freeze=7"),
        (99, "freezes all 8 layers"),
        (list(range(8)), "freezes all 8 layers"),
        ([99], "has the layers 0 to 7, not 99"),
        ([0, 8], "has the layers 0 to 7, not 8"),
    ],
)
def test_freezing_layers_that_do_not_exist_or_all_is_refused(run, freeze, message):
    with pytest.raises(ValueError, match=message):
        run(freeze=freeze)


def test_everything_but_the_head_can_be_frozen(run):
    yolo = run(freeze=7)
    learning = {n for n, p in yolo.trainer.model.named_parameters() if p.requires_grad}
    assert learning and all(name.startswith("model.7.") for name in learning)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"lr0": 0.1}, "lr0=0.1"), ({"momentum": 0.5, "lr0": 0.2}, "lr0=0.2, momentum=0.5"), ({}, None)],
)
def test_settings_that_auto_replaces_are_named(run, capsys, options, named):
    run(optimizer="auto", epochs=1, **options)
    assert (f"{named} has no effect: optimizer=auto" in capsys.readouterr().out) == bool(named)
    run(optimizer="SGD", epochs=1, name="sgd", **options)
    assert "has no effect" not in capsys.readouterr().out


@pytest.mark.parametrize("classes", [7, [0, 7], [2]])
def test_classes_that_the_data_lack_are_refused(run, classes):
    with pytest.raises(ValueError, match=r"classes=.*data\.yaml has no class [27], only 0 to 1 \(bright, dark\)"):
        run(classes=classes)


@pytest.mark.parametrize("imgsz", [32, 64])
def test_multi_scale_with_small_images(run, imgsz):
    yolo = run(multi_scale=True, imgsz=imgsz, epochs=12, batch=6 if imgsz == 32 else 11, val=False)
    assert len(read_results(yolo.trainer.csv)["epoch"]) == 12


@pytest.mark.parametrize(
    "options",
    [
        {"rect": True},
        {"cos_lr": True, "optimizer": "RMSProp", "lr0": 1e-3},
        {"single_cls": True},
        {"fraction": 0.5},
        {"multi_scale": True},
        {"mixup": 1.0, "degrees": 20.0, "perspective": 0.0005, "shear": 3.0, "flipud": 0.5, "bgr": 0.5},
        {"cache": "ram", "mosaic": 0.0},
        {"val": False},
        {"classes": [0]},
        {"batch": 50},
        {"workers": 2},
        {"imgsz": 70},
    ],
    ids=str,
)
def test_options_train(run, options):
    yolo = run(**options)
    results = read_results(yolo.trainer.csv)
    assert results["epoch"] == [1, 2]
    assert all(math.isfinite(v) for values in results.values() for v in values)
    if options.get("fraction"):
        assert len(yolo.trainer.train_loader.dataset) == 6
    if options.get("imgsz"):
        assert yolo.trainer.args.imgsz == 96


def test_the_time_limit_ends_a_run(run):
    yolo = run(epochs=10_000, time=2 / 3600)
    assert 1 <= yolo.trainer.record.epochs < 1000


def test_patience_ends_a_run(run, monkeypatch):
    fitness = iter([0.1, 0.3, 0.2, 0.2, 0.2, 0.2])

    def validate(self):
        value = next(fitness)
        self.best_fitness = max(self.best_fitness or 0, value)
        return {"fitness": value}, value

    monkeypatch.setattr(BaseTrainer, "validate", validate)
    yolo = run(epochs=30, patience=2)
    assert yolo.trainer.record.epochs == 4
    best = read_results(yolo.trainer.csv)["epoch"]
    assert best == [1, 2, 3, 4]


def test_training_goes_on_from_the_weights_one_has(run, tiny_data, tmp_path):
    first = run(epochs=3, optimizer="AdamW", lr0=0.01, nbs=4)
    still = {"optimizer": "SGD", "lr0": 0.0, "warmup_bias_lr": 0.0, "epochs": 1}
    before = state(first.trainer.best)
    again = run(model=first.trainer.best, **still)
    key = "model.2.conv.weight"
    assert torch.equal(state(again.trainer.last)[key], before[key])
    by_option = run(pretrained=str(first.trainer.best), **still)
    assert torch.equal(state(by_option.trainer.last)[key], before[key])
    fresh = run(model=first.trainer.best, pretrained=False, **still)
    assert not torch.equal(state(fresh.trainer.last)[key], before[key])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "nowhere.yaml"}, "nowhere.yaml"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"batch": -1}, "batch=-1"),
        ({"optimizer": "Lion"}, "Lion"),
        ({"device": "0,1"}, "one device"),
        ({"pretrained": "none.pt"}, "no checkpoint 'none.pt'"),
        ({"pretrained": "damaged.pt"}, "damaged.pt is not a whole"),
        ({"resume": "damaged.pt"}, "damaged.pt is not a whole"),
    ],
)
def test_mistakes_are_named_and_leave_no_folder(tiny_model, tiny_data, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.pt").write_bytes(b"PK\3\4" + bytes(100))
    args = {
        "data": str(tiny_data),
        "epochs": 1,
        "imgsz": 64,
        "workers": 0,
        "device": "cpu",
        "project": str(tmp_path / "r"),
    }
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        YOLO(str(tiny_model)).train(**(args | options))
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("no train folder", "train"),
        ("empty train folder", "no images"),
        ("empty val folder", "no images"),
        ("fraction", "fraction"),
        ("unreadable images", "usable"),
        ("callback", "mine"),
        ("freeze", "freeze"),
        ("batch", "BatchNorm"),
    ],
)
def test_mistakes_in_the_data_leave_no_folder(tiny_model, tiny_data, tmp_path, mistake, message):
    root = shutil.copytree(tiny_data.parent, tmp_path / "data")
    options, yolo = {}, YOLO(str(tiny_model))
    if mistake == "no train folder":
        shutil.rmtree(root / "images" / "train")
    elif mistake.startswith("empty"):
        for image in (root / "images" / mistake.split()[1]).iterdir():
            image.unlink()
    elif mistake == "unreadable images":
        for image in (root / "images" / "train").iterdir():
            image.write_bytes(b"no image")
    elif mistake == "callback":

        def refuse(trainer):
            raise ValueError("mine")

        yolo.add_callback("on_pretrain_routine_end", refuse)
    else:
        options = {"fraction": {"fraction": 0}, "freeze": {"freeze": 99}, "batch": {"batch": 11, "imgsz": 32}}[mistake]
    args = {"epochs": 1, "imgsz": 64, "workers": 0, "device": "cpu", "project": str(tmp_path / "runs")} | options
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        yolo.train(data=str(root / "data.yaml"), **args)
    assert not (tmp_path / "runs").exists()


def test_a_failed_start_keeps_what_was_in_the_folder(tiny_model, tiny_data, tmp_path):
    kept = tmp_path / "runs" / "train" / "weights" / "last.pt"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"an earlier run")
    args = {"epochs": 1, "workers": 0, "device": "cpu", "project": str(tmp_path / "runs"), "exist_ok": True}
    with pytest.raises(ValueError, match="BatchNorm"):
        YOLO(str(tiny_model)).train(data=str(tiny_data), **args, batch=11, imgsz=32, plots=False)
    assert kept.exists()


def test_a_last_batch_with_one_value_per_channel_is_named(tiny_data, tmp_path):
    args = {"data": str(tiny_data), "epochs": 1, "imgsz": 32, "batch": 11, "workers": 0, "device": "cpu"}  # 12 images
    with pytest.raises(ValueError, match=r"BatchNorm.*use imgsz=64 or another batch"):
        YOLO("yolo11n.yaml").train(**args, plots=False, project=str(tmp_path))


@pytest.mark.parametrize("saved", [False, True])
def test_a_fused_network_can_be_trained(tiny_model, tiny_data, tmp_path, saved):
    yolo = YOLO(YOLO(str(tiny_model)).save(tmp_path / "weights.pt"))
    before = {k: v.clone() for k, v in yolo.model.state_dict().items()}
    yolo.fuse()
    if saved:
        yolo = YOLO(yolo.save(tmp_path / "fused.pt"))
        assert yolo.model.is_fused()
    args = {"optimizer": "SGD", "lr0": 0.0, "warmup_bias_lr": 0.0, "epochs": 1, "imgsz": 64, "plots": False}
    yolo.train(data=str(tiny_data), project=str(tmp_path / "runs"), workers=0, device="cpu", **args)
    after = yolo.model.state_dict()
    assert not yolo.model.is_fused() and before.keys() == after.keys()
    if not saved:
        assert all(torch.equal(before[k], after[k]) for k in before if not k.endswith(("_mean", "_var", "_tracked")))
