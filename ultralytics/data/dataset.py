"""The dataset of images with labels: from an image's index, or the loader's `SampleSpec`, to a sample.

A `SampleSpec` says everything that a training sample depends on: the image, the other images of its mosaic and mixup,
and the seed of its random numbers. The same spec gives the same sample in any process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ultralytics.cfg import get_cfg
from ultralytics.data.augment import NUM_MIX, TrainAugment
from ultralytics.data.base import BaseDataset, SampleSpec, option
from ultralytics.data.batch import Sample, collate
from ultralytics.data.dataset_config import DatasetError
from ultralytics.data.file_stamps import IMAGE_COLUMNS
from ultralytics.data.format import Format
from ultralytics.data.image_cache import ImageCache
from ultralytics.data.images import find_images
from ultralytics.data.instances import Instances
from ultralytics.data.label_table import CORRUPT, LabelTable
from ultralytics.data.label_views import LabelView, PathView
from ultralytics.data.labels import load_labels
from ultralytics.data.letterbox import LetterBox
from ultralytics.data.mix import ImageAndInstances
from ultralytics.tasks import LabelSchema
from ultralytics.utils import LOGGER

_CACHES: dict[bool | str | None, str | None] = {True: "ram", "ram": "ram", "disk": "disk", False: None, None: None}


class YOLODataset(BaseDataset[Sample]):
    """Images with labels, for training (`augment=True`) or validation.

    Attributes:
        im_files: paths of the usable images, in the order of the indices.
        labels: what is known about each image, as a sequence of dicts made on demand.
        table: the checked labels; `rows` are its rows of the usable images.
        shapes: (n, 2) h, w of the files.
        batch_shapes: (batches, 2) H, W of each batch, in rect mode.
        images: decodes and keeps images.
        mosaic: whether samples may be mosaics.
    """

    collate_fn = staticmethod(collate)

    def __init__(
        self,
        img_path: str | Path | Sequence[str],
        *,
        data: Mapping[str, Any],
        imgsz: int = 640,
        batch_size: int = 16,
        augment: bool = False,
        hyp: object | None = None,
        rect: bool = False,
        stride: int = 32,
        pad: float = 0.0,
        single_cls: bool = False,
        classes: Sequence[int] | int | None = None,
        fraction: float = 1.0,
        cache: bool | str | None = False,
        prefix: str = "",
        schema: LabelSchema = LabelSchema(),  # noqa: B008 - frozen
    ) -> None:
        """Find, check and order the images.

        Args:
            img_path: folder, .txt list, or several of them.
            data: what `check_det_dataset` returned; `names` is used, and `flip_idx` for keypoints.
            imgsz: longer side of the images, pixels.
            batch_size: images per batch; in rect mode groups of this size share a shape.
            augment: samples for training.
            hyp: options of the augmentation and of masks (a namespace or mapping); the defaults if None.
            rect: batches of images of similar shape, with little padding; neither mosaic nor mixup.
            stride: batch shapes are multiples of it.
            pad: share of a stride that is added to a batch's shape before rounding up.
            single_cls: all instances count as class 0.
            classes: instances of other classes are left out.
            fraction: use only the first part of the images.
            cache: True or "ram" keeps all decoded images in memory if they fit, "disk" in the user's settings folder.
            prefix: goes before messages.
            schema: what a line of a label file holds, and with it which tensors a sample has (see `Format`).

        Raises:
            DatasetNotFoundError, DatasetError: see `find_images` and `load_labels`.
        """
        files = find_images(img_path)
        if not 0 < fraction <= 1:
            raise DatasetError(f"fraction is {fraction}, but must be above 0 and at most 1")
        if cache not in _CACHES:
            raise DatasetError(f"cache is {cache!r}, but must be True, False, 'ram' or 'disk'")
        files = files[: max(round(len(files) * fraction), 1)]
        self.table: LabelTable = load_labels(files, len(data["names"]), prefix, schema)
        self.rows = np.flatnonzero(self.table.status != CORRUPT)  # row of the table for each index
        self.data, self.imgsz, self.augment, self.stride, self.prefix = data, imgsz, augment, stride, prefix
        self.schema = schema
        self.batch_size = min(batch_size, len(self.rows))
        self.single_cls = single_cls
        self.classes = None if classes is None else np.atleast_1d(np.asarray(classes, np.int32))
        self.rect = rect
        if rect:
            aspects = self.table.shapes[self.rows].astype(np.float64)
            order, self.batch_shapes = rect_batches(aspects, self.batch_size, imgsz, stride, pad)
            self.rows = self.rows[order]
        self.cache = _CACHES[cache]
        self.images = ImageCache(
            self.im_files, self.shapes, imgsz, batch_size=self.batch_size, augment=augment, cache=self.cache,
            stamps=self.table.stamps[self.rows, :IMAGE_COLUMNS], prefix=prefix,
        )  # fmt: skip
        self.format = Format(schema, int(option(hyp, "mask_ratio", 4)), bool(option(hyp, "overlap_mask", True)))
        self.letterbox = LetterBox((imgsz, imgsz), scaleup=False)
        self.augmenter = self._make_augmenter(hyp) if augment else None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ni(self) -> int:
        """Number of images."""
        return len(self.rows)

    @property
    def mosaic(self) -> bool:
        """Whether samples may be mosaics."""
        return self.augmenter is not None and self.augmenter.mosaic_p > 0

    @property
    def num_mix(self) -> int:
        """How many other images a training sample may need."""
        return self.augmenter.num_mix if self.augmenter is not None else NUM_MIX

    @property
    def im_files(self) -> PathView:
        """Paths of the images."""
        return PathView(self.table, self.rows)

    @property
    def labels(self) -> LabelView:
        """Labels as dicts in the form of 8.3.0."""
        return LabelView(self.table, self.rows, self._select)

    @cached_property
    def shapes(self) -> np.ndarray:
        """(n, 2) h, w of the files."""
        return self.table.shapes[self.rows]

    def instances_of(self, file: str) -> Instances | None:
        """The instances of an image by its path, in pixels of the file; None if it is not in the dataset."""
        index = self._index_of.get(file)
        return None if index is None else self._instances(index, self._original_shape(index))

    @cached_property
    def _index_of(self) -> dict[str, int]:
        return {file: index for index, file in enumerate(self.im_files)}

    def close_mosaic(self, hyp: object | None = None) -> None:
        """From now on images are not combined; a loader with worker processes must be reset to notice."""
        if self.augmenter is not None:
            if hyp is not None:
                self.augmenter = self._make_augmenter(hyp)
            self.augmenter.close_mosaic()

    def mix_indices(self, order: np.ndarray, position: int, shares: np.ndarray) -> tuple[tuple[int, int], ...]:
        """See `BaseDataset`; all images if they are kept in memory, else those of a window of the epoch."""
        if self.images.whole:
            return tuple((i, i) for i in (shares * len(self)).astype(int).tolist())
        low, high = self.images.mix_window(position)
        positions = (low + shares * (min(high, len(order)) - low)).astype(int)
        return tuple(zip(order[positions].tolist(), positions.tolist(), strict=True))

    def __getitem__(self, item: int | SampleSpec) -> Sample:
        """One sample; a plain index of a training set draws a spec from numpy's global generator."""
        if self.augmenter is None:
            return self._plain_sample(item.image_index if isinstance(item, SampleSpec) else int(item))
        spec = item if isinstance(item, SampleSpec) else self._draw_spec(int(item))
        images = ((spec.image_index, spec.position), *spec.mix_indices)
        shape = self._rect_shape(spec.image_index)
        image, instances = self.augmenter(lambda k: self._load(*images[k]), np.random.default_rng(spec.seed), shape)
        return {
            "im_file": self.im_files[spec.image_index],
            "ori_shape": self._original_shape(spec.image_index),
            "resized_shape": (image.shape[0], image.shape[1]),
            **self.format(image, instances),
        }

    # ------------------------------------------------------------------------------------------------ parts of a sample

    def _plain_sample(self, index: int) -> Sample:
        image, instances = self._load(index, index)
        h0, w0 = self._original_shape(index)
        h, w = image.shape[:2]
        letterbox = LetterBox(self._rect_shape(index) or self.letterbox.new_shape, scaleup=False)
        (_, (top, _, left, _), scale), fitted = letterbox.geometry((h, w)), letterbox(image=image)
        return {
            "im_file": self.im_files[index],
            "ori_shape": (h0, w0),
            "resized_shape": (fitted.shape[0], fitted.shape[1]),
            "ratio_pad": ((h / h0, w / w0), (left, top)),
            **self.format(cv2.cvtColor(fitted, cv2.COLOR_BGR2RGB), instances.moved(scale, (left, top))),
        }

    def _draw_spec(self, index: int) -> SampleSpec:
        mix = tuple((i, i) for i in np.random.randint(0, len(self), self.num_mix).tolist())
        return SampleSpec(index, index, int(np.random.randint(0, 1 << 31)), mix)

    def _load(self, index: int, position: int) -> ImageAndInstances:
        """An image at training size and its instances in pixels; gray without instances if it can't be decoded."""
        image = self.images(index, position)
        if image is None:
            image = self.images.gray(index)
            return image, self._instances(index, image.shape).take(np.zeros(0, np.int64))
        return image, self._instances(index, image.shape)

    def _instances(self, index: int, shape: Sequence[int]) -> Instances:
        instances = self.table.instances(int(self.rows[index]), (shape[0], shape[1]))
        if self.classes is None and not self.single_cls:
            return instances
        mask, cls = self._select(instances.cls)
        return replace(instances.keep(mask), cls=cls)

    def _select(self, cls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which instances with the classes `cls` (n,) are used, and the class each of these counts as, float32."""
        mask = np.ones(len(cls), bool) if self.classes is None else np.isin(cls, self.classes)
        cls = cls[mask].astype(np.float32)
        return mask, np.zeros_like(cls) if self.single_cls else cls

    def _original_shape(self, index: int) -> tuple[int, int]:
        h, w = self.shapes[index].tolist()
        return h, w

    def _rect_shape(self, index: int) -> tuple[int, int] | None:
        if not self.rect:
            return None
        h, w = self.batch_shapes[index // self.batch_size].tolist()
        return h, w

    # ----------------------------------------------------------------------------------------------------- construction

    def _make_augmenter(self, hyp: object | None) -> TrainAugment:
        hyp = get_cfg() if hyp is None else hyp
        values = {key: float(option(hyp, key)) for key in TrainAugment.KEYS}
        flip_idx = self.data.get("flip_idx")
        if self.rect:
            values.update(mosaic=0.0, mixup=0.0)
        if self.schema.kind == "keypoints" and flip_idx is None and values["fliplr"]:
            LOGGER.warning("%sthe dataset file has no 'flip_idx', so that images are not flipped left to right "
                           "(fliplr=0)", self.prefix)  # fmt: skip
            values["fliplr"] = 0.0
        return TrainAugment(
            values,
            self.imgsz,
            copy_paste=float(option(hyp, "copy_paste", 0.0)),
            copy_paste_mode=str(option(hyp, "copy_paste_mode", "flip")),
            flip_idx=flip_idx,
            clip_outlines=self.schema.kind == "polygon",
        )


def rect_batches(
    shapes: np.ndarray, batch_size: int, imgsz: int, stride: int, pad: float
) -> tuple[np.ndarray, np.ndarray]:
    """Images sorted by aspect, and the shape of each batch of them.

    Args:
        shapes: (n, 2) h, w of the images.
        batch_size: images per batch.
        imgsz: longer side of the images in a batch, pixels.
        stride: batch shapes are multiples of it.
        pad: share of a stride that is added before rounding up.

    Returns:
        (n,) order of the images, and (batches, 2) H, W.
    """
    aspect = shapes[:, 0] / shapes[:, 1]
    order = aspect.argsort(kind="stable")
    aspect = aspect[order]
    starts = np.arange(0, len(order), batch_size)
    low, high = np.minimum.reduceat(aspect, starts), np.maximum.reduceat(aspect, starts)
    ratio = np.ones((len(starts), 2))  # h, w as parts of imgsz
    ratio[high < 1, 0] = high[high < 1]
    ratio[low > 1, 1] = 1 / low[low > 1]
    return order, np.ceil(ratio * imgsz / stride + pad).astype(np.int64) * stride
