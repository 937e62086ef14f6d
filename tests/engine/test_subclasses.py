"""Subclasses of trainers, validators and predictors, written as public code for 8.3.0 writes them."""

from __future__ import annotations

from copy import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionPredictor, DetectionTrainer, DetectionValidator
from ultralytics.models.yolo.pose import PoseValidator
from ultralytics.models.yolo.segment import SegmentationValidator
from ultralytics.models.yolo.segment.val import MaskPredictions
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.metrics import box_iou
from ultralytics.utils.ops import non_max_suppression, scale_boxes, xywh2xyxy


@pytest.fixture
def options(tiny_model, tiny_data, tmp_path):
    return {
        "data": str(tiny_data), "epochs": 2, "imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": False,
        "project": str(tmp_path / "runs"), "nbs": 4,
    }  # fmt: skip


class OwnValidator(DetectionValidator):
    """Prepares and matches by itself."""

    def __init__(self, dataloader=None, save_dir=None, pbar=None, args=None, _callbacks=None):
        super().__init__(dataloader, save_dir, pbar, args, _callbacks)
        self.calls = set()

    def _prepare_batch(self, si, batch):
        self.calls.add("_prepare_batch")
        mine = batch["batch_idx"] == si
        height, width = batch["img"].shape[2:]
        image = {"imgsz": (height, width), **{key: batch[key][si] for key in ("ori_shape", "ratio_pad")}}
        corners = xywh2xyxy(batch["bboxes"][mine]) * torch.tensor([width, height, width, height], device=self.device)
        bbox = scale_boxes(image["imgsz"], corners, image["ori_shape"], ratio_pad=image["ratio_pad"])
        return {"cls": batch["cls"][mine].flatten(), "bbox": bbox, **image}

    def _prepare_pred(self, pred, pbatch):
        self.calls.add("_prepare_pred")
        return super()._prepare_pred(pred, pbatch)

    def _process_batch(self, detections, gt_bboxes, gt_cls):
        self.calls.add("_process_batch")
        iou = box_iou(gt_bboxes, detections[:, :4])
        return self.match_predictions(detections[:, 5], gt_cls, iou)

    def match_predictions(self, pred_classes, true_classes, iou, use_scipy=False):
        self.calls.add("match_predictions")
        return super().match_predictions(pred_classes, true_classes, iou)

    def finalize_metrics(self, *args, **kwargs):
        super().finalize_metrics(*args, **kwargs)
        self.calls.add("finalize_metrics")


VALIDATOR_CALLS = {"_prepare_batch", "_prepare_pred", "_process_batch", "match_predictions", "finalize_metrics"}


class OwnTrainer(DetectionTrainer):
    """Overrides what papers' repositories override."""

    def __init__(self, cfg=None, overrides=None, _callbacks=None):
        self.calls = []
        super().__init__(cfg, overrides, _callbacks)

    def get_dataset(self):
        train, val = super().get_dataset()
        self.calls.append("get_dataset")
        assert train == self.data["train"] and val == self.data["val"]
        return train, val

    def _setup_train(self, world_size):
        super()._setup_train(world_size)
        self.calls.append(("_setup_train", world_size))

    def get_model(self, cfg=None, weights=None, verbose=True):
        self.calls.append("get_model")
        model = DetectionModel(cfg, nc=self.data["nc"], verbose=False)
        if weights:
            model.load(weights)
        return model

    def set_model_attributes(self):
        super().set_model_attributes()
        self.model.mark = 7

    def build_dataset(self, img_path, mode="train", batch=None):
        self.calls.append(("build_dataset", mode))
        return super().build_dataset(img_path, mode, batch)

    def build_optimizer(self, model, name="auto", lr=0.001, momentum=0.9, decay=1e-5, iterations=1e5):
        self.calls.append("build_optimizer")
        return super().build_optimizer(model, "SGD", 0.5, momentum, decay, iterations)

    def get_validator(self):
        self.loss_names = "box_loss", "cls_loss", "dfl_loss"
        return OwnValidator(self.test_loader, save_dir=self.save_dir, args=copy(self.args), _callbacks=self.callbacks)

    def save_metrics(self, metrics):
        super().save_metrics(metrics)
        self.calls.append(("save_metrics", list(metrics)))


