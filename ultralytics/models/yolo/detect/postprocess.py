"""From the output of a detection network to the detections of each image, with or without non-maximum suppression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ultralytics.engine.protocols import Outputs
from ultralytics.nn.modules import Detect
from ultralytics.utils import IterableSimpleNamespace
from ultralytics.utils.nms import non_max_suppression


def detections(
    preds: Outputs,
    args: IterableSimpleNamespace,
    *,
    agnostic: bool,
    multi_label: bool = False,
    nc: int = 0,
    rotated: bool = False,
) -> list[Tensor]:
    """Outputs of a network in evaluation mode -> per image (n, 6 + E) corners in pixels, confidence, class, extras.

    The output of an end-to-end head (YOLOv10) has one prediction per instance: it is filtered only, and `iou` has no
    effect.

    Args:
        preds: (predictions, raw maps) as the heads return them, or the predictions alone.
        args: conf, iou, classes and max_det.
        agnostic: boxes suppress boxes of other classes, too.
        multi_label: one detection for every class above the threshold instead of the best class of each box.
        nc: number of classes; 0 if the output has no other channels after the box.
        rotated: the last channel is the angle of the box; rows have center, width and height in place of corners.
    """
    output: Any = preds[0] if isinstance(preds, list | tuple) else preds
    if is_end_to_end(preds):
        return filter_detections(output, args.conf, args.classes, args.max_det)
    return non_max_suppression(
        output,
        args.conf,
        args.iou,
        classes=args.classes,
        agnostic=agnostic,
        multi_label=multi_label,
        max_det=args.max_det,
        nc=nc,
        rotated=rotated,
    )


def is_end_to_end(preds: Outputs) -> bool:
    """Whether the outputs are those of a head that needs no suppression: its raw maps are those of two branches."""
    return (
        isinstance(preds, list | tuple) and len(preds) > 1 and isinstance(preds[1], Mapping) and "one2one" in preds[1]
    )


def filter_detections(output: Tensor, conf: float, classes: Sequence[int] | None, max_det: int) -> list[Tensor]:
    """The detections above a confidence and of some classes, at most `max_det` per image.

    Args:
        output: (B, D, 6) corners, confidence, class; highest confidence first.
        conf: 0..1; confidences must be above it, and NaN never is.
        classes: class indices to keep; None keeps all.
        max_det: maximum number of detections per image.

    Returns:
        B tensors (n, 6) in at least float32.
    """
    if output.dtype in (torch.float16, torch.bfloat16):
        output = output.float()
    keep = output[..., 4] > conf
    if classes is not None:
        keep &= torch.isin(output[..., 5], torch.as_tensor(classes, device=output.device).to(output))
    return [image[kept][:max_det] for image, kept in zip(output, keep, strict=True)]


def allow_detections(network: nn.Module, max_det: int) -> None:
    """Let an end-to-end head return `max_det` detections per image, if that is more than its default."""
    layers = getattr(network, "model", None)
    head = layers[-1] if isinstance(layers, nn.Sequential) else None
    if isinstance(head, Detect) and head.end2end:
        vars(head)["max_det"] = max(max_det, Detect.max_det)
