"""Detection: all that is special to it. Data, network, losses by name, matching, tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ultralytics.data.dataset import YOLODataset
from ultralytics.data.dataset_config import check_det_dataset
from ultralytics.data.loader import build_dataloader, loading_processes
from ultralytics.engine.predictor import BasePredictor
from ultralytics.engine.results import Boxes, Results, label_lines, write_label_file
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.engine.validator import BaseValidator
from ultralytics.nn.tasks import BaseModel, DetectionModel
from ultralytics.utils import LOGGER, RANK, coco
from ultralytics.utils.metrics import ConfusionMatrix, DetMetrics, box_iou, match_predictions
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import scale_boxes, xywh2xyxy, xyxy2ltwh

# plotting imports matplotlib, which costs more than all the rest; it is imported where a picture is drawn


def _dataset(path: Any, data: dict[str, Any], args: Any, *, batch: int, train: bool, stride: int) -> YOLODataset:
    return YOLODataset(
        path,
        data=data,
        imgsz=args.imgsz,
        batch_size=batch,
        augment=train,
        hyp=args,
        rect=bool(args.rect) if train else bool(args.rect) or args.mode == "train",
        stride=stride,
        pad=0.0 if train else 0.5,
        single_cls=bool(args.single_cls),
        classes=args.classes,
        fraction=args.fraction if train else 1.0,
        cache=args.cache,
        prefix="train: " if train else "val: ",
    )


class DetectionTrainer(BaseTrainer):
    """Training of a detection network."""

    task = "detect"
    loss_names = ("box_loss", "cls_loss", "dfl_loss")

    def get_dataset(self) -> dict[str, Any]:
        if not self.args.data:
            raise ValueError("training needs data: data=coco128.yaml, or a dataset file of your own")
        data = check_det_dataset(self.args.data)
        for split in ("train", "val"):
            if not (data.get(split) or (split == "val" and data.get("test"))):
                raise ValueError(
                    f"{data['yaml_file']}: '{split}' is missing; it names the folder of the {split} images"
                )
        return data

    def get_model(self, cfg: Any = None, weights: nn.Module | None = None, verbose: bool = True) -> BaseModel:
        verbose = verbose and RANK in (-1, 0)
        model = DetectionModel(cfg, nc=self.data["nc"], verbose=verbose)
        if weights is not None:
            model.names, model.named = self.data["names"], True  # class rows are carried by name
            model.load(weights, verbose=verbose)
        return model

    def get_dataloader(self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        train = mode == "train"
        dataset = _dataset(dataset_path, self.data, self.args, batch=batch_size, train=train, stride=self.stride)
        shuffle = train and not self.args.rect
        workers = loading_processes(self.args.workers, self.device)
        return build_dataloader(dataset, batch_size, workers, shuffle=shuffle, seed=self.args.seed)

    def get_validator(self) -> DetectionValidator:
        return DetectionValidator(self.test_loader, self.save_dir, self.args, self.callbacks)

    def plot_training_samples(self, batch: dict[str, Any], ni: int) -> None:
        from ultralytics.utils.plotting import plot_images

        plot_images(
            batch["img"],
            batch["batch_idx"],
            batch["cls"],
            batch["bboxes"],
            path=self.save_dir / f"train_batch{ni}.jpg",
            paths=batch["im_file"],
            names=self.data["names"],
        )

    def plot_training_labels(self) -> None:
        from ultralytics.utils.charts import plot_labels

        table = self.train_loader.dataset.table
        plot_labels(table.boxes, table.cls, self.data["names"], self.save_dir / "labels.jpg")

    def plot_metrics(self) -> None:
        from ultralytics.utils.charts import plot_results

        plot_results(self.csv, self.save_dir / "results.png")


class DetectionValidator(BaseValidator):
    """Average precision, precision, recall and confusion matrix over a split."""

    metric_keys = tuple(DetMetrics().keys)

    def get_dataset(self) -> dict[str, Any]:
        if not self.args.data:
            raise ValueError("validation needs data: data=coco128.yaml, or a dataset file of your own")
        data = check_det_dataset(self.args.data)
        if not data.get(self.args.split):
            raise ValueError(f"{data['yaml_file']}: there is no split '{self.args.split}'; choose val, train or test")
        return data

    def get_dataloader(self, data: dict[str, Any], batch_size: int) -> Any:
        dataset = _dataset(data[self.args.split], data, self.args, batch=batch_size, train=False, stride=self.stride)
        workers = loading_processes(self.args.workers, self.device)
        return build_dataloader(dataset, batch_size, workers, shuffle=False, seed=self.args.seed)

    def init_metrics(self, model: BaseModel) -> None:
        self.names, self.nc = model.names, len(model.names)
        self.iouv = torch.linspace(0.5, 0.95, 10)
        self.metrics = DetMetrics(save_dir=self.save_dir, names=self.names)
        self.confusion_matrix = ConfusionMatrix(nc=self.nc, conf=self.args.conf)
        self.metrics.confusion_matrix = self.confusion_matrix  # filled when plots=True
        self.seen, self.jdict = 0, []
        self._truth = coco.GroundTruth(self.names)
        self.stats: dict[str, list[np.ndarray]] = {"tp": [], "conf": [], "pred_cls": [], "target_cls": []}
        self._images_with = np.zeros(self.nc, int)

    def postprocess(self, preds: Any) -> list[Tensor]:
        return non_max_suppression(
            preds[0] if isinstance(preds, list | tuple) else preds,
            self.args.conf,
            self.args.iou,
            multi_label=True,
            agnostic=bool(self.args.single_cls or self.args.agnostic_nms),
            max_det=self.args.max_det,
            classes=self.args.classes,
        )

    def update_metrics(self, preds: list[Tensor], batch: dict[str, Any]) -> None:
        """Match the detections of each image with its labels, both in pixels of the original image."""
        index = batch["batch_idx"].reshape(-1)
        height, width = batch["img"].shape[2:]
        scale = torch.tensor([width, height, width, height], dtype=torch.float32)
        for i, found in enumerate(preds):
            self.seen += 1
            mine = index == i
            shape, ratio_pad = batch["ori_shape"][i], batch["ratio_pad"][i]
            true_cls = batch["cls"][mine].reshape(-1).cpu()
            true_boxes = xywh2xyxy(batch["bboxes"][mine].cpu() * scale)
            true_boxes = scale_boxes((height, width), true_boxes, shape, ratio_pad=ratio_pad)
            found = found.float().cpu().clone()  # the pictures are drawn from `preds`, in pixels of the batch
            if self.args.single_cls:
                found[:, 5] = 0
            found[:, :4] = scale_boxes((height, width), found[:, :4], shape, ratio_pad=ratio_pad)
            self._count(found, true_boxes, true_cls)
            self._write(found, batch["im_file"][i], shape)
            if self.args.save_json and not self.training:
                self._truth.add(batch["im_file"][i], shape, true_boxes.numpy(), true_cls.numpy())

    def _count(self, found: Tensor, true_boxes: Tensor, true_cls: Tensor) -> None:
        if len(true_cls) and int(true_cls.max()) >= self.nc:
            raise ValueError(
                f"labels of {self.data.get('yaml_file', 'the data')} have the class {int(true_cls.max())}, the network "
                f"knows only {self.nc} ({', '.join(self.names.values())}); give data it was trained for, or classes="
            )
        hits = np.zeros((len(found), len(self.iouv)), bool)
        if len(found) and len(true_cls):
            iou = box_iou(true_boxes, found[:, :4])
            hits = np.asarray(match_predictions(found[:, 5], true_cls, iou, self.iouv))
        self.stats["tp"].append(hits)
        self.stats["conf"].append(found[:, 4].numpy())
        self.stats["pred_cls"].append(found[:, 5].numpy())
        self.stats["target_cls"].append(true_cls.numpy())
        self._images_with[np.unique(true_cls.numpy().astype(int))] += 1
        if self.args.plots:
            self.confusion_matrix.process_batch(found, true_boxes, true_cls)

    def get_stats(self) -> dict[str, float]:
        stats = {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in self.stats.items()}
        self._instances = np.bincount(stats["target_cls"].astype(int), minlength=self.nc)
        if len(stats["tp"]):
            self.metrics.process(**stats)
        return self.metrics.results_dict

    def get_desc(self) -> str:
        columns = "".join(f"{x:>11}" for x in ("Images", "Instances", "Box(P", "R", "mAP50", "mAP50-95)"))
        return f"{'Class':>22}{columns}"

    def print_results(self) -> None:
        LOGGER.info(self.get_desc()) if not self.training else None
        LOGGER.info(self._row("all", self.seen, self._instances.sum(), self.metrics.mean_results()))
        if self._instances.sum() == 0:
            LOGGER.warning(f"There are no labels in the split '{self.args.split}'; all metrics are 0")
        if self.args.verbose and not self.training and self.nc > 1:
            for i, c in enumerate(self.metrics.ap_class_index):
                row = self._row(self.names[c], self._images_with[c], self._instances[c], self.metrics.class_result(i))
                LOGGER.info(row)
        if not self.training:
            LOGGER.info(self._speed_line)

    @staticmethod
    def _row(name: str, images: int, instances: int, values: Any) -> str:
        return f"{name:>22}{images:>11}{instances:>11}" + "".join(f"{v:>11.3g}" for v in values)

    def _write(self, found: Tensor, file: str, shape: tuple[int, int]) -> None:
        if self.training:
            return
        if self.args.save_json:
            self._add_json(found, file)
        if self.args.save_txt:
            lines = label_lines([Boxes(found, shape)], save_conf=bool(self.args.save_conf))
            write_label_file(self.save_dir / "labels" / f"{Path(file).stem}.txt", lines)

    def _add_json(self, found: Tensor, file: str) -> None:
        image_id = coco.image_id(file)
        for box, row in zip(xyxy2ltwh(found[:, :4]).tolist(), found.tolist(), strict=True):
            self.jdict.append(
                {
                    "image_id": image_id,
                    "category_id": int(row[5]),
                    "bbox": [round(x, 3) for x in box],
                    "score": round(row[4], 5),
                }
            )

    def _write_json(self) -> None:
        """predictions.json, the labels in the same form (instances.json), and what COCO's evaluation makes of them."""
        super()._write_json()
        if not self.args.save_json or self.training:
            return
        self.save_dir.mkdir(parents=True, exist_ok=True)
        self._truth.write(self.save_dir / "instances.json")
        try:
            self.metrics.coco = coco.evaluate(self._truth.as_dict(), self.jdict)
        except (ImportError, coco.CocoError) as e:
            LOGGER.warning(f"COCO's metrics are left out. {e}")
        else:
            LOGGER.info(coco.table(self.metrics.coco))

    def plot_batch(self, batch: dict[str, Any], preds: list[Tensor], ni: int) -> None:
        from ultralytics.utils.plotting import plot_images

        common = {"paths": batch["im_file"], "names": self.names}
        path = self.save_dir / f"val_batch{ni}_labels.jpg"
        plot_images(batch["img"], batch["batch_idx"], batch["cls"], batch["bboxes"], path=path, **common)
        rows = torch.cat(preds)
        index = torch.repeat_interleave(torch.arange(len(preds)), torch.tensor([len(p) for p in preds]))
        path = self.save_dir / f"val_batch{ni}_pred.jpg"
        boxes, confs, classes = rows[:, :4], rows[:, 4], rows[:, 5]
        plot_images(batch["img"], index, classes, boxes, path=path, confs=confs, box_format="xyxy", **common)

    def plot_curves(self) -> None:
        from ultralytics.utils.charts import plot_confusion_matrix, plot_mc_curve, plot_pr_curve

        folder, box, names = self.save_dir, self.metrics.box, self.names
        matrix = self.confusion_matrix.matrix
        plot_confusion_matrix(matrix, names, folder / "confusion_matrix.png")
        plot_confusion_matrix(matrix, names, folder / "confusion_matrix_normalized.png", normalize=True)
        classes = self.metrics.ap_class_index
        if not len(classes):
            return
        plot_pr_curve(box.px, box.prec_values, box.ap50, classes, names, folder / "PR_curve.png")
        curves = {"F1": box.f1_curve, "Precision": box.p_curve, "Recall": box.r_curve}
        for label, curve in curves.items():
            short = label if label == "F1" else label[0]
            plot_mc_curve(box.px, curve, classes, names, folder / f"{short}_curve.png", ylabel=label)


class DetectionPredictor(BasePredictor):
    """Boxes of whatever source is given."""

    def postprocess(self, preds: Any, img: Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        found = non_max_suppression(
            preds[0] if isinstance(preds, list | tuple) else preds,
            self.args.conf,
            self.args.iou,
            classes=self.args.classes,
            agnostic=bool(self.args.agnostic_nms),
            max_det=self.args.max_det,
        )
        results = []
        for boxes, image, path in zip(found, orig_imgs, self.batch[0], strict=True):
            boxes[:, :4] = scale_boxes(img.shape[2:], boxes[:, :4], image.shape[:2])
            results.append(Results(image, path=path, names=self.model.names, boxes=boxes))
        return results
