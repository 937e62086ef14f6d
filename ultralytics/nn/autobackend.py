"""AutoBackend of 8.3.0 for scripts: the network of a checkpoint, ready for images. Prediction does not need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ultralytics.cfg import find_data_yaml
from ultralytics.nn.checkpoint.official import Ensemble, attempt_load_weights
from ultralytics.utils.files import yaml_load
from ultralytics.utils.torch_utils import copy_module, max_stride

_NUM_DEFAULT_NAMES = 999  # as in 8.3.0
_SUFFIXES = (".pt", ".safetensors", "")


def check_class_names(names: Sequence[str] | Mapping[Any, Any]) -> dict[int, str]:
    """Class names as {0: "name", ...}.

    Raises:
        KeyError: the numbers are not 0, 1, 2, ... without a gap.
    """
    items = names.items() if isinstance(names, Mapping) else enumerate(names)
    checked = {int(number): str(name) for number, name in items}
    if checked and max(checked) >= len(checked):
        raise KeyError(
            f"the class numbers of {len(checked)} names must be 0 to {len(checked) - 1}, but are {min(checked)} to "
            f"{max(checked)}"
        )
    return checked


def default_class_names(data: str | Path | None = None) -> dict[int, str]:
    """Class names of a dataset file; class0, class1, ... without one."""
    if data:
        try:
            return check_class_names(yaml_load(find_data_yaml(data), ("names",))["names"])
        except (FileNotFoundError, KeyError):
            pass
    return {i: f"class{i}" for i in range(_NUM_DEFAULT_NAMES)}


class AutoBackend(nn.Module):
    """A network that takes batches of images; its output is that of the network.

    Args:
        weights: checkpoint, or several for an ensemble, or a network. A network is copied unless `fuse` is False.
        device: where it runs.
        dnn: run ONNX files by OpenCV; without effect on checkpoints.
        data: dataset file with the class names of a network that has none.
        fp16: half precision; on a CPU without effect.
        batch: of 8.3.0; without effect on checkpoints.
        fuse: merge normalizations into convolutions.
        verbose: log the merging.

    Attributes:
        model: the network in evaluation mode.
        names: class names by number.
        stride: largest stride, pixels.
        pt: always True: a PyTorch network runs.

    Raises:
        ValueError: `weights` is a file of another format.
    """

    def __init__(
        self,
        weights: str | Path | Sequence[str | Path] | nn.Module = "yolov8n.pt",
        device: torch.device = torch.device("cpu"),  # noqa: B008 - immutable
        dnn: bool = False,
        data: str | Path | None = None,
        fp16: bool = False,
        batch: int = 1,
        fuse: bool = True,
        verbose: bool = True,
    ) -> None:
        super().__init__()
        self.device, self.fp16, self.pt = device, fp16 and device.type != "cpu", True
        self.nn_module = isinstance(weights, nn.Module)
        self.jit = self.onnx = self.engine = self.triton = False
        if isinstance(weights, nn.Module):
            network: Any = copy_module(weights) if fuse else weights
            if fuse:
                network.fuse(verbose=verbose)
        else:
            for file in [weights] if isinstance(weights, (str, Path)) else weights:
                if Path(file).suffix.lower() not in _SUFFIXES:
                    raise ValueError(f"{file}: AutoBackend runs PyTorch networks only, from .pt or .safetensors files")
            network = attempt_load_weights(weights, fuse=fuse)
        network = network.to(device).eval()
        self.model: Any = network.half() if self.fp16 else network.float()
        self.task = getattr(network[0] if isinstance(network, Ensemble) else network, "task", "detect")
        self.stride = max_stride(network)
        self.names = check_class_names(getattr(network, "names", None) or default_class_names(data))

    def forward(
        self, im: Tensor, augment: bool = False, visualize: bool = False, embed: Sequence[int] | None = None
    ) -> Any:
        """The network's output; a single tensor stays one, several come as a list.

        Args:
            im: (B, 3, H, W) in 0..1, on the network's device.
            augment: test-time augmentation.
            visualize: save feature maps; see `BaseModel.predict`.
            embed: layers whose pooled outputs are returned instead.
        """
        if self.fp16 and im.dtype is not torch.float16:
            im = im.half()
        if isinstance(self.model, Ensemble):
            output = self.model(im, augment=augment)
        else:
            output = self.model(im, augment=augment, visualize=visualize, embed=embed)
        return list(output) if isinstance(output, (list, tuple)) else output

    def from_numpy(self, x: np.ndarray | Tensor) -> Tensor:
        """An array as a tensor on the network's device."""
        return torch.as_tensor(x).to(self.device)

    @torch.no_grad()
    def warmup(self, imgsz: Sequence[int] = (1, 3, 640, 640)) -> None:
        """Run a batch of zeros of this shape, on a CUDA device only, where the first run is slow."""
        if self.device.type != "cpu":
            self.forward(torch.zeros(*imgsz, device=self.device))
