"""Types of samples and batches, and the function that collates one into the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor
from torch.utils.data import default_collate

from ultralytics.data.letterbox import RatioPad

Shape = tuple[int, int]  # h, w


class _Tensors(TypedDict):
    img: Tensor
    cls: Tensor
    bboxes: Tensor
    batch_idx: Tensor


class SampleTensors(_Tensors, total=False):
    """What `Format` makes; see there. n instances.

    img: (3, H, W) uint8; cls: (n, 1); bboxes: (n, 4) xywh or (n, 5) xywhr; batch_idx: (n,) zeros; masks: uint8 or int32
    (1, h, w) or (n, h, w); keypoints: (n, nk, 3).
    """

    masks: Tensor
    keypoints: Tensor


class _Facts(TypedDict):
    im_file: str
    ori_shape: Shape
    resized_shape: Shape


class Sample(_Facts, SampleTensors, total=False):
    """One image with its labels: `im_file`, `ori_shape` of the file, `resized_shape` of `img`, the tensors, and in
    validation `ratio_pad`, the scale from file to image and the padding."""

    ratio_pad: RatioPad


class Batch(_Tensors, total=False):
    """B samples with N instances in all.

    img: (B, 3, H, W) uint8 RGB in channels-last memory; cls: (N, 1); bboxes: (N, 4) xywh as fractions, or (N, 5) xywhr;
    batch_idx: (N,) position of each instance's image in the batch; masks: (B, h, w) or (N, h, w); keypoints: (N, nk, 3)
    x, y as fractions, and visibility; all float32 but img and masks. The other keys have one item for each image.
    """

    masks: Tensor
    keypoints: Tensor
    im_file: tuple[str, ...]
    ori_shape: list[Shape]
    resized_shape: list[Shape]
    ratio_pad: list[RatioPad]


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples, all of one shape and schema, as a batch."""
    rows = default_collate([sample["img"].permute(1, 2, 0) for sample in samples])  # into shared memory in a worker
    counts = torch.tensor([len(sample["cls"]) for sample in samples])
    batch: Batch = {
        "im_file": tuple(sample["im_file"] for sample in samples),
        "ori_shape": [sample["ori_shape"] for sample in samples],
        "resized_shape": [sample["resized_shape"] for sample in samples],
        "img": rows.permute(0, 3, 1, 2),  # (B, H, W, 3) -> (B, 3, H, W)
        "cls": torch.cat([sample["cls"] for sample in samples]),
        "bboxes": torch.cat([sample["bboxes"] for sample in samples]),
        "batch_idx": torch.arange(len(samples), dtype=torch.float32).repeat_interleave(counts),
    }
    if "ratio_pad" in samples[0]:
        batch["ratio_pad"] = [sample["ratio_pad"] for sample in samples]
    if "masks" in samples[0]:
        batch["masks"] = torch.cat([sample["masks"] for sample in samples])
    if "keypoints" in samples[0]:
        batch["keypoints"] = torch.cat([sample["keypoints"] for sample in samples])
    return batch
