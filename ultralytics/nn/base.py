"""BaseModel: what the networks of all tasks share, from the model file to forward, loss, fuse and weight transfer.

Class, attribute and method names are those of ultralytics 8.3.0, because checkpoints and scripts use them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast, runtime_checkable
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.nn import fuse
from ultralytics.nn.first_forward import Layer, Sizes, first_forward, layer_input
from ultralytics.nn.info import model_info
from ultralytics.nn.model_file import expand_content, read_activation, yaml_model_load
from ultralytics.nn.parser import parse_model
from ultralytics.nn.transfer import TransferReport, transfer_weights
from ultralytics.utils import LOGGER

PROFILE_RUNS = 10
_WARNED: WeakSet[nn.Module] = WeakSet()  # networks whose missing test-time augmentation has been logged

M = TypeVar("M", bound="BaseModel")
Config = str | Path | Mapping[str, Any]
Criterion = Callable[[Any, dict[str, Any]], Any]  # (predictions, batch) -> (loss, its parts without gradient)


@runtime_checkable
class StridedHead(Protocol):
    """A head that predicts on a grid of cells: it needs the strides of its levels, and initializes its biases by them.

    Attributes:
        nl: number of levels.
        stride: (nl,) pixels per cell.
    """

    nl: int
    stride: Tensor

    def bias_init(self) -> None:
        """Set the last biases from `stride`."""


class BaseModel(nn.Module):
    """A network made from a model file; a subclass per task adds head setup and loss.

    Attributes:
        yaml: content of the model file, with `ch` and the number of classes in use.
        model: the layers, each with number `i`, input numbers `f`, dotted class `type` and parameter count `np`.
        save: numbers of layers whose output a later layer reads.
        stride: pixels per cell of the levels of the head.
        names: class names by number.
        named: whether `names` are known to come from a dataset.
        nc, args, task: set by trainers and by `YOLO`.
        criterion: the loss, made when it is first used.
        batch_norm: epsilon and momentum of the batch normalizations of a new network.
    """

    batch_norm: ClassVar[tuple[float, float]] = (fuse.BN_EPS, fuse.BN_MOMENTUM)

    yaml: dict[str, Any]
    model: nn.Sequential
    save: list[int]
    inplace: bool
    stride: Tensor
    named: bool = False
    nc: int
    args: Any
    task: str
    criterion: Criterion | None = None
    _layer_sizes: Sizes

    @property
    def names(self) -> dict[int, str]:
        """Class names by number; scripts may set a list."""
        names = vars(self).get("names", {})  # stored where 8.3.0 stores it, so that pickles work in both directions
        return names if isinstance(names, dict) else dict(enumerate(names))

    @names.setter
    def names(self, names: Mapping[int, str] | Sequence[str]) -> None:
        by_number = names if isinstance(names, Mapping) else dict(enumerate(names))
        vars(self)["names"] = {int(i): str(name) for i, name in by_number.items()}

    # ---- running

    def forward(self, x: Tensor | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss of a batch dict, or the output for images (see `predict`)."""
        if isinstance(x, dict):
            return self.loss(x, *args, **kwargs)
        return self.predict(x, *args, **kwargs)

    def predict(
        self,
        x: Tensor,
        profile: bool = False,
        visualize: bool | str | Path = False,
        augment: bool = False,
        embed: Sequence[int] | None = None,
    ) -> Any:
        """Output for images.

        Args:
            x: (B, C, H, W) in 0..1, sides a multiple of the largest stride.
            profile: log the time of every layer.
            visualize: folder for images of every layer's output.
            augment: test-time augmentation.
            embed: numbers of layers; the output is then one vector per image, the means of their outputs.
        """
        if augment:
            return self._predict_augment(x)
        return self._predict_once(x, profile, visualize, embed)

    def loss(self, batch: dict[str, Any], preds: object = None) -> Any:
        """Loss of a batch, times its size, and its parts without gradient; needs `self.args` (box, cls, dfl gains)."""
        if self.criterion is None:
            self.criterion = self.init_criterion()
        return self.criterion(self.forward(batch["img"]) if preds is None else preds, batch)

    def init_criterion(self) -> Criterion:
        """The task's loss."""
        raise NotImplementedError(f"{type(self).__name__} has no loss; a subclass must define init_criterion")

    # ---- the network as a whole

    def fuse(self: M, verbose: bool = True) -> M:
        """Merge normalizations into convolutions, in place, for inference; returns the network itself."""
        if not self.is_fused():
            fuse.fuse_layers(self.model)
            self.info(verbose=verbose)
        return self

    def is_fused(self) -> bool:
        """Whether no convolution has a normalization of its own."""
        return fuse.is_fused(self.model)

    def info(
        self, detailed: bool = False, verbose: bool = True, imgsz: int | list[int] | tuple[int, int] = 640
    ) -> tuple[int, int, int, float]:
        """Layers, parameters, parameters with gradient, GFLOPs at `imgsz`; logged when `verbose`."""
        return model_info(self, detailed, verbose, imgsz)

    def load(self, weights: nn.Module | Mapping[str, Any], verbose: bool = True) -> TransferReport:
        """Transfer the weights of every layer that has a counterpart in another network; see nn/transfer.

        Args:
            weights: a network, or a checkpoint dict with one under "model"; not changed.
            verbose: log the report.

        Returns:
            Which tensors were transferred, which are new and which were not used.
        """
        source = weights["model"] if isinstance(weights, Mapping) else weights
        report = transfer_weights(cast(BaseModel, source), self)
        if verbose:
            LOGGER.info(str(report))
        return report

    def new_like(self: M, nc: int | None = None) -> M:
        """A network of the same model file with new weights, and `nc` classes if it is given."""
        make: Callable[..., M] = type(self)
        return make(deepcopy(self.yaml), nc=nc, verbose=False)

    def layer_sizes(self) -> Sizes:
        """Channels, and pixels of the image per cell, of every layer's output; (0, 0) where it is not one map."""
        if "_layer_sizes" not in vars(self):  # an object that torch.load made from a file of 8.3.0
            with torch.random.fork_rng(devices=[]):
                return self.new_like().layer_sizes()
        return self._layer_sizes

    # ---- for subclasses

    def build(self, cfg: Config, ch: int, verbose: bool, **replacements: Any) -> None:
        """Build layers and head from a model file; a subclass calls it in its constructor.

        Args:
            cfg: model file (its name may contain a scale letter, as in yolo11s.yaml) or its content; not changed.
            ch: channels of the images, unless the file has `ch`.
            verbose: log layers and summary.
            replacements: values, such as nc, that replace those of the file; None or 0 keeps the file's.

        Raises:
            ModelFileError: the file cannot become a network; names the row.
        """
        self.yaml = expand_content(cfg) if isinstance(cfg, Mapping) else yaml_model_load(cfg)
        self.yaml["ch"] = self.yaml.get("ch", ch)
        for key, value in replacements.items():
            if value and value != self.yaml.get(key):
                if verbose and self.yaml.get(key):
                    LOGGER.info(f"{key}={value} replaces the model file's {key}={self.yaml[key]}")
                self.yaml[key] = value
        self.model, self.save = parse_model(self.yaml, self.yaml["ch"], verbose)
        if self.yaml.get("scales") and not self.yaml.get("scale"):
            self.yaml["scale"] = next(iter(self.yaml["scales"]))  # the warning about it is not repeated on rebuilding
        activation = read_activation(self.yaml)
        if activation is not None:
            fuse.set_activation(self.model, activation)
        self.names = {i: str(i) for i in range(self.yaml.get("nc") or 0)}
        self.inplace = self.yaml.get("inplace", True)
        self.set_up_head()
        fuse.initialize_weights(self, *self.batch_norm)
        if verbose:
            self.info()

    def set_up_head(self) -> None:
        """Set `stride` and initialize the head; a subclass whose head has no grid of cells replaces this method."""
        self.measure()
        head = self.model[-1]
        if isinstance(head, StridedHead):
            vars(head)["inplace"] = self.inplace
            head.stride = torch.tensor(self._head_strides(), device="cpu")
            self.stride = head.stride
            head.bias_init()
        else:
            self.stride = torch.tensor([32.0], device="cpu")

    def measure(self) -> None:
        """Run the layers once on an image of zeros, in the current mode, and note the sizes of their outputs."""
        self._layer_sizes = first_forward(self, self._layers, self.yaml)

    def _head_strides(self) -> list[float]:
        """Pixels of the image per cell of the maps that the head reads."""
        head = self._layers[-1]
        sources = [head.f] if isinstance(head.f, int) else head.f
        return [self._layer_sizes[x % head.i][1] for x in sources]

    @property
    def _layers(self) -> Sequence[Layer]:
        return cast("Sequence[Layer]", self.model)

    def _predict_augment(self, x: Tensor) -> Any:
        if self not in _WARNED:  # once, not for every batch
            _WARNED.add(self)
            head = type(self.model[-1]).__name__
            LOGGER.warning(f"a network with the head {head} has no test-time augmentation; predicting without it")
        return self._predict_once(x)

    def _predict_once(
        self,
        x: Tensor,
        profile: bool = False,
        visualize: bool | str | Path = False,
        embed: Sequence[int] | None = None,
    ) -> Any:
        outputs: list[Any] = []
        embedded: list[Tensor] = []
        for m in self._layers:
            x = layer_input(m, x, outputs)
            if profile:
                _log_time(m, x)
            x = m(x)
            outputs.append(x if m.i in self.save else None)
            if visualize:
                _plot_features(m, x, visualize)
            if embed and m.i in embed:
                embedded.append(F.adaptive_avg_pool2d(x, 1).flatten(1))
                if m.i == max(embed):
                    return torch.unbind(torch.cat(embedded, 1))
        return x


def _log_time(m: Layer, x: object) -> None:
    with torch.no_grad():
        start = time.perf_counter()
        for _ in range(PROFILE_RUNS):
            m(x)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ms = (time.perf_counter() - start) * 1e3 / PROFILE_RUNS
    LOGGER.info(f"layer {m.i:>3} {ms:10.3f} ms {m.np:>11,} parameters  {m.type}")


def _plot_features(m: Layer, x: object, folder: bool | str | Path) -> None:
    from ultralytics.utils.plotting import plot_feature_maps  # matplotlib is needed on request only

    if isinstance(x, Tensor) and x.ndim == 4 and x.shape[2] > 1 and x.shape[3] > 1:
        target = Path("features" if isinstance(folder, bool) else folder)
        target.mkdir(parents=True, exist_ok=True)
        plot_feature_maps(x[0], target / f"layer{m.i}_{m.type.rsplit('.', 1)[-1]}.png")
