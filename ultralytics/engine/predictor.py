"""Prediction: read images, prepare them, run the network, turn its output into `Results`, show and write them.

What a task adds (`postprocess`) is in models/yolo/<task>/predict.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ultralytics.cfg import check_imgsz, get_cfg, get_save_dir, make_save_dir
from ultralytics.data.augment import LetterBox
from ultralytics.data.sources import Source, SourceBatch, load_source
from ultralytics.engine.callbacks import Callbacks
from ultralytics.engine.class_numbers import check_class_filter
from ultralytics.engine.feature_maps import save_feature_maps
from ultralytics.engine.file_stems import FileStems, numbered_stem
from ultralytics.engine.prediction_writer import PredictionWriter
from ultralytics.engine.results import Results
from ultralytics.engine.video_file import VideoFile
from ultralytics.nn.checkpoint import load_network
from ultralytics.nn.inference.inference_model import get_inference_model
from ultralytics.utils import LOGGER, IterableSimpleNamespace
from ultralytics.utils.files import missing_parents, remove_empty_dirs
from ultralytics.utils.ops import Profile
from ultralytics.utils.plotting import show_image
from ultralytics.utils.torch_utils import images_to_device, max_stride, select_device

Settings = Mapping[str, Any] | IterableSimpleNamespace
CallbackTable = Mapping[str, Sequence[Callable[[Any], None]]]

DEFAULT_CONF = 0.25
MANY_RESULTS = 1000  # a list of more results than this uses so much memory that stream=True is recommended
SHOW_IMAGE_MS, SHOW_FRAME_MS = 300, 1  # how long a window waits
FILE_OPTIONS = ("save", "save_frames", "save_txt", "save_crop")
STAGES = ("preprocess", "inference", "postprocess")


class BasePredictor:
    """Runs a network on sources with one set of options.

    It is made in one of two ways: as in 8.3.0 with `cfg`, `overrides` and `_callbacks`, and the network comes with
    `setup_model`, with the call, or as the option `model`; or with `model`, `args` and `callbacks`.

    Args:
        cfg: options, or a YAML file with options; the defaults if None. A network here is taken as `model`.
        overrides: options over those of `cfg`; with a network in `cfg` they are `args`.
        _callbacks: functions by event, each called with this object.
        model: the network; it is not changed, a copy with merged normalization layers runs.
        args: all options, checked already.
        callbacks: as `_callbacks`.

    Attributes:
        args: all options.
        callbacks: functions by event.
        device: where the network runs.
        model: the copy that runs; None before `setup_model`.
        names: class names.
        imgsz: [height, width] that images are scaled to.
        stride: sides of the network's input are multiples of it.
        dataset: the source, with `mode` ("image", "video", "stream") and `bs` (images per batch).
        batch: (paths, original images, beginnings of the log lines) of the present batch.
        results: `Results` of the present batch.
        plotted_img: the image drawn last.
        seen: number of images predicted.
        speed: mean milliseconds per image and stage, after the run.
        save_dir: folder of the run; made when a run starts that writes files.
        vid_writer: open video files by name.
        done_warmup: whether the network has run on this device.
    """

    task: str | None = None  # of a task's predictor; it overrides the option

    def __init__(
        self,
        cfg: str | Path | Settings | nn.Module | None = None,
        overrides: Settings | None = None,
        _callbacks: CallbackTable | None = None,
        *,
        model: nn.Module | None = None,
        args: Settings | None = None,
        callbacks: CallbackTable | None = None,
    ) -> None:
        if isinstance(cfg, nn.Module):  # the form (model, args, callbacks) of this package
            cfg, overrides, model, args = None, None, cfg, overrides
        self.args = IterableSimpleNamespace(**dict(args)) if args is not None else _merged(cfg, overrides)
        self.args.task = self.task or self.args.task
        if self.args.conf is None:
            self.args.conf = DEFAULT_CONF
        functions = callbacks if callbacks is not None else _callbacks
        self.callbacks = functions if isinstance(functions, Callbacks) else _table(functions)
        self.device = select_device(self.args.device)
        self.half = bool(self.args.half) and self.device.type != "cpu"
        if self.args.half and not self.half:
            LOGGER.warning("half=True needs a GPU; predicting in full precision")
        self.model: Any = None
        self.names: dict[int, str] = {}
        self.imgsz: list[int] = []
        self.stride = 0
        self.dataset: Source | None = None
        self.batch: tuple[list[str], list[np.ndarray], list[str]] = ([], [], [])
        self.results: list[Results] = []
        self.plotted_img: np.ndarray | None = None
        self.seen = 0
        self.speed: dict[str, float] = {}
        self.done_warmup = False
        self._made_dirs: list[Path] = []  # the run's folder, and those above it that did not exist
        self._source_batch = SourceBatch([], [], [], [])
        self._embeddings: list[Tensor] = []
        self._writer: PredictionWriter | None = None
        self._map_stems = FileStems()
        self._timers: dict[str, Profile] = {}
        if model is not None:
            self.setup_model(model)

    # --------------------------------------------------------------------------------- what a task overrides

    def pre_transform(self, im: list[np.ndarray]) -> list[np.ndarray]:
        """Images of any size -> images of one size whose sides are multiples of the stride, (H, W, 3) BGR."""
        same_shape = len({image.shape for image in im}) == 1
        letterbox = LetterBox(self.imgsz, auto=same_shape, stride=self.stride)
        return [letterbox(image=image) for image in im]

    def preprocess(self, im: Tensor | list[np.ndarray]) -> Tensor:
        """Input of the network.

        Args:
            im: images (H, W, 3) uint8 BGR, or a tensor (B, 3, H, W) RGB in 0..1, which is not scaled.

        Returns:
            (B, 3, H, W) RGB in 0..1 on the device, channels last.

        Raises:
            ValueError: the sides of a tensor are not multiples of the stride.
        """
        dtype = torch.float16 if self.half else torch.float32
        if isinstance(im, Tensor):
            H, W = im.shape[2:]
            if H % self.stride or W % self.stride:
                raise ValueError(
                    f"a tensor is not resized, so its height and width must be multiples of {self.stride}; they are "
                    f"{H} and {W}. Arrays of shape (H, W, 3) are resized"
                )
            return im.to(self.device, dtype).contiguous(memory_format=torch.channels_last)
        rgb = [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in self.pre_transform(im)]
        stacked = torch.from_numpy(rgb[0][None] if len(rgb) == 1 else np.stack(rgb))
        # (B, H, W, 3) -> (B, 3, H, W) without moving bytes: this is the channels-last layout
        return images_to_device(stacked.permute(0, 3, 1, 2), self.device, dtype)

    def inference(self, im: Tensor) -> Tensor | Sequence[Any]:
        """Output of the network for a batch (B, 3, H, W)."""
        if self.args.embed:
            return self.model(im, embed=self.args.embed)
        return self.model(im, augment=bool(self.args.augment))

    def postprocess(self, preds: Tensor | Sequence[Any], img: Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        """Output of the network -> one `Results` per image, in pixels of the original.

        Args:
            preds: what the network returned.
            img: (B, 3, H, W) its input.
            orig_imgs: the B original images, (H, W, 3) BGR; their paths are `self.batch[0]`.
        """
        raise NotImplementedError

    def write_results(self, i: int, p: Path, im: Tensor, s: list[str]) -> str:
        """Draw, write and show the result of one image, as far as the options ask for it.

        Args:
            i: index of the image in the batch.
            p: its path.
            im: (B, 3, H, W) input of the network.
            s: beginnings of the log lines of the batch.

        Returns:
            The log line.
        """
        args, result, frame = self.args, self.results[i], self._source_batch.frames[i]
        if args.save or args.save_frames or args.show:
            self.plotted_img = result.plot(
                conf=args.show_conf, line_width=args.line_width, labels=args.show_labels, boxes=args.show_boxes
            )
        if self._writer is not None:
            result.save_dir = str(self.save_dir)
            self._writer.write(result, self.plotted_img if args.save or args.save_frames else None, frame)
        if args.show:
            self.show(result.path if frame is None else frame.path)
        return f"{s[i]}{im.shape[2]}x{im.shape[3]} {result.verbose()}{result.speed['inference']:.1f} ms"

    def show(self, p: str = "") -> None:
        """Show the image drawn last in the window `p`."""
        if self.plotted_img is not None:
            is_image = self.dataset is None or self.dataset.mode == "image"
            show_image(self.plotted_img, p, SHOW_IMAGE_MS if is_image else SHOW_FRAME_MS)

    # --------------------------------------------------------------------------------- public

    @cached_property
    def save_dir(self) -> Path:
        """Folder of the run; made when a run starts that writes files."""
        return get_save_dir(self.args)

    @property
    def vid_writer(self) -> dict[str, VideoFile]:
        """Open video files by name."""
        return {} if self._writer is None else self._writer.videos

    def __call__(
        self, source: object = None, model: nn.Module | str | Path | None = None, stream: bool = False
    ) -> list[Any] | Iterator[Any]:
        """Predict `source`: a list of `Results`, or with `stream` a generator that holds one batch at a time.

        With the option `embed` it is one vector per image.
        """
        results = self.stream_inference(source, model)
        if stream:
            return results
        if self._has_many_results():
            LOGGER.warning(
                "all results of this source are kept in memory, images included. For videos, cameras and many files "
                "use `for result in predict(source, stream=True): ...`, which keeps one batch at a time"
            )
        return list(results)

    def predict_cli(self, source: object = None, model: nn.Module | str | Path | None = None) -> None:
        """Predict `source` for its files and log lines, without keeping results."""
        for _ in self.stream_inference(source, model):
            pass

    def stream_inference(self, source: object = None, model: nn.Module | str | Path | None = None) -> Iterator[Any]:
        """Predict `source` batch by batch. Source and network are checked at once, not with the first result."""
        if model is not None or self.model is None:
            self.setup_model(model if model is not None else self.args.model)
        self._check_embed()
        self.setup_source(source if source is not None else self.args.source)
        return self._run()

    def setup_model(self, model: nn.Module | str | Path | None, verbose: bool = True) -> None:
        """Prepare a network for running.

        Args:
            model: the network, which is not changed, or a checkpoint.
            verbose: accepted for 8.3.0's call form; nothing is logged.

        Raises:
            ValueError: there is no network.
        """
        if model is None:
            raise ValueError("the predictor has no network; give model= a network or a checkpoint such as best.pt")
        network = model if isinstance(model, nn.Module) else load_network(model)
        self.stride = max_stride(network)
        self.imgsz = list(check_imgsz(self.args.imgsz, stride=self.stride, min_dim=2))  # type: ignore[arg-type]
        self.names = network.names  # type: ignore[assignment]
        check_class_filter(self.args.classes, self.names, "the network")
        self.model = get_inference_model(network, self.device, self.half)
        self.half = next(self.model.parameters()).dtype == torch.float16
        self.done_warmup = False

    def setup_source(self, source: object) -> None:
        """Open a source; see `data.sources.load_source`."""
        if source is None:
            raise ValueError(
                "predict needs a source: an image, a folder, a video, an array; for example source=photo.jpg"
            )
        self.dataset = load_source(source, self.args.vid_stride, self.args.batch, bool(self.args.stream_buffer))

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: options and results, without the copy of the network and open files."""
        return {**vars(self), "model": None, "_writer": None, "_timers": {}}

    def add_callback(self, event: str, func: Callable[[Any], None]) -> None:
        """Call `func` with this object whenever `event` fires."""
        self.callbacks.add(event, func)

    def run_callbacks(self, event: str) -> None:
        """Fire `event`."""
        self.callbacks.run(event, self)

    # --------------------------------------------------------------------------------- the run

    def _run(self) -> Iterator[Any]:
        assert self.dataset is not None, "setup_source comes first"
        writes = not self.args.embed and any(self.args.get(key) for key in FILE_OPTIONS)
        if writes or self.args.visualize:
            self._make_save_dir()
        self._writer = PredictionWriter(self.save_dir, self.args, self.dataset.is_live) if writes else None
        self._map_stems = FileStems()  # the same names as those of the writer
        self._timers = {stage: Profile(device=self.device) for stage in STAGES}
        self.seen = 0
        self._warm_up()
        self.run_callbacks("on_predict_start")
        shape: tuple[int, ...] = ()
        try:
            for batch in self.dataset:
                self._source_batch, self.batch = batch, (batch.paths, batch.images, batch.infos)
                self.run_callbacks("on_predict_batch_start")
                im = self._predict(batch)
                shape = tuple(im.shape)
                self.seen += len(batch.paths)
                if not self.args.embed:
                    self.run_callbacks("on_predict_postprocess_end")
                    self._finish_batch(im)
                self.run_callbacks("on_predict_batch_end")
                yield from self._embeddings if self.args.embed else self.results
            if self._writer is not None:
                self._writer.close()
        finally:
            if self._writer is not None:
                self._writer.release()
            if not self.args.exist_ok and remove_empty_dirs(self._made_dirs):
                self._made_dirs = []
        self.speed = {stage: timer.t / max(self.seen, 1) * 1e3 for stage, timer in self._timers.items()}
        self.run_callbacks("on_predict_end")
        if self.args.verbose and self.seen:
            self._log_summary(shape)

    def _check_embed(self) -> None:
        """Refuse numbers in `embed` that are not those of layers whose output is a map."""
        layers = len(getattr(self.model, "model", ()))
        wrong = [index for index in self.args.embed or () if not 0 <= index < layers - 1]
        if wrong:
            raise ValueError(
                f"embed={self.args.embed}: {wrong[0]} is not a layer with a feature map; this network has the layers 0 "
                f"to {layers - 2} below its head"
            )

    def _make_save_dir(self) -> None:
        """Make the run's folder under a name that no other process has taken; later runs of this object use it too."""
        if not self._made_dirs:
            parents = missing_parents(get_save_dir(self.args))
            self.save_dir = make_save_dir(self.args)
            self._made_dirs = [self.save_dir, *parents]

    def _predict(self, batch: SourceBatch) -> Tensor:
        """Set `results`, or the embeddings, of one batch; returns the network's input."""
        with torch.inference_mode():
            with self._timers["preprocess"]:
                im = self.preprocess(batch.tensor if batch.tensor is not None else batch.images)
            with self._timers["inference"]:
                preds = self.inference(im)
            if self.args.visualize:
                stems = [
                    numbered_stem(self._map_stems.stem(path, frame), frame)
                    for path, frame in zip(batch.paths, batch.frames, strict=True)
                ]
                save_feature_maps(self.model, im, stems, self.save_dir)
            if self.args.embed:
                self._embeddings = list(preds)
            else:
                with self._timers["postprocess"]:
                    self.results = self.postprocess(preds, im, batch.images)
        # outside of inference mode, since tensors of that mode cannot be changed or learned from
        self._embeddings = [vector.clone() for vector in self._embeddings]
        for result in self.results:
            _leave_inference_mode(result)
        return im

    def _finish_batch(self, im: Tensor) -> None:
        """Note the times, draw, write, show and log the results of one batch."""
        paths, _, infos = self.batch
        for i, result in enumerate(self.results):
            result.speed.update({stage: timer.dt / len(paths) * 1e3 for stage, timer in self._timers.items()})
            line = self.write_results(i, Path(paths[i]), im, infos)
            if self.args.verbose:
                LOGGER.info(line)

    def _warm_up(self) -> None:
        """Run once on a GPU, whose first run loads kernels and would count as the first image's time."""
        if self.device.type != "cpu" and not self.done_warmup:
            dtype = torch.float16 if self.half else torch.float32
            with torch.inference_mode():
                self.model.predict(torch.zeros(1, 3, *self.imgsz, device=self.device, dtype=dtype))
        self.done_warmup = True

    def _has_many_results(self) -> bool:
        dataset = self.dataset
        if dataset is None or dataset.has_video:
            return dataset is not None
        return isinstance(dataset, Sized) and len(dataset) * dataset.bs > MANY_RESULTS

    def _log_summary(self, shape: tuple[int, ...]) -> None:
        stages = ", ".join(f"{ms:.1f} ms {stage}" for stage, ms in self.speed.items())
        LOGGER.info(f"Speed per image: {stages} at shape {shape}")
        if self._writer is not None and self.save_dir.exists():
            labels = (
                f", {self._writer.num_labels} label files in {self.save_dir / 'labels'}" if self.args.save_txt else ""
            )
            LOGGER.info(f"Results are in {self.save_dir}{labels}")


def _merged(cfg: str | Path | Settings | None, overrides: Settings | None) -> IterableSimpleNamespace:
    """The options of 8.3.0's call form."""
    options = {**dict(overrides or {}), "mode": "predict"}
    return get_cfg(cfg, options)


def _table(functions: CallbackTable | None) -> Callbacks:
    return Callbacks({event: list(listed) for event, listed in (functions or {}).items()})


def _leave_inference_mode(result: Results) -> None:
    for component in result.components().values():
        if isinstance(component.data, Tensor) and component.data.is_inference():
            component.data = component.data.clone()