LOSSES = [f"{split}/{name}" for split in ("train", "val") for name in ("box_loss", "cls_loss", "dfl_loss")]
METRICS = [f"metrics/{name}(B)" for name in ("precision", "recall", "mAP50", "mAP50-95")]


def test_overrides_of_a_trainer_and_its_validator_are_called(tiny_model, options):
    yolo = YOLO(tiny_model)
    yolo.train(trainer=OwnTrainer, **options)
    trainer = yolo.trainer
    names = [call if isinstance(call, str) else call[0] for call in trainer.calls]
    assert names == [
        "get_dataset", "get_model", "build_dataset", "build_dataset", "build_optimizer", "_setup_train",
        "save_metrics", "save_metrics",
    ]  # fmt: skip
    assert ("_setup_train", 0) in trainer.calls and ("build_dataset", "val") in trainer.calls
    row = [*LOSSES[:3], *METRICS, *LOSSES[3:], "lr/pg0", "lr/pg1", "lr/pg2"]
    assert trainer.calls[-1] == ("save_metrics", row)
    assert trainer.model.mark == 7 and trainer.optimizer.param_groups[0]["initial_lr"] == 0.5
    assert type(trainer.validator) is OwnValidator and trainer.validator.calls == VALIDATOR_CALLS


def test_a_dataset_without_file(tiny_model, tiny_data, options):
    class Trainer(DetectionTrainer):
        def get_dataset(self):
            folder = tiny_data.parent
            self.data = {"train": data["train"], "val": data["val"], "nc": 2, "names": {0: "a", 1: "b"}, "path": folder}
            return self.data["train"], self.data["val"]

    data = DetectionTrainer(overrides={**options, "model": str(tiny_model)}).data
    trainer = Trainer(overrides={**options, "model": str(tiny_model), "epochs": 1})
    trainer.train()
    assert trainer.model.names == {0: "a", 1: "b"} and trainer.best.exists()


def test_epoch_and_metrics_inside_callbacks(tiny_model, options):
    epochs, keys = [], []
    yolo = YOLO(tiny_model)
    yolo.add_callback("on_fit_epoch_end", lambda trainer: epochs.append(trainer.epoch))
    yolo.add_callback("on_fit_epoch_end", lambda trainer: keys.append(sorted(trainer.metrics)))
    yolo.add_callback("on_train_start", lambda trainer: keys.append(sorted(trainer.metrics)))
    yolo.add_callback("on_train_end", lambda trainer: epochs.append(trainer.epoch))
    yolo.train(**options)
    assert epochs == [0, 1, 1, 1]  # the third of on_fit_epoch_end is that of the best weights
    assert keys[:3] == [sorted([*METRICS, *LOSSES[3:]])] * 3 and keys[3] == sorted(METRICS)
    assert yolo.trainer.epochs_done == 2


def test_a_plain_loader_of_a_script(tiny_model, options):
    class Trainer(DetectionTrainer):
        def get_dataloader(self, dataset_path, batch_size=16, rank=0, mode="train"):
            dataset = self.build_dataset(dataset_path, mode, batch_size)
            return torch.utils.data.DataLoader(dataset, batch_size, shuffle=True, collate_fn=dataset.collate_fn)

    yolo = YOLO(tiny_model)
    yolo.train(trainer=Trainer, **options | {"close_mosaic": 1})
    assert yolo.trainer.best.exists()


def test_an_override_that_would_not_be_called_is_named(tiny_model, options, caplog):
    class Trainer(DetectionTrainer):
        def _do_train(self, world_size=1):
            """Never called."""

    Trainer(overrides={**options, "model": str(tiny_model)})
    assert "Trainer._do_train is never called by this package; use train, or callbacks" in caplog.text


