"""Non-maximum suppression: from the raw boxes and class scores of a model to the detections of each image.

Dimensions: B images, A anchors, nc classes, E extra channels (mask coefficients, keypoints), n detections.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ultralytics.utils.boxes import xywh2xyxy
from ultralytics.utils.rotated_boxes import nms_rotated

_FIRST_PREFIX = 512  # candidates processed first; of 512..4096 the fastest for untrained models, equal for trained ones
_GROWTH = 2  # ratio of the lengths of successive prefixes


def non_max_suppression(
    prediction: Tensor | Sequence[Tensor],
    conf_thres: float = 0.25,
    iou_thres: float = 0.45,
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
    multi_label: bool = False,
    labels: Sequence[Tensor] = (),
    max_det: int = 300,
    nc: int = 0,
    *,
    max_nms: int = 30000,
    max_wh: int = 7680,
    rotated: bool = False,
) -> list[Tensor]:
    """The boxes of each image that no box of higher score and the same class overlaps, highest score first.

    There is no time limit; 8.3.0 returns empty results for the rest of a batch if it is slow. A last dimension of 6 is
    six anchors, not an end-to-end output.

    Args:
        prediction: (B, 4 + nc + E, A): xywh in pixels, class scores, extras, of which with `rotated` the last is the
            angle in radians; not changed. Of a sequence the first element is used.
        conf_thres: 0..1; scores must be above it, and NaN never is.
        iou_thres: 0..1; a box is suppressed if its IoU with a box of higher score is above it. Oriented boxes are
            compared by ProbIoU, see `nms_rotated`.
        classes: class indices to keep; None keeps all.
        agnostic: boxes suppress boxes of other classes, too.
        multi_label: one detection for every (box, class) above the threshold instead of the best class of each box.
        labels: per image (k, 5) class, xywh in pixels, added as boxes of score 1.
        max_det: maximum number of detections per image.
        nc: number of classes; 0 means all channels after the box, and with `rotated` before the angle.
        max_nms: maximum number of candidates per image; those with the highest scores are used.
        max_wh: offset in pixels between the boxes of different classes; must exceed the image size.
        rotated: the boxes are oriented.

    Returns:
        B tensors (n, 6 + E): xyxy (with `rotated` xywh) in pixels, score, class, extras; float32, or float64 if the
        input is. Equal scores keep the order of anchors, then classes.

    Raises:
        ValueError: a threshold outside 0..1, or a `prediction` that does not have three dimensions.
    """
    for name, value in (("conf_thres", conf_thres), ("iou_thres", iou_thres)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value} is outside 0..1")
    pred = prediction if isinstance(prediction, Tensor) else prediction[0]
    if pred.ndim != 3:
        raise ValueError(f"expected a prediction (B, 4 + nc + extras, A), got shape {tuple(pred.shape)}")
    nc = nc or pred.shape[1] - (5 if rotated else 4)
    if pred.dtype in (torch.float16, torch.bfloat16):
        pred = pred.float()  # half precision cannot represent positions offset by class * max_wh
    kept_classes = None if classes is None else torch.as_tensor(classes, device=pred.device)
    candidate = pred[:, 4 : 4 + nc].amax(1) > conf_thres  # (B, A); an anchor with a NaN score is dropped
    detections = []
    for i, image in enumerate(pred):
        raw = image[:, candidate[i].nonzero().flatten()].T  # (n, 4 + nc + E)
        if len(labels) and len(labels[i]):
            raw = torch.cat((raw, _labels_as_raw(labels[i], raw, nc)))
        rows = _candidates(raw, nc, conf_thres, multi_label and nc > 1, kept_classes, max_nms)
        detections.append(_suppress(rows, 0 if agnostic else max_wh, iou_thres, max_det, rotated))
    return detections


def _candidates(raw: Tensor, nc: int, conf: float, multi_label: bool, classes: Tensor | None, limit: int) -> Tensor:
    """Raw boxes (n, 4 + nc + E) -> at most `limit` rows (., 6 + E) xywh, score, class, extras, highest score first."""
    scores = raw[:, 4 : 4 + nc]
    # `index` counts (box, class) pairs, box by box
    if multi_label:
        flat = scores.flatten()
        index = (flat > conf).nonzero().flatten()
        score = flat[index]
    else:
        score, cls = scores.max(1)
        index = torch.arange(len(raw), device=raw.device) * nc + cls
    if classes is not None:
        kept = torch.isin(index % nc, classes)
        index, score = index[kept], score[kept]
    if len(score) > limit:  # an untrained model yields every class of every box; sorting all of them is slow
        kept = score >= score.topk(limit).values[-1]
        index, score = index[kept], score[kept]
    order = score.argsort(descending=True, stable=True)[:limit]
    index = index[order]
    best = raw[index // nc]
    cls = (index % nc).to(raw.dtype)
    return torch.cat((best[:, :4], score[order, None], cls[:, None], best[:, 4 + nc :]), 1)


def _labels_as_raw(labels: Tensor, like: Tensor, nc: int) -> Tensor:
    """Labels (k, 5) class, xywh as rows of the raw prediction with score 1."""
    raw = like.new_zeros(len(labels), like.shape[1])
    raw[:, :4] = labels[:, 1:5]
    raw[torch.arange(len(labels)), labels[:, 0].long() + 4] = 1.0
    return raw


def _suppress(rows: Tensor, max_wh: int, iou_thres: float, max_det: int, rotated: bool) -> Tensor:
    """The first `max_det` rows that are not suppressed, of rows (n, 6 + E) from `_candidates`.

    Whether a box is suppressed depends on boxes of higher score only, so a prefix that yields `max_det` boxes is
    sufficient. An untrained model has tens of thousands of candidates, and the cost is quadratic.
    """
    boxes, scores = rows[:, :4] if rotated else xywh2xyxy(rows[:, :4]), rows[:, 4]
    rows = torch.cat((boxes, rows[:, 4:]), 1)
    offset = rows[:, 5:6] * max_wh
    if rotated:
        boxes = torch.cat((boxes[:, :2] + offset, boxes[:, 2:], rows[:, -1:]), 1)  # xywhr
    else:
        boxes = boxes + offset
    suppression = nms_rotated if rotated else _nms
    length = max(_FIRST_PREFIX, max_det)
    while True:
        kept = suppression(boxes[:length], scores[:length], iou_thres)
        if len(kept) >= max_det or length >= len(boxes):
            return rows[kept[:max_det]]
        length *= _GROWTH


def _nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes that are kept; `boxes` are upright corners."""
    from torchvision.ops import nms  # importing torchvision takes as long as importing the rest of the package

    kept: Tensor = nms(boxes, scores, threshold)
    return kept
