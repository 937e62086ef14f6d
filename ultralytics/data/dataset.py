"""The detection dataset: from a picture's number, or a ticket of the loader, to a sample; from samples to a batch.

A ticket says everything that a training sample depends on: the picture, its partners in mosaic and mixup, and the seed
of its random numbers. The same ticket gives the same sample in any process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from ultralytics.data.augment import Format, LetterBox, Picture, TrainAugment
from ultralytics.data.dataset_config import DatasetError
from ultralytics.data.images import ImageStore, available_memory, find_images, load_resized, resized_shape
from ultralytics.data.labels import CORRUPT, LabelTable, load_labels
from ultralytics.data.warp import GREY, Objects
from ultralytics.utils import LOGGER
from ultralytics.utils.settings import settings_dir

PARTNERS = 7  # pictures beside its own that a sample may need: 3 for its mosaic, 4 for the mosaic mixed in
STORE_BYTES = 512 << 20  # decoded pictures are kept up to this size without being asked for
WINDOW_BATCHES = 32  # batches whose pictures are kept when the dataset is larger than that
_TOUCH = 8  # of these, how many on each side are left alone, because other workers are just writing them


class Ticket(NamedTuple):
    """What a sample is made of."""

    number: int  # of the picture in the dataset
    position: int  # in the epoch's order, by which pictures in memory are found again
    seed: int
    partners: tuple[tuple[int, int], ...]  # (number, position) of PARTNERS others


class YOLODataset(Dataset):
    """Pictures with boxes, for training (`augment=True`) or validation.

    Attributes:
        im_files: paths of the usable pictures, in the order of the indices.
        labels: what is known about each picture, as a sequence of dicts made on demand.
        shapes: (n, 2) h, w of the files.
        batch_shapes: (batches, 2) H, W of each batch, in rect mode.
        mosaic: whether samples may be mosaics.
    """

    def __init__(
        self,
        img_path: str | Path | Sequence[str],
        *,
        data: Mapping[str, Any],
        imgsz: int = 640,
        batch_size: int = 16,
        augment: bool = False,
        hyp: Any = None,
        rect: bool = False,
        stride: int = 32,
        pad: float = 0.0,
        single_cls: bool = False,
        classes: Sequence[int] | int | None = None,
        fraction: float = 1.0,
        cache: bool | str | None = False,
        prefix: str = "",
    ) -> None:
        """Find, check and order the pictures.

        Args:
            img_path: folder, .txt list, or several of them.
            data: what `check_det_dataset` returned; `names` is used.
            imgsz: longer side of the pictures, pixels.
            batch_size: pictures of a batch; in rect mode groups of this size share a shape.
            augment: samples for training.
            hyp: settings of the augmentation (a namespace or mapping); the defaults if None.
            rect: batches of pictures of similar shape, with little grey; neither mosaic nor mixup.
            stride: batch shapes are multiples of it.
            pad: share of a stride that is added to a batch's shape before rounding up.
            single_cls: all objects count as class 0.
            classes: objects of other classes are left out.
            fraction: use only the first part of the pictures.
            cache: True or "ram" keeps all decoded pictures in memory if they fit, "disk" in the user's settings folder.
            prefix: goes before messages.

        Raises:
            DatasetNotFoundError, DatasetError: see `find_images` and `load_labels`.
        """
        images = find_images(img_path)
        if not 0 < fraction <= 1:
            raise DatasetError(f"fraction is {fraction}, but must be above 0 and at most 1")
        images = images[: max(round(len(images) * fraction), 1)]
        self.table: LabelTable = load_labels(images, len(data["names"]), prefix)
        self.rows = np.flatnonzero(self.table.status != CORRUPT)  # row of the table for each index
        self.data, self.imgsz, self.augment, self.stride, self.prefix = data, imgsz, augment, stride, prefix
        self.batch_size = min(batch_size, len(self.rows))
        self.single_cls = single_cls
        self.classes = None if classes is None else np.atleast_1d(np.asarray(classes, np.int32))
        self.rect = rect
        if rect:
            self._sort_into_batches(pad)
        self.cache = {True: "ram", False: None, None: None}.get(cache, cache)  # type: ignore[arg-type]
        if self.cache not in (None, "ram", "disk"):
            raise DatasetError(f"cache is {cache!r}, but must be True, False, 'ram' or 'disk'")
        self.store = self._make_store()
        self.format = Format()
        self.letterbox = LetterBox((imgsz, imgsz), scaleup=False)
        self.augmenter = self._make_augmenter(hyp) if augment else None
        self._unreadable: set[int] = set()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ni(self) -> int:
        """Number of pictures."""
        return len(self.rows)

    @property
    def mosaic(self) -> bool:
        return self.augmenter is not None and self.augmenter.mosaic_p > 0

    @property
    def im_files(self) -> Sequence[str]:
        return _Files(self.table, self.rows)

    @property
    def labels(self) -> Sequence[dict[str, Any]]:
        return _Labels(self)

    @cached_property
    def shapes(self) -> np.ndarray:
        return self.table.shapes[self.rows]

    def close_mosaic(self, hyp: Any = None) -> None:
        """From now on no mosaic and no mixup; a loader with worker processes must be reset to notice."""
        if self.augmenter is not None:
            if hyp is not None:
                self.augmenter = self._make_augmenter(hyp)
            self.augmenter.mosaic_p = self.augmenter.mixup_p = 0.0

    def partner_window(self, position: int) -> tuple[int, int]:
        """Positions (from, up to) of the epoch's order among which a sample's partners are drawn.

        A dataset that fits the memory is one window. Otherwise the window trails the sample, so that its pictures are
        still decoded; it depends on nothing but the dataset and the batch size.
        """
        n, size = len(self), self._window
        if size >= n:
            return 0, n
        margin = size * _TOUCH // WINDOW_BATCHES
        start = min(max(position - size + margin, 0), n - size)
        return start, start + size - 2 * margin

    def __getitem__(self, item: int | Ticket) -> dict[str, Any]:
        """One sample; a plain index of a training set draws a ticket from numpy's global generator."""
        if self.augmenter is None:
            return self._plain_sample(item.number if isinstance(item, Ticket) else int(item))
        ticket = item if isinstance(item, Ticket) else self._draw_ticket(int(item))
        keys = ((ticket.number, ticket.position), *ticket.partners)
        shape = self._rect_shape(ticket.number)
        image, objects = self.augmenter(lambda k: self._picture(*keys[k]), np.random.default_rng(ticket.seed), shape)
        h, w = self.table.shapes[self.rows[ticket.number]].tolist()
        facts = {"im_file": self.im_files[ticket.number], "ori_shape": (h, w), "resized_shape": image.shape[:2]}
        return {**facts, **self.format(image, objects)}

    @staticmethod
    def collate_fn(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Samples as a batch.

        Returns:
            `img` uint8 (B, 3, H, W) RGB in channels-last memory, `cls` (N, 1), `bboxes` (N, 4) xywh as fractions,
            `batch_idx` (N,) picture of each object, all float32; `im_file`, `ori_shape`, `resized_shape` and, in
            validation, `ratio_pad` one for each picture.
        """
        batch: dict[str, Any] = {"im_file": tuple(sample["im_file"] for sample in samples)}
        for key in ("ori_shape", "resized_shape", "ratio_pad"):
            if key in samples[0]:
                batch[key] = [sample[key] for sample in samples]
        rows = default_collate([sample["img"].permute(1, 2, 0) for sample in samples])  # into shared memory in a worker
        batch["img"] = rows.permute(0, 3, 1, 2)  # (B, H, W, 3) -> (B, 3, H, W)
        for key in ("cls", "bboxes"):
            batch[key] = torch.cat([sample[key] for sample in samples])
        counts = torch.tensor([len(sample["cls"]) for sample in samples])
        batch["batch_idx"] = torch.arange(len(samples), dtype=torch.float32).repeat_interleave(counts)
        return batch

    # ------------------------------------------------------------------------------------------------ parts of a sample

    def _plain_sample(self, index: int) -> dict[str, Any]:
        image, objects = self._picture(index, index)
        h0, w0 = self._original(index)
        h, w = image.shape[:2]
        labels: dict[str, Any] = {"img": image, "objects": objects, "ratio_pad": (h / h0, w / w0)}
        shape = self._rect_shape(index)
        placed = self.letterbox({**labels, "rect_shape": shape} if shape else labels)
        rgb = cv2.cvtColor(placed["img"], cv2.COLOR_BGR2RGB)
        return {
            "im_file": self.im_files[index],
            "ori_shape": (h0, w0),
            "resized_shape": placed["resized_shape"],
            "ratio_pad": placed["ratio_pad"],
            **self.format(rgb, placed["objects"]),
        }

    def _draw_ticket(self, index: int) -> Ticket:
        partners = tuple((i, i) for i in np.random.randint(0, len(self), PARTNERS).tolist())
        return Ticket(index, index, int(np.random.randint(0, 1 << 31)), partners)

    def _picture(self, index: int, position: int) -> Picture:
        """Picture at training size and its objects in pixels, from memory if it is there."""
        slot = index if self.whole else position % self._window
        kept = self.store.get(slot, index) if self.store is not None else None
        if kept is None:
            kept = load_resized(self.im_files[index], self.imgsz)
            if kept is None:
                return self._grey(index)
            if self.store is not None:
                self.store.put(slot, index, *kept)
        image = kept[0]
        return image, self._objects(index, image.shape[0], image.shape[1])

    def _grey(self, index: int) -> Picture:
        """In place of a picture that passed the check and cannot be decoded: nothing to see, nothing to find."""
        if index not in self._unreadable:
            self._unreadable.add(index)
            LOGGER.warning(
                "%s%s: the image can no longer be decoded; grey is used instead", self.prefix, self.im_files[index]
            )
        h0, w0 = self._original(index)
        h, w = resized_shape(h0, w0, self.imgsz)
        none = np.zeros((0, 4), np.float32)
        return np.full((h, w, 3), GREY, np.uint8), Objects(none[:, 0], none, none[:, :2], np.zeros(1, np.int64))

    def _original(self, index: int) -> tuple[int, int]:
        h, w = self.table.shapes[self.rows[index]].tolist()
        return h, w

    def _objects(self, index: int, h: int, w: int, as_written: bool = False) -> Objects:
        """The objects of a picture of h rows and w columns, or as the label file has them: xywh as fractions."""
        table, row = self.table, self.rows[index]
        first, last = table.object_offsets[row : row + 2].tolist()
        boxes = table.boxes[first:last]
        if not as_written:
            xy, half = boxes[:, :2], boxes[:, 2:] / 2
            boxes = np.concatenate([xy - half, xy + half], 1) * np.array([w, h, w, h], np.float32)
        offsets = table.point_offsets[first : last + 1]
        points = table.points[offsets[0] : offsets[-1]] * np.array([w, h], np.float32)
        cls = table.cls[first:last]
        objects = Objects(cls.astype(np.float32), boxes, points, offsets - offsets[0])
        if self.classes is not None:
            objects = objects.keep(np.isin(cls, self.classes))
        return replace(objects, cls=np.zeros_like(objects.cls)) if self.single_cls else objects

    def _rect_shape(self, index: int) -> tuple[int, int] | None:
        if not self.rect:
            return None
        h, w = self.batch_shapes[index // self.batch_size].tolist()
        return h, w

    # ----------------------------------------------------------------------------------------------------- construction

    def _make_augmenter(self, hyp: Any) -> TrainAugment:
        if hyp is None:
            from ultralytics.cfg import get_cfg  # reads default.yaml

            hyp = get_cfg()
        values = {key: hyp[key] if isinstance(hyp, Mapping) else getattr(hyp, key) for key in TrainAugment.KEYS}
        if self.rect:
            values.update(mosaic=0.0, mixup=0.0)
        return TrainAugment(values, self.imgsz)

    def _sort_into_batches(self, pad: float) -> None:
        shapes = self.table.shapes[self.rows].astype(np.float64)
        aspect = shapes[:, 0] / shapes[:, 1]
        order = aspect.argsort(kind="stable")
        self.rows, aspect = self.rows[order], aspect[order]
        starts = np.arange(0, len(self.rows), self.batch_size)
        low, high = np.minimum.reduceat(aspect, starts), np.maximum.reduceat(aspect, starts)
        ratio = np.ones((len(starts), 2))  # h, w as parts of imgsz
        ratio[high < 1, 0] = high[high < 1]
        ratio[low > 1, 1] = 1 / low[low > 1]
        self.batch_shapes = np.ceil(ratio * self.imgsz / self.stride + pad).astype(np.int64) * self.stride

    def _make_store(self) -> ImageStore | None:
        """Memory for decoded pictures: all of them, a window of the epoch, or nothing."""
        n, largest = len(self), self.imgsz * self.imgsz * 3
        size = [h * w * 3 for h, w in (resized_shape(h, w, self.imgsz) for h, w in self.shapes.tolist())]
        total = sum(size)
        self._window = min(n, max(STORE_BYTES // largest, WINDOW_BATCHES * self.batch_size))
        if total <= STORE_BYTES or self.cache:
            self._window = n
        self.whole = self._window == n
        if self.cache == "disk":
            return ImageStore(size, file=self._store_file())
        if not self.whole and not self.augment:
            return None  # validation sees each picture once
        wanted = total if self.whole else self._window * largest
        if wanted * 1.5 > available_memory():
            level = LOGGER.warning if self.cache == "ram" else LOGGER.debug
            level(
                "%stoo little memory to keep %.1f GiB of decoded images; they are decoded each time",
                self.prefix,
                wanted / 2**30,
            )
            return None
        return ImageStore(size) if self.whole else ImageStore([largest] * self._window, whole=False)

    def _store_file(self) -> Path:
        key = sha256(f"{self.imgsz}|{len(self)}".encode())
        for column in (self.table.paths, self.table.stamps, self.rows):
            key.update(np.ascontiguousarray(column).tobytes())
        return settings_dir() / "cache" / f"images-{key.hexdigest()[:20]}.bin"


class _Files(Sequence[str]):
    """Paths, taken from the table when asked for."""

    def __init__(self, table: LabelTable, rows: np.ndarray) -> None:
        self._table, self._rows = table, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._table.path(int(row)) for row in self._rows[index]]
        return self._table.path(int(self._rows[index]))


class _Labels(Sequence[dict[str, Any]]):
    """The table as a sequence of dicts, one made for each question."""

    def __init__(self, dataset: YOLODataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        objects = self._dataset._objects(index, 1, 1, as_written=True)
        offsets = objects.point_offsets.tolist()
        return {
            "im_file": self._dataset.im_files[index],
            "shape": tuple(self._dataset.shapes[index].tolist()),
            "cls": objects.cls[:, None],
            "bboxes": objects.boxes,
            "segments": [objects.points[a:b] for a, b in pairwise(offsets) if b > a],
            "normalized": True,
            "bbox_format": "xywh",
        }
