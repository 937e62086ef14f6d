"""Prediction: read pictures, prepare them, run the network, turn its output into `Results`, show and write them.

What a task adds (`postprocess`) is in models/yolo/<task>.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ultralytics.cfg import check_imgsz, get_save_dir
from ultralytics.data.augment import LetterBox
from ultralytics.data.sources import load_source
from ultralytics.data.streams import Batch
from ultralytics.engine.callbacks import Callbacks
from ultralytics.engine.prediction_writer import PredictionWriter
from ultralytics.engine.results import Results
from ultralytics.nn.inference.inference_model import get_inference_model
from ultralytics.utils import LOGGER, IterableSimpleNamespace
from ultralytics.utils.ops import Profile
from ultralytics.utils.plotting import plot_feature_maps, show_image
from ultralytics.utils.torch_utils import select_device

MANY_RESULTS = 1000  # more in one list than this is worth a word about stream=True
SHOW_STILL_MS, SHOW_FRAME_MS = 300, 1
WRITING = ("save", "save_frames", "save_txt", "save_crop")  # the settings that make files
STAGES = ("preprocess", "inference", "postprocess")


class BasePredictor:
    """One prediction run with one set of settings.

    Args:
        model: the network; it is not changed, the run works on a copy with merged normalisation layers.
        args: all settings.
        callbacks: functions by event, each called with this object.

    Public attributes (the names users' callbacks read): args, callbacks, model (the copy that runs), device, imgsz,
    stride, dataset, batch, results, seen, save_dir, speed.
    """

    def __init__(
        self, model: nn.Module, args: IterableSimpleNamespace, callbacks: Callbacks | dict[str, Any] | None = None
    ) -> None:
        self.args = args
        self.callbacks = callbacks if isinstance(callbacks, Callbacks) else Callbacks(callbacks)
        self.device = select_device(args.device)
        self.half = bool(args.half) and self.device.type != "cpu"
        if args.half and not self.half:
            LOGGER.warning("half=True needs a GPU; predicting in full precision")
        self.stride = max(int(torch.as_tensor(model.stride).max()), 32)
        self.imgsz: Any = check_imgsz(args.imgsz, stride=self.stride, min_dim=2)  # [H, W]
        self.names = model.names
        self.model: Any = get_inference_model(model, self.device, self.half)
        self.dataset: Any = None
        self.batch: Batch | None = None
        self.results: list[Any] = []
        self.seen = 0  # pictures predicted
        self.speed: dict[str, float] = {}  # mean milliseconds for a picture

    # --------------------------------------------------------------------------------- what a task gives

    def postprocess(self, preds: Any, img: Tensor, orig_imgs: list[np.ndarray], paths: list[str]) -> list[Results]:
        """Output of the network -> one `Results` for each picture, in pixels of the original.

        Args:
            preds: what the network returned.
            img: (B, 3, H, W) what went in.
            orig_imgs: the B original pictures, BGR.
            paths: where they came from.
        """
        raise NotImplementedError

    # --------------------------------------------------------------------------------- public

    @cached_property
    def save_dir(self) -> Path:
        """Folder of the run; it exists once something is written."""
        return Path(get_save_dir(self.args))

    def __call__(self, source: Any, stream: bool = False) -> list[Any] | Iterator[Any]:
        """Predict `source`: a list of `Results`, or with `stream` a generator that holds one batch at a time."""
        results = self.stream(source)
        if stream:
            return results
        if self.dataset.has_video or len(self.dataset) * self.args.batch > MANY_RESULTS:
            LOGGER.warning(
                "All results of this source are kept in memory, pictures included. For videos, cameras and many files "
                "use `for result in predict(source, stream=True): ...`, which keeps one batch at a time."
            )
        return list(results)

    def stream(self, source: Any) -> Iterator[Any]:
        """Predict `source` batch by batch; gives `Results`, or vectors with the setting `embed`."""
        args = self.args
        self.dataset = load_source(source, args.vid_stride, args.batch, bool(args.stream_buffer))
        return self._run()

    def run_callbacks(self, event: str) -> None:
        """Fire `event`."""
        self.callbacks.run(event, self)

    # --------------------------------------------------------------------------------- steps

    def preprocess(self, batch: Batch) -> Tensor:
        """Pictures -> (B, 3, H, W) RGB in 0..1 on the device, channels last; H and W are multiples of the stride."""
        dtype = torch.float16 if self.half else torch.float32
        if batch.tensor is not None:
            H, W = batch.tensor.shape[2:]
            if H % self.stride or W % self.stride:
                raise ValueError(
                    f"A tensor goes into the network as it is, so height and width must be multiples of {self.stride}; "
                    f"they are {H} and {W}. Give an array (H, W, 3) instead, and it is fitted."
                )
            return batch.tensor.to(self.device, dtype).contiguous(memory_format=torch.channels_last)
        same_shape = len({im.shape for im in batch.images}) == 1
        letterbox = LetterBox(self.imgsz, auto=same_shape, stride=self.stride)
        fitted = [cv2.cvtColor(letterbox(image=im), cv2.COLOR_BGR2RGB) for im in batch.images]
        stacked = torch.from_numpy(fitted[0][None] if len(fitted) == 1 else np.stack(fitted))
        # (B, H, W, 3) -> (B, 3, H, W): the bytes stay as they are, which is the channels-last layout
        return stacked.to(self.device).permute(0, 3, 1, 2).to(dtype).div_(255)

    def inference(self, im: Tensor) -> Any:
        """Output of the network for a batch."""
        if self.args.embed:
            return self.model.predict(im, embed=self.args.embed)
        return self.model.predict(im, augment=bool(self.args.augment))

    def _run(self) -> Iterator[Any]:
        wanted = not self.args.embed and any(self.args.get(key) for key in WRITING)
        files = PredictionWriter(self.save_dir, self.args, self.dataset.is_live) if wanted else None
        stages = {stage: Profile(device=self.device) for stage in STAGES}
        self._warm_up()
        self.run_callbacks("on_predict_start")
        shape: tuple[int, ...] = ()
        try:
            for batch in self.dataset:
                self.batch = batch
                self.run_callbacks("on_predict_batch_start")
                shape = self._predict(batch, stages)
                self.seen += len(batch.paths)
                if not self.args.embed:
                    self.run_callbacks("on_predict_postprocess_end")
                    self._hand_out(batch, stages, shape, files)
                self.run_callbacks("on_predict_batch_end")
                yield from self.results
        finally:
            if files:
                files.close()
        self.speed = {stage: timer.t / max(self.seen, 1) * 1e3 for stage, timer in stages.items()}
        self.run_callbacks("on_predict_end")
        if self.args.verbose and self.seen:
            self._summarise(shape, files)

    def _predict(self, batch: Batch, stages: dict[str, Profile]) -> tuple[int, ...]:
        """Fill `results` for one batch; returns the shape that went into the network."""
        with torch.inference_mode():
            with stages["preprocess"]:
                im = self.preprocess(batch)
            with stages["inference"]:
                preds = self.inference(im)
            if self.args.visualize:
                self._draw_features(im, batch)
            if self.args.embed:
                self.results = list(preds)
            else:
                with stages["postprocess"]:
                    self.results = self.postprocess(preds, im, batch.images, batch.paths)
        self.results = [_plain(result) for result in self.results]
        return tuple(im.shape)

    def _hand_out(
        self, batch: Batch, stages: dict[str, Profile], shape: tuple[int, ...], files: PredictionWriter | None
    ) -> None:
        """Note times, show, write and log the results of one batch."""
        args, n = self.args, len(batch.paths)
        times = {stage: timer.dt / n * 1e3 for stage, timer in stages.items()}
        for result, info, clip in zip(self.results, batch.infos, batch.clips, strict=True):
            result.speed = dict(times)
            drawn = None
            if args.save or args.save_frames or args.show:
                drawn = result.plot(
                    conf=args.show_conf, line_width=args.line_width, labels=args.show_labels, boxes=args.show_boxes
                )
            if files:
                result.save_dir = str(self.save_dir)
                files.write(result, drawn if args.save or args.save_frames else None, clip)
            if args.show and drawn is not None:
                show_image(drawn, result.path if clip is None else clip.path, SHOW_FRAME_MS if clip else SHOW_STILL_MS)
            if args.verbose:
                LOGGER.info(f"{info}{shape[2]}x{shape[3]} {result.verbose()}{times['inference']:.1f} ms")

    def _warm_up(self) -> None:
        if self.device.type != "cpu":  # the first run on a GPU loads kernels, which is not the first picture's fault
            H, W = self.imgsz
            with torch.inference_mode():
                self.model.predict(
                    torch.zeros(1, 3, H, W, device=self.device, dtype=torch.float16 if self.half else None)
                )

    def _draw_features(self, im: Tensor, batch: Batch) -> None:
        """Write each layer's output for each picture: `<stem>/stage<i>_<Module>_features.png`, all channels as .npy."""
        outputs: dict[int, Any] = {}
        hooks = [
            layer.register_forward_hook(lambda _m, _i, out, i=i: outputs.__setitem__(i, out))
            for i, layer in enumerate(self.model.model)
        ]
        try:
            self.model.predict(im)
        finally:
            for hook in hooks:
                hook.remove()
        for i, output in outputs.items():
            if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[2] * output.shape[3] < 2:
                continue  # the head's lists, and vectors, are no pictures
            name = f"stage{i}_{type(self.model.model[i]).__name__}_features"
            for k, path in enumerate(batch.paths):
                folder = self.save_dir / Path(path).stem
                plot_feature_maps(output[k], folder / f"{name}.png")
                np.save(folder / f"{name}.npy", output[k].float().cpu().numpy())

    def _summarise(self, shape: tuple[int, ...], files: PredictionWriter | None) -> None:
        stages = ", ".join(f"{ms:.1f} ms {stage}" for stage, ms in self.speed.items())
        LOGGER.info(f"Speed per image: {stages} at shape {shape}")
        if files and self.save_dir.exists():
            labels = f", {files.labels} label files in {self.save_dir / 'labels'}" if self.args.save_txt else ""
            LOGGER.info(f"Results are in {self.save_dir}{labels}")


def _plain(result: Any) -> Any:
    """The result with tensors that may be changed and learned from, which torch forbids for those of inference mode."""
    if isinstance(result, Tensor):
        return result.clone()
    for name in result.COMPONENTS:
        part = getattr(result, name)
        if part is not None and isinstance(part.data, Tensor) and part.data.is_inference():
            part.data = part.data.clone()
    return result
