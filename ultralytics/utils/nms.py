"""Non-maximum suppression: from a network's raw boxes and class scores to the detections of each picture.

Dimensions: B pictures, A anchors, nc classes, E extra channels (mask coefficients, key points), n rows that are left.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ultralytics.utils.ops import xywh2xyxy

_FIRST_PREFIX = 512  # rows tried first; of 512 .. 4096 the fastest for untrained networks, alike for trained ones
_GROWTH = 2  # how much longer the next prefix is


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
) -> list[Tensor]:
    """The boxes of each picture that no better box of the same class covers, best first.

    There is no time limit: 8.3.0 hands out empty results for the rest of a batch when it is slow. A last dimension of 6
    is six anchors, not an end-to-end output.

    Args:
        prediction: (B, 4 + nc + E, A): xywh in pixels, class scores, extras; of a sequence the first; not changed.
        conf_thres: 0..1, a score must be above it; NaN never is.
        iou_thres: 0..1, a box is suppressed when its IoU with a better one is above it.
        classes: class numbers to keep; None keeps all.
        agnostic: boxes suppress across classes.
        multi_label: one row for every (box, class) above the threshold instead of the box's best class.
        labels: per picture (k, 5) class, xywh in pixels, added as boxes of score 1.
        max_det: most rows per picture.
        nc: number of classes; 0 means all channels after the box.
        max_nms: most rows that enter suppression, the best ones.
        max_wh: distance in pixels by which classes are moved apart; more than a picture's side.

    Returns:
        B tensors (n, 6 + E): xyxy in pixels, score, class, extras; float32, or float64 if the input is. Equal scores
        stay in the order of anchors, then classes.

    Raises:
        ValueError: a threshold outside 0..1, or `prediction` not of three dimensions.
    """
    for name, value in (("conf_thres", conf_thres), ("iou_thres", iou_thres)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value} is outside 0..1")
    pred = prediction if isinstance(prediction, Tensor) else prediction[0]
    if pred.ndim != 3:
        raise ValueError(f"a prediction is (B, 4 + nc + extras, A), not of shape {tuple(pred.shape)}")
    nc = nc or pred.shape[1] - 4
    if pred.dtype in (torch.float16, torch.bfloat16):
        pred = pred.float()  # half precision cannot hold a pixel position moved by class * max_wh
    wanted = None if classes is None else torch.as_tensor(classes, device=pred.device)
    candidate = pred[:, 4 : 4 + nc].amax(1) > conf_thres  # (B, A); a NaN among an anchor's scores drops the anchor
    found = []
    for i, image in enumerate(pred):
        raw = image[:, candidate[i].nonzero().flatten()].T  # (n, 4 + nc + E)
        if len(labels) and len(labels[i]):
            raw = torch.cat((raw, _as_raw(labels[i], raw, nc)))
        rows = _rows(raw, nc, conf_thres, multi_label and nc > 1, wanted, max_nms)
        shift = 0 if agnostic else rows[:, 5:6] * max_wh
        found.append(rows[_greedy(rows[:, :4] + shift, rows[:, 4], iou_thres, max_det)])
    return found


def _rows(raw: Tensor, nc: int, conf: float, multi_label: bool, classes: Tensor | None, limit: int) -> Tensor:
    """(n, 4 + nc + E) raw boxes -> the best (at most `limit`, 6 + E) rows box, score, class, extras, best first."""
    scores = raw[:, 4 : 4 + nc]
    # a place counts (box, class) pairs, box by box
    if multi_label:
        flat = scores.flatten()
        place = (flat > conf).nonzero().flatten()
        score = flat[place]
    else:
        score, kind = scores.max(1)
        place = torch.arange(len(raw), device=raw.device) * nc + kind
    if classes is not None:
        wanted = torch.isin(place % nc, classes)
        place, score = place[wanted], score[wanted]
    if len(score) > limit:  # an untrained network offers every class of every box; only the best need sorting
        able = score >= score.topk(limit).values[-1]
        place, score = place[able], score[able]
    order = score.argsort(descending=True, stable=True)[:limit]
    place, best = place[order], raw[place[order] // nc]
    kind = (place % nc).to(raw.dtype)
    return torch.cat((xywh2xyxy(best[:, :4]), score[order, None], kind[:, None], best[:, 4 + nc :]), 1)


def _as_raw(labels: Tensor, like: Tensor, nc: int) -> Tensor:
    """Given boxes (k, 5) class, xywh as rows of the raw prediction with score 1."""
    raw = like.new_zeros(len(labels), like.shape[1])
    raw[:, :4] = labels[:, 1:5]
    raw[torch.arange(len(labels)), labels[:, 0].long() + 4] = 1.0
    return raw


def _greedy(boxes: Tensor, scores: Tensor, iou_thres: float, max_det: int) -> Tensor:
    """Indices of the first `max_det` survivors among `boxes`, which are sorted by score.

    What happens to a box depends on better boxes only, so a prefix that already yields `max_det` survivors is the whole
    answer. An untrained network has tens of thousands of candidates, and suppression takes the square of that.
    """
    from torchvision.ops import nms  # here, because importing torchvision takes as long as the rest of this package

    length = max(_FIRST_PREFIX, max_det)
    while True:
        kept = nms(boxes[:length], scores[:length], iou_thres)
        if len(kept) >= max_det or length >= len(boxes):
            return kept[:max_det]
        length *= _GROWTH
