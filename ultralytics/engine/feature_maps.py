"""Files that show what each layer of a network computes for the images of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from ultralytics.utils.plotting import plot_feature_maps


class LayeredNetwork(Protocol):
    """A network whose layers can be listed."""

    @property
    def model(self) -> Iterable[nn.Module]:
        """The layers."""

    def predict(self, x: Tensor) -> object:
        """Output for a batch."""


def save_feature_maps(model: LayeredNetwork, im: Tensor, stems: Sequence[str], folder: Path) -> None:
    """Write the output of each layer for each image.

    The files are `<folder>/<stem>/stage<i>_<Module>_features.png`, a grid of the first channels, and `.npy` with all of
    them. Outputs that are not maps, such as those of the head, are left out.

    Args:
        model: network with its layers in `model.model`.
        im: (B, 3, H, W) input.
        stems: names of the folders of the B images.
        folder: of the run.
    """
    layers = list(model.model)
    outputs: dict[int, object] = {}

    def keep(index: int, output: object) -> None:
        outputs[index] = output

    hooks = [layer.register_forward_hook(lambda _m, _i, out, i=i: keep(i, out)) for i, layer in enumerate(layers)]
    try:
        model.predict(im)
    finally:
        for hook in hooks:
            hook.remove()
    for i, output in outputs.items():
        if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[2] * output.shape[3] < 2:
            continue
        name = f"stage{i}_{type(layers[i]).__name__}_features"
        for maps, stem in zip(output, stems, strict=True):
            target = folder / stem
            plot_feature_maps(maps, target / f"{name}.png")
            np.save(target / f"{name}.npy", maps.float().cpu().numpy())
