"""Random changes of color."""

from __future__ import annotations

import cv2
import numpy as np

_STRIPE = 128  # rows that the color steps process at a time, so that they stay in the processor's cache
_TRUNCATE = -0.4999  # turns rounding into the truncation of 8.3.0; not quite -0.5, for products that are whole


class RandomHSV:
    """Random factors on hue, saturation and brightness; flips and reorders channels in the same pass."""

    def __init__(self, hgain: float = 0.015, sgain: float = 0.7, vgain: float = 0.4) -> None:
        self.gains = (hgain, sgain, vgain)

    def __call__(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        to_rgb: bool = False,
        flips: tuple[bool, bool] = (False, False),
    ) -> np.ndarray:
        """A new image with other colors.

        Args:
            image: BGR.
            rng: source of the factors.
            to_rgb: the new image is RGB instead.
            flips: upside down, left to right.
        """
        up, left = flips
        flip_code = ((-1 if left else 0) if up else 1) if up or left else None
        if not any(self.gains):
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if to_rgb else image.copy()
            return cv2.flip(image, flip_code) if flip_code is not None else image
        hue, saturation, value = (1 + rng.uniform(-1, 1, 3) * self.gains).tolist()
        hues = (np.arange(256) * hue % 180).astype(np.uint8)
        order = cv2.COLOR_HSV2RGB if to_rgb else cv2.COLOR_HSV2BGR
        out = np.empty(image.shape, np.uint8)
        for top in range(0, len(image), _STRIPE):
            part = image[top : top + _STRIPE]
            target = out[len(out) - top - len(part) : len(out) - top] if up else out[top : top + len(part)]
            hsv = cv2.cvtColor(part, cv2.COLOR_BGR2HSV)
            h, s, v = cv2.split(hsv)
            cv2.LUT(h, hues, dst=h)
            cv2.convertScaleAbs(s, dst=s, alpha=saturation, beta=_TRUNCATE)
            cv2.convertScaleAbs(v, dst=v, alpha=value, beta=_TRUNCATE)
            cv2.merge((h, s, v), dst=hsv)
            if flip_code is None:
                cv2.cvtColor(hsv, order, dst=target)
            else:
                cv2.flip(cv2.cvtColor(hsv, order), flip_code, dst=target)
        return out
