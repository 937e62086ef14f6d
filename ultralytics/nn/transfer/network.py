"""What weight transfer needs of a network; `BaseModel` has all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

N = TypeVar("N", bound="Network")


class Network(Protocol):
    """A network made from a model file.

    Attributes:
        yaml: content of its model file.
        model: its layers; each has `i` (number), `f` (numbers of the layers it reads) and `type`.
        named: whether `names` come from a dataset, where they might be the numbers of a new network.
    """

    yaml: dict[str, Any]
    model: nn.Sequential
    named: bool

    @property
    def names(self) -> dict[int, str]:
        """Class names by number."""

    @names.setter
    def names(self, names: dict[int, str]) -> None: ...

    def layer_sizes(self) -> list[tuple[int, float]]:
        """Channels, and pixels of the image per cell, of every layer's output; (0, 0) where it is not one map."""

    def new_like(self: N, nc: int | None = None) -> N:
        """A network of the same model file with new weights, and `nc` classes if it is given."""

    def modules(self) -> Iterator[nn.Module]:
        """All modules, as in `nn.Module`."""

    def state_dict(self) -> dict[str, Tensor]:
        """All parameters and persistent buffers, as in `nn.Module`."""
