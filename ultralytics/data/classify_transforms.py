"""Transforms of whole images for classification, with the distributions of ultralytics 8.3.0.

Training: random crop resized to the size, flips, automatic augmentation or color jitter, random erasing. Validation and
prediction share one transform: resize and center crop, or letterbox. Both take an RGB PIL image and give a float32
tensor (3, H, W) in 0..1. Random numbers come from torch's global generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms as T

from ultralytics.data.letterbox import LetterBox

ImageTransform = Callable[[Image.Image], Tensor]
MEAN, STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # 8.3.0 does not normalize
_INTERPOLATION = {
    "NEAREST": T.InterpolationMode.NEAREST,
    "BILINEAR": T.InterpolationMode.BILINEAR,
    "BICUBIC": T.InterpolationMode.BICUBIC,
}
_AUTO_AUGMENT = {"randaugment": T.RandAugment, "augmix": T.AugMix, "autoaugment": T.AutoAugment}


class ClassifyLetterBox:
    """Fits an RGB PIL image into a shape without distortion, the rest gray: nothing of a long image is cut off."""

    def __init__(self, size: int | Sequence[int]) -> None:
        """Set the shape: (H, W), or one number for both."""
        self.letterbox = LetterBox(size)

    def __call__(self, image: Image.Image) -> Image.Image:
        return Image.fromarray(self.letterbox(image=np.asarray(image)))


def classify_transforms(
    size: int | Sequence[int] = 224,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    interpolation: str = "BILINEAR",
    crop_fraction: float = 1.0,
    letterbox: bool = False,
) -> T.Compose:
    """The transform of validation and prediction.

    Args:
        size: side of the square, or (H, W), to which the image is stretched.
        mean: subtracted from each channel of the image in 0..1.
        std: each channel is divided by it.
        interpolation: "NEAREST", "BILINEAR" or "BICUBIC".
        crop_fraction: share of the resized image's side that the center crop keeps.
        letterbox: keep the whole image, with padding, instead of the center crop.
    """
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    scaled = floor(height / crop_fraction), floor(width / crop_fraction)
    fit: list[ImageTransform | Callable[[Image.Image], Image.Image]]
    if letterbox:
        fit = [ClassifyLetterBox((height, width))]
    else:
        target = scaled[0] if scaled[0] == scaled[1] else scaled  # one number: the shorter side
        fit = [T.Resize(target, interpolation=_INTERPOLATION[interpolation]), T.CenterCrop((height, width))]
    return T.Compose([*fit, T.ToTensor(), T.Normalize(mean=torch.tensor(mean), std=torch.tensor(std))])


def classify_augmentations(
    size: int = 224,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    scale: tuple[float, float] | None = None,
    ratio: tuple[float, float] | None = None,
    hflip: float = 0.5,
    vflip: float = 0.0,
    auto_augment: str | None = None,
    hsv_h: float = 0.015,
    hsv_s: float = 0.4,
    hsv_v: float = 0.4,
    force_color_jitter: bool = False,
    erasing: float = 0.0,
    interpolation: str = "BILINEAR",
) -> T.Compose:
    """The transform of training.

    Args:
        size: side of the square.
        mean: see `classify_transforms`.
        std: see `classify_transforms`.
        scale: smallest and largest share of the image's area in the random crop; (0.08, 1) by default.
        ratio: smallest and largest width / height of the crop; (3/4, 4/3) by default.
        hflip: chance of a flip left to right.
        vflip: chance of a flip upside down.
        auto_augment: "randaugment", "augmix" or "autoaugment"; None or empty for color jitter instead.
        hsv_h: range of hue of the color jitter.
        hsv_s: range of saturation.
        hsv_v: range of brightness and contrast.
        force_color_jitter: color jitter also beside an automatic augmentation.
        erasing: chance that a random rectangle is blanked out.
        interpolation: see `classify_transforms`.

    Raises:
        ValueError: `auto_augment` is not one of the names.
    """
    if auto_augment and auto_augment not in _AUTO_AUGMENT:
        raise ValueError(f"auto_augment is {auto_augment!r}, but must be one of {', '.join(_AUTO_AUGMENT)}, or none")
    mode = _INTERPOLATION[interpolation]
    steps: list[object] = [T.RandomResizedCrop(size, scale or (0.08, 1.0), ratio or (3 / 4, 4 / 3), mode)]
    if hflip:
        steps.append(T.RandomHorizontalFlip(hflip))
    if vflip:
        steps.append(T.RandomVerticalFlip(vflip))
    if auto_augment:
        steps.append(_AUTO_AUGMENT[auto_augment](interpolation=mode))
    if not auto_augment or force_color_jitter:
        steps.append(T.ColorJitter(brightness=hsv_v, contrast=hsv_v, saturation=hsv_s, hue=hsv_h))
    normalize = T.Normalize(mean=torch.tensor(mean), std=torch.tensor(std))
    return T.Compose([*steps, T.ToTensor(), normalize, T.RandomErasing(p=erasing, inplace=True)])
