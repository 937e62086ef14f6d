"""Augmentation of training images: from decoded images to one augmented image.

The distributions are those of ultralytics 8.3.0: mosaic of four, copy-paste, random perspective, mixup, HSV, flips, BGR
order. Random numbers come from a numpy Generator per sample, so that a sample depends on nothing but its `SampleSpec`.
The blur, gray and CLAHE steps that 8.3.0 adds where albumentations is installed are left out.

Images are uint8 (H, W, 3) in BGR order until the HSV step makes RGB of them; instances are in pixels until `Format`.
`Format`, `LetterBox` and the other transforms can be imported from here, as in 8.3.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import cos, radians, sin, tan

import cv2
import numpy as np

from ultralytics.data.color import RandomHSV
from ultralytics.data.format import Format
from ultralytics.data.instances import Instances
from ultralytics.data.letterbox import LetterBox
from ultralytics.data.mix import CopyPaste, ImageAndInstances, MixUp, Mosaic, flattened
from ultralytics.data.warp import Scene, Tile, warp_scene

__all__ = [
    "CopyPaste", "Format", "LetterBox", "MixUp", "Mosaic", "RandomFlip", "RandomHSV", "RandomPerspective",
    "TrainAugment",
]  # fmt: skip

NUM_MIX = 7  # other images that a sample may need: 3 for its mosaic, 4 for the mosaic that is mixed in
_NUM_MIX_PASTE = 15  # with copy_paste_mode=mixup also 4 for a mosaic to paste from, for either of the two
LoadImage = Callable[[int], ImageAndInstances]  # image k of a sample (0 its own, then the others) at training size


class RandomPerspective:
    """Random rotation, zoom, shear, shift and tilt, in one step from the canvas to the image."""

    def __init__(
        self,
        degrees: float = 0.0,
        translate: float = 0.1,
        scale: float = 0.5,
        shear: float = 0.0,
        perspective: float = 0.0,
        clip_outlines: bool = False,
    ) -> None:
        """Set the ranges, as the options of these names; `clip_outlines`: see `warp_scene`."""
        self.translate = translate
        self.spread = (perspective, perspective, degrees, scale, shear, shear)
        self.clip_outlines = clip_outlines

    def matrix(
        self, canvas: tuple[int, int], out: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """Draw a matrix from canvas (h, w) to image (h, w); also gives the zoom in it."""
        px, py, angle, zoom, shear_x, shear_y = (rng.uniform(-1, 1, 6) * self.spread).tolist()
        tx, ty = (0.5 + rng.uniform(-1, 1, 2) * self.translate).tolist()
        s, a = 1 + zoom, radians(angle)
        center = np.array([[1, 0, -canvas[1] / 2], [0, 1, -canvas[0] / 2], [0, 0, 1]])
        tilt = np.array([[1, 0, 0], [0, 1, 0], [px, py, 1]])
        rotation = np.array([[s * cos(a), s * sin(a), 0], [-s * sin(a), s * cos(a), 0], [0, 0, 1]])
        shear = np.array([[1, tan(radians(shear_x)), 0], [tan(radians(shear_y)), 1, 0], [0, 0, 1]])
        shift = np.array([[1, 0, tx * out[1]], [0, 1, ty * out[0]], [0, 0, 1]])
        return shift @ shear @ rotation @ tilt @ center, s

    def __call__(self, scene: Scene, out: tuple[int, int], rng: np.random.Generator) -> ImageAndInstances:
        """An image (h, w) of the scene through a random matrix."""
        matrix, scale = self.matrix(scene.shape, out, rng)
        return warp_scene(scene, matrix, scale, out, self.clip_outlines)


class RandomFlip:
    """Upside down, or left to right, by chance."""

    def __init__(self, flipud: float = 0.0, fliplr: float = 0.5, flip_idx: Sequence[int] | None = None) -> None:
        """Set the chances; `flip_idx`: see `Instances.flipped`."""
        self.chances = (flipud, fliplr)
        self.flip_idx = flip_idx

    def draw(self, rng: np.random.Generator) -> tuple[bool, bool]:
        """Whether an image is flipped upside down, and left to right."""
        up, left = (rng.random(2) < self.chances).tolist()
        return up, left

    def move(self, instances: Instances, shape: Sequence[int], up: bool, left: bool) -> Instances:
        """The instances of an image of `shape` (h, w) after these flips."""
        return instances.flipped(shape[1] if left else 0, shape[0] if up else 0, self.flip_idx)

    def __call__(self, image: np.ndarray, instances: Instances, rng: np.random.Generator) -> ImageAndInstances:
        up, left = self.draw(rng)
        if up or left:
            image = cv2.flip(image, (-1 if left else 0) if up else 1)
        return image, self.move(instances, image.shape, up, left)


class TrainAugment:
    """All transforms of a training sample, from decoded images to one augmented RGB image."""

    KEYS = ("mosaic", "mixup", "degrees", "translate", "scale", "shear", "perspective", "hsv_h", "hsv_s", "hsv_v",
            "flipud", "fliplr", "bgr")  # fmt: skip

    def __init__(
        self,
        hyp: Mapping[str, float],
        imgsz: int,
        *,
        copy_paste: float = 0.0,
        copy_paste_mode: str = "flip",
        flip_idx: Sequence[int] | None = None,
        clip_outlines: bool = False,
    ) -> None:
        """Set the ranges and chances.

        Args:
            hyp: a value for each of KEYS.
            imgsz: side of the image.
            copy_paste: share of the instances with an outline that are pasted (see `CopyPaste`).
            copy_paste_mode: "flip" pastes from the mirrored image, "mixup" from another.
            flip_idx: see `Instances.flipped`.
            clip_outlines: whether outlines are needed exactly, to make masks of them.
        """
        self.imgsz = imgsz
        self.mosaic_p, self.mixup_p, self.bgr_p = float(hyp["mosaic"]), float(hyp["mixup"]), float(hyp["bgr"])
        self.mosaic = Mosaic(imgsz)
        degrees, translate, scale, shear, perspective = (float(hyp[k]) for k in self.KEYS[2:7])
        self.perspective = RandomPerspective(degrees, translate, scale, shear, perspective, clip_outlines)
        self.mixup = MixUp()
        self.copy_paste = CopyPaste(float(copy_paste))
        self.paste_other = copy_paste_mode == "mixup"
        self.hsv = RandomHSV(*(float(hyp[k]) for k in self.KEYS[7:10]))
        self.flip = RandomFlip(float(hyp["flipud"]), float(hyp["fliplr"]), flip_idx)
        self.letterbox = LetterBox((imgsz, imgsz))

    @property
    def num_mix(self) -> int:
        """How many other images a sample may need."""
        return _NUM_MIX_PASTE if self.copy_paste.share and self.paste_other else NUM_MIX

    def close_mosaic(self) -> None:
        """Stop combining images, as at the end of training."""
        self.mosaic_p = self.mixup_p = self.copy_paste.share = 0.0

    def __call__(
        self, load: LoadImage, rng: np.random.Generator, rect_shape: tuple[int, int] | None = None
    ) -> ImageAndInstances:
        """One sample.

        Args:
            load: gives image 0 (the sample's own) and, for transforms that combine images, 1 to `num_mix`.
            rng: source of everything random.
            rect_shape: (H, W) of the batch, instead of the square.

        Returns:
            Image (H, W, 3) in RGB order (BGR by chance `bgr`), and its instances.
        """
        sample = self._pasted(load, (0, 1, 2, 3), (8, 9, 10, 11), rng, rect_shape)
        if self.mixup_p and rng.random() <= self.mixup_p:
            other = self._pasted(load, (4, 5, 6, 7), (12, 13, 14, 15), rng, rect_shape)
            sample = self.mixup(sample, other, rng)
        image, instances = sample
        up, left = self.flip.draw(rng)
        to_rgb = not (self.bgr_p and rng.random() <= self.bgr_p)
        return self.hsv(image, rng, to_rgb, (up, left)), self.flip.move(instances, image.shape, up, left)

    def _pasted(
        self,
        load: LoadImage,
        indices: Sequence[int],
        source: Sequence[int],
        rng: np.random.Generator,
        rect_shape: tuple[int, int] | None,
    ) -> ImageAndInstances:
        """A warped image, with instances of the images `source` pasted in if the options say so."""
        image, instances = self._composed(load, indices, rng, rect_shape)
        if not (self.copy_paste.share and self.paste_other):
            return image, instances
        return self.copy_paste(image, instances, *self._composed(load, source, rng, rect_shape))

    def _composed(
        self, load: LoadImage, indices: Sequence[int], rng: np.random.Generator, rect_shape: tuple[int, int] | None
    ) -> ImageAndInstances:
        """A mosaic of four images, or one image with padding, warped."""
        paste = bool(self.copy_paste.share) and not self.paste_other
        if self.mosaic_p and rng.random() <= self.mosaic_p:
            scene = self.mosaic([load(k) for k in indices], rng)
            scene = self._paste_into(scene) if paste else scene
            return self.perspective(scene, (self.imgsz, self.imgsz), rng)
        image, instances = load(indices[0])
        if paste:
            image, instances = self.copy_paste.mirrored(image, instances, self.flip.flip_idx)
        shape = rect_shape or (self.imgsz, self.imgsz)
        (h, w), (top, _, left, _), scale = self.letterbox.geometry(image.shape, shape)
        if (h, w) != image.shape[:2]:
            image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        instances = instances.moved(scale, (left, top))
        scene = Scene([Tile(image, left, top)], instances, np.zeros(len(instances), int), shape)
        return self.perspective(scene, shape, rng)

    def _paste_into(self, scene: Scene) -> Scene:
        """The scene as a single tile with instances of its mirror image pasted in."""
        image, instances = self.copy_paste.mirrored(flattened(scene), scene.instances, self.flip.flip_idx)
        return replace(scene, tiles=[Tile(image, 0, 0)], instances=instances, owner=np.zeros(len(instances), int))


def __getattr__(name: str) -> object:
    """`classify_transforms` and `classify_augmentations` at their path of 8.3.0; torchvision is imported only then."""
    if name in ("classify_transforms", "classify_augmentations", "ClassifyLetterBox"):
        from ultralytics.data import classify_transforms as module  # costs a second, which detection does not spend

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
