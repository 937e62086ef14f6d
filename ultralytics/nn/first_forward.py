"""The first forward pass of a new network: the size of every output, and errors that name the row of the model file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ultralytics.nn.model_file import ModelFileError, row_error

BUILD_SIZE = 256  # side of the image, in pixels

Sizes = list[tuple[int, float]]  # channels and stride of every layer's output; (0, 0) where it is not one map


class Layer(Protocol):
    """A layer as `parse_model` returns it.

    Attributes:
        i: its number.
        f: numbers of the layers it reads; -1 is the layer before.
        type: dotted name of its class.
        np: number of its parameters.
    """

    i: int
    f: int | list[int]
    type: str
    np: int

    def __call__(self, x: Any) -> Any:
        """Output for one map or a list of maps."""


def layer_input(m: Layer, x: Any, outputs: Sequence[Any]) -> Any:
    """What a layer reads.

    Args:
        m: the layer.
        x: output of the layer before it.
        outputs: outputs of all layers before it.
    """
    if m.f == -1:
        return x
    return outputs[m.f] if isinstance(m.f, int) else [x if j == -1 else outputs[j] for j in m.f]


@torch.no_grad()
def first_forward(model: nn.Module, layers: Sequence[Layer], content: Mapping[str, Any]) -> Sizes:
    """Run new layers on an image of zeros, in the mode they are in, and measure their outputs.

    In training mode every batch normalization has then seen one batch (running_var 0.9), as in 8.3.0.

    Args:
        model: the network, whose first parameter gives dtype and device.
        layers: its layers.
        content: of the model file, with the channels of the image as `ch`; for error messages.

    Returns:
        Channels and stride of every output.

    Raises:
        ModelFileError: a layer does not fit its inputs; names the row.
    """
    first = next(model.parameters(), torch.zeros(1))
    x: Any = torch.zeros(1, content["ch"], BUILD_SIZE, BUILD_SIZE, dtype=first.dtype, device=first.device)
    outputs: list[Any] = []
    for m in layers:
        x = layer_input(m, x, outputs)
        try:
            y = m(x)
        except Exception as e:  # whatever a module raises, the message must name the row
            raise _layer_error(content, m, x, str(e) or type(e).__name__) from e
        x = y
        outputs.append(x)
    return [_size(y) for y in outputs]


def _layer_error(content: Mapping[str, Any], m: Layer, x: Any, problem: str) -> ModelFileError:
    sources, maps = (m.f, x) if isinstance(m.f, list) else ([m.f], [x])
    inputs = ", ".join(f"{_source(m.i, f)} {_shape(y)}" for f, y in zip(sources, maps, strict=True))
    return row_error(
        content,
        m.i,
        f"the layer does not fit its inputs, (B, C, H, W) for a {BUILD_SIZE}-pixel image: {inputs}. {problem}. "
        "Check `from`, and the strides and channels of the layers named",
    )


def _source(i: int, f: int) -> str:
    number = i + f if f < 0 else f
    return f"layer {number}" if number >= 0 else "the image"


def _shape(y: object) -> str:
    return str(tuple(y.shape)) if isinstance(y, Tensor) else f"a {type(y).__name__}"


def _size(y: object) -> tuple[int, float]:
    return (y.shape[1], BUILD_SIZE / y.shape[-2]) if isinstance(y, Tensor) and y.ndim == 4 else (0, 0.0)
