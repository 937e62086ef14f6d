"""Defaults of the options, and facts about options and tasks, under the names that 8.3.0 has for them.

default.yaml is read when this module is imported, which only scripts cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ultralytics.cfg.config import default_cfg, load_cfg_file
from ultralytics.cfg.options import DEFAULT_YAML
from ultralytics.tasks import TASKS

DEFAULT_CFG_PATH = DEFAULT_YAML
DEFAULT_CFG = default_cfg()
DEFAULT_CFG_DICT: dict[str, Any] = dict(vars(default_cfg()))
DEFAULT_CFG_KEYS = DEFAULT_CFG_DICT.keys()

TASK2DATA = {
    "detect": "coco8.yaml",
    "segment": "coco8-seg.yaml",
    "classify": "imagenet10",
    "pose": "coco8-pose.yaml",
    "obb": "dota8.yaml",
}
TASK2MODEL = {name: f"yolov8n{task.suffix}.pt" for name, task in TASKS.items()}
TASK2METRIC = {
    "detect": "metrics/mAP50-95(B)",
    "segment": "metrics/mAP50-95(M)",
    "classify": "metrics/accuracy_top1",
    "pose": "metrics/mAP50-95(P)",
    "obb": "metrics/mAP50-95(B)",
}
MODELS = set(TASK2MODEL.values())

# the groups by which 8.3.0 checks values; options.py has the rules that are used here
CFG_FLOAT_KEYS = {"warmup_epochs", "box", "cls", "dfl", "degrees", "shear", "time", "workspace", "batch"}
CFG_FRACTION_KEYS = {
    *("dropout", "iou", "lr0", "lrf", "momentum", "weight_decay", "warmup_momentum", "warmup_bias_lr"),
    *("label_smoothing", "hsv_h", "hsv_s", "hsv_v", "translate", "scale", "perspective", "flipud", "fliplr"),
    *("bgr", "mosaic", "mixup", "copy_paste", "conf", "fraction"),
}
CFG_INT_KEYS = {
    *("epochs", "patience", "workers", "seed", "close_mosaic", "mask_ratio", "max_det", "vid_stride", "line_width"),
    *("nbs", "save_period"),
}
CFG_BOOL_KEYS = {
    *("save", "exist_ok", "verbose", "deterministic", "single_cls", "rect", "cos_lr", "overlap_mask", "val"),
    *("save_json", "save_hybrid", "half", "dnn", "plots", "show", "save_txt", "save_conf", "save_crop"),
    *("save_frames", "show_labels", "show_conf", "visualize", "augment", "agnostic_nms", "retina_masks"),
    *("show_boxes", "keras", "optimize", "int8", "dynamic", "simplify", "nms", "profile", "multi_scale"),
}


def cfg2dict(cfg: str | Path | Mapping[str, Any] | SimpleNamespace) -> dict[str, Any]:
    """Options as a dict, whether they are given as a YAML file, a mapping or a namespace."""
    if isinstance(cfg, (str, Path)):
        return load_cfg_file(cfg)
    return vars(cfg) if isinstance(cfg, SimpleNamespace) else dict(cfg)
