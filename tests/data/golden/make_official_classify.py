"""Writes official_classify.json: what the transforms of ultralytics 8.3.0 make of drawn images, by torch's seed.

Run it with a Python that has the official package: python make_official_classify.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ultralytics.data.augment import classify_augmentations, classify_transforms

SHAPES = [(40, 60), (96, 64), (20, 20), (150, 31)]
VALIDATION = [{"size": 32}, {"size": 64, "crop_fraction": 0.8}, {"size": (32, 48)}, {"size": 33}]
TRAINING = [
    {"size": 32, "auto_augment": "randaugment", "erasing": 0.9},
    {"size": 32, "auto_augment": "augmix"},
    {"size": 32, "auto_augment": "autoaugment"},
    {"size": 48, "scale": (0.5, 1.0), "vflip": 0.5, "hsv_h": 0.1, "hsv_s": 0.7, "erasing": 0.5},
    {"size": 32, "auto_augment": "randaugment", "force_color_jitter": True},
]


def drawn(h, w):
    """The same image everywhere: values from a formula."""
    y, x, c = np.mgrid[:h, :w, :3]
    return Image.fromarray(((y * 7 + x * 3 + c * 50 + (x * y) // 5) % 256).astype(np.uint8))


def fingerprint(tensor):
    """Shape, sum, and a sum weighted by position, which moves when a pixel does."""
    flat = tensor.double().flatten()
    return [list(tensor.shape), float(flat.sum()), float((flat * (torch.arange(flat.numel()) % 1009)).sum())]


def validation():
    return [[o, s, fingerprint(classify_transforms(**o)(drawn(*s)))] for o in VALIDATION for s in SHAPES]


def training():
    result = []
    for options in TRAINING:
        for seed, shape in enumerate(SHAPES * 2):
            torch.manual_seed(seed)
            result.append([options, shape, seed, fingerprint(classify_augmentations(**options)(drawn(*shape)))])
    return result


if __name__ == "__main__":
    target = Path(__file__).with_name("official_classify.json")
    target.write_text(
        json.dumps({"validation": validation(), "training": training()}).replace("]], [", "]],\n[") + "\n"
    )
