"""Prediction with a classification network: the probabilities of all classes for each image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ultralytics.data.classify_transforms import ImageTransform, classify_transforms
from ultralytics.engine.predictor import BasePredictor
from ultralytics.engine.protocols import Outputs
from ultralytics.engine.results import Results
from ultralytics.models.yolo.classify.data import images_for_network


class ClassificationPredictor(BasePredictor):
    """Predicts classes for any source; arguments as of `BasePredictor`.

    Attributes:
        transforms: from an RGB PIL image to the network's input (3, H, W), the same as in validation: `imgsz`,
            `crop_fraction` and `letterbox` of the call, by default those of training.
    """

    transforms: ImageTransform

    def __init__(
        self,
        cfg: Any = None,
        overrides: Any = None,
        _callbacks: Mapping[str, Sequence[Callable[[Any], None]]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(cfg, overrides, _callbacks, **kwargs)
        self.args.task = "classify"

    def setup_model(self, model: nn.Module | str | Path | None, verbose: bool = True) -> None:
        super().setup_model(model, verbose)
        height, width = self.imgsz
        self.transforms = classify_transforms(
            height if height == width else (height, width),
            crop_fraction=self.args.crop_fraction,
            letterbox=bool(self.args.letterbox),
        )

    def preprocess(self, im: Tensor | list[np.ndarray]) -> Tensor:
        """Input of the network.

        Args:
            im: images (H, W, 3) uint8 BGR, or a tensor (B, 3, H, W) RGB in 0..1 of any size, which is not scaled.

        Returns:
            (B, 3, H, W) RGB in 0..1 on the device, channels last.
        """
        if not isinstance(im, Tensor):
            im = torch.stack([self.transforms(Image.fromarray(cv2.cvtColor(x, cv2.COLOR_BGR2RGB))) for x in im])
        return images_for_network(im, self.device, torch.float16 if self.half else torch.float32)

    def postprocess(self, preds: Outputs, img: Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        probabilities = preds[0] if isinstance(preds, list | tuple) else preds
        return [
            Results(image, path=path, names=self.model.names, probs=probs)
            for probs, image, path in zip(probabilities, orig_imgs, self.batch[0], strict=True)
        ]