class OwnPredictor(DetectionPredictor):
    """As in public code: its own suppression."""

    def __init__(self, cfg=None, overrides=None, _callbacks=None):
        super().__init__(cfg, overrides, _callbacks)
        self.shapes = []

    def postprocess(self, preds, img, orig_imgs):
        preds = non_max_suppression(
            preds, self.args.conf, self.args.iou, agnostic=self.args.agnostic_nms, max_det=self.args.max_det,
            classes=self.args.classes,
        )  # fmt: skip
        results = []
        for i, (pred, orig_img) in enumerate(zip(preds, orig_imgs, strict=True)):
            self.shapes.append(tuple(img.shape[2:]))
            results.append(self.construct_result(pred, img, orig_img, self.batch[0][i]))
        return results


def test_postprocess_of_a_predictor(tiny_model):
    image, options = np.full((48, 64, 3), 90, np.uint8), {"conf": 1e-6, "imgsz": 64, "verbose": False}
    yolo = YOLO(tiny_model)
    own = yolo.predict(image, predictor=OwnPredictor, **options)
    assert len(yolo.predictor.shapes) == 1
    official = yolo.predict(image, **options)
    assert len(own[0]) and torch.equal(own[0].boxes.data, official[0].boxes.data)
    alone = OwnPredictor(overrides={"model": None, **options})
    alone.setup_model(yolo.model)
    assert torch.equal(alone(image)[0].boxes.data, own[0].boxes.data)


def test_process_batch_of_masks_and_keypoints_is_called():
    calls = []

    class Masks(SegmentationValidator):
        def _process_batch(
            self, detections, gt_bboxes, gt_cls, pred_masks=None, gt_masks=None, overlap=False, masks=False
        ):
            calls.append((masks, overlap, pred_masks is not None))
            return super()._process_batch(detections, gt_bboxes, gt_cls, pred_masks, gt_masks, overlap, masks)

    class Points(PoseValidator):
        def _process_batch(self, detections, gt_bboxes, gt_cls, pred_kpts=None, gt_kpts=None):
            calls.append(pred_kpts is not None)
            return super()._process_batch(detections, gt_bboxes, gt_cls, pred_kpts, gt_kpts)

    box, args = torch.tensor([[16.0, 16.0, 48.0, 48.0]]), {"conf": 0.1, "plots": False}
    batch = {
        "img": torch.zeros(1, 3, 64, 64), "batch_idx": torch.zeros(1), "cls": torch.zeros(1, 1), "im_file": ["a.jpg"],
        "bboxes": torch.tensor([[0.5, 0.5, 0.5, 0.5]]), "ori_shape": [(64, 64)],
        "ratio_pad": [((1.0, 1.0), (0.0, 0.0))],
        "masks": torch.zeros(1, 16, 16), "keypoints": torch.tensor([[[0.5, 0.5, 2.0]]]),
    }  # fmt: skip
    batch["masks"][0, 4:12, 4:12] = 1
    row = torch.cat((box, torch.tensor([[0.9, 0.0]])), 1)
    for cls, extra in ((Masks, torch.ones(1, 1)), (Points, torch.tensor([[32.0, 32.0, 1.0]]))):
        validator, network = cls(args=args), SimpleNamespace(names={0: "a"}, kpt_shape=(1, 3), model=[None])
        validator.training = True
        validator.init_metrics(network)
        rows = torch.cat((row, extra), 1)
        is_masks = cls is Masks
        pred = MaskPredictions(rows, torch.ones(1, 16, 16)) if is_masks else rows
        validator.update_metrics([pred], batch)
        assert validator.stats["tp"][0].all() and validator.stats["tp_second"][0].all()
    assert sorted(calls[:2]) == [(False, False, False), (True, False, True)] and sorted(calls[2:]) == [False, True]
