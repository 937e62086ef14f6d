"""What scripts rely on: attributes of trainer and validator, and methods that subclasses override."""

import re

import pytest
import torch

from ultralytics.engine.trainer_interface import TrainerInterface
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
from ultralytics.nn.checkpoint import load_checkpoint

TRAINER_METHODS = (
    "get_dataset", "setup_model", "get_model", "set_model_attributes", "build_dataset", "get_dataloader",
    "get_validator", "build_optimizer", "preprocess_batch", "optimizer_step", "progress_string", "label_loss_items",
    "validate", "save_metrics", "save_model", "plot_training_samples", "plot_training_labels", "plot_metrics",
    "on_plot", "final_eval", "run_callbacks",
)  # fmt: skip
TRAINER_ATTRIBUTES = (
    "args", "callbacks", "device", "data", "trainset", "testset", "model", "train_loader", "test_loader",
    "validator", "optimization", "optimizer", "scaler", "ema", "lf", "accumulate", "last_step", "amp", "stride",
    "batch_size", "epochs", "start_epoch", "epoch", "loss", "loss_items", "tloss", "loss_names", "lr", "metrics",
    "fitness", "best_fitness", "stopper", "stop", "save_dir", "wdir", "last", "best", "csv", "save_period", "plots",
    "plot_idx", "mosaic_open", "train_time_start",
)  # fmt: skip
VALIDATOR_METHODS = (
    "preprocess", "postprocess", "init_metrics", "update_metrics", "get_stats", "class_results", "check_stats",
    "finalize_metrics", "print_results", "get_desc", "plot_val_samples", "plot_predictions", "plot_curves", "on_plot",
    "pred_to_json", "eval_json", "save_one_txt", "match_predictions", "run_callbacks",
)  # fmt: skip
OWN_RUN_METHODS = ("get_dataset", "build_dataset", "get_dataloader")


def recording(cls, methods, calls):
    """Subclass of `cls` whose `methods` note their name in `calls`."""

    def override(name):
        def method(self, *args, **kwargs):
            calls.add(name)
            return getattr(super(made, self), name)(*args, **kwargs)

        return method

    made = type(f"Recording{cls.__name__}", (cls,), {name: override(name) for name in methods})
    return made


@pytest.fixture
def options(tiny_model, tiny_data, tmp_path):
    return {
        "model": str(tiny_model), "data": str(tiny_data), "epochs": 1, "imgsz": 64, "batch": 4, "workers": 0,
        "device": "cpu", "plots": True, "project": str(tmp_path / "runs"), "nbs": 4,
    }  # fmt: skip


def test_every_override_is_called(options):
    calls, val_calls = set(), set()
    validator = recording(DetectionValidator, VALIDATOR_METHODS, val_calls)
    settings = {"save_json": True, "save_txt": True}

    class Trainer(recording(DetectionTrainer, TRAINER_METHODS, calls)):
        def get_validator(self):
            super().get_validator()
            args = {**dict(self.args), **settings}
            return validator(self.test_loader, self.save_dir, args=args, _callbacks=self.callbacks)

    trainer = Trainer(overrides=options)
    trainer.train()
    assert calls == set(TRAINER_METHODS)
    assert val_calls == set(VALIDATOR_METHODS)

    own_calls = set()
    own = recording(DetectionValidator, OWN_RUN_METHODS, own_calls)
    own(args={**options, "mode": "val", "plots": False, "save_dir": None})(model=load_checkpoint(trainer.best).network)
    assert own_calls == set(OWN_RUN_METHODS)


def test_attributes_exist_before_training(options):
    trainer = DetectionTrainer(overrides=options)
    values = {name: getattr(trainer, name) for name in TRAINER_ATTRIBUTES}
    assert values["optimizer"] is None and values["ema"] is None and values["validator"] is None
    assert (values["epochs"], values["batch_size"], values["stop"], values["epoch"]) == (1, 4, False, 0)
    assert values["best"] == values["save_dir"] / "weights" / "best.pt" and values["wdir"].is_dir()
    words = set(re.findall(r"\w+", TrainerInterface.__doc__))
    assert [name for name in TRAINER_ATTRIBUTES if name not in words] == []


def test_an_optimizer_that_a_callback_sets_is_the_one_that_steps(options):
    trainer = DetectionTrainer(overrides=options | {"plots": False})

    class Still(torch.optim.SGD):
        def step(self, closure=None):
            return None

    def replace(t):
        t.optimizer = Still(t.model.parameters(), lr=0.1)
        t.optimizer.param_groups[0]["initial_lr"] = 0.1
        before.update({k: v.clone() for k, v in t.model.named_parameters()})

    before = {}
    trainer.add_callback("on_pretrain_routine_end", replace)
    trainer.train()
    assert before and all(torch.equal(v, before[k]) for k, v in trainer.model.named_parameters())


def test_plots_are_noted(options):
    trainer = DetectionTrainer(overrides=options)
    trainer.train()
    names = {path.name for path in (*trainer.plots, *trainer.validator.plots)}
    written = {path.name for path in trainer.save_dir.iterdir() if path.suffix in (".png", ".jpg")}
    assert names == written and {"labels.jpg", "results.png", "val_batch0_pred.jpg", "train_batch2.jpg"} <= written


def test_a_callback_can_be_replaced(options):
    trainer, calls = DetectionTrainer(overrides=options), []
    trainer.add_callback("on_train_start", lambda t: calls.append("first"))
    trainer.set_callback("on_train_start", lambda t: calls.append("second"))
    trainer.run_callbacks("on_train_start")
    assert calls == ["second"]
    with pytest.raises(ValueError, match="did you mean 'on_train_start'"):
        trainer.set_callback("on_train_starts", print)


def test_the_validator_s_settings_are_its_own(options):
    trainer = DetectionTrainer(overrides=options | {"epochs": 2})
    seen = []
    trainer.add_callback("on_val_end", lambda v: seen.append((v.args.plots, v.training, bool(v.plots))))
    trainer.train()
    # no plots in training, all of them for the best weights, and nobody changes the setting
    assert seen == [(True, True, False), (True, True, False), (True, False, True)]


def test_official_ways_to_call_a_validator(options, tmp_path):
    trainer = DetectionTrainer(overrides=options | {"plots": False})
    trainer.train()
    args = {"model": str(trainer.best), "data": options["data"], "imgsz": 64, "workers": 0, "device": "cpu"}
    args |= {"plots": False, "mode": "val", "project": str(tmp_path)}
    by_args = DetectionValidator(args=args)()
    by_path = DetectionValidator(save_dir=tmp_path / "x", args=args)(model=str(trainer.best))
    assert by_args == by_path
    assert {k: v for k, v in by_args.items() if k != "fitness"} == pytest.approx(trainer.metrics)
    assert (tmp_path / "val" / "metrics.json").exists() and not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="validation needs a network"):
        DetectionValidator(args={k: v for k, v in args.items() if k != "model"})()


def test_a_progress_bar_of_the_caller_is_updated(options, tmp_path):
    class Bar:
        count = 0

        def update(self, n):
            self.count += n

    trainer = DetectionTrainer(overrides=options | {"plots": False})
    trainer.train()
    bar = Bar()
    validator = DetectionValidator(trainer.test_loader, save_dir=tmp_path, pbar=bar, args={"imgsz": 64, "plots": False})
    validator(model=load_checkpoint(trainer.best).network)
    assert bar.count == len(trainer.test_loader) == 1
