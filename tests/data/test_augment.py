"""Letterbox against the official package, and each step of the augmentation."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_dataset import instances

from ultralytics.data.augment import (
    CopyPaste,
    Format,
    LetterBox,
    MixUp,
    Mosaic,
    RandomFlip,
    RandomHSV,
    RandomPerspective,
    TrainAugment,
)
from ultralytics.data.polygons import fill_polygons
from ultralytics.data.warp import GRAY
from ultralytics.tasks import LabelSchema

GOLDEN = json.loads((Path(__file__).parent / "golden" / "official.json").read_text())
OFF = {"mosaic": 0, "mixup": 0, "degrees": 0, "translate": 0, "scale": 0, "shear": 0, "perspective": 0, "hsv_h": 0,
       "hsv_s": 0, "hsv_v": 0, "flipud": 0, "fliplr": 0, "bgr": 0}  # fmt: skip


def sample_image(h, w):
    """As in golden/make_official.py."""
    y, x, c = np.mgrid[:h, :w, :3]
    return ((y * 7 + x * 3 + c * 50 + (x * y) // 5) % 256).astype(np.uint8)


def fingerprint(image):
    """As in golden/make_official.py."""
    flat = image.astype(np.int64).ravel()
    return [list(image.shape), int(flat.sum()), int((flat * (np.arange(flat.size) % 1009)).sum())]


def boxes_only(*boxes):
    return instances(boxes)


class ConstantRng:
    """A generator whose uniform numbers are all at the same share of their range."""

    def __init__(self, share):
        self.share = share

    def uniform(self, low, high, size=None):
        value = low + (high - low) * self.share
        return value if size is None else np.full(size, value)

    def random(self, size=None):
        return self.uniform(0, 1, size)


@pytest.mark.parametrize(("h", "w", "options", "expected"), GOLDEN["letterbox"])
def test_letterbox_is_the_official_one(h, w, options, expected):
    options = {"scale_fill" if key == "scaleFill" else key: value for key, value in options.items()}
    assert fingerprint(LetterBox(**options)(image=sample_image(h, w))) == expected


@pytest.mark.parametrize(
    ("shape", "options", "size", "pad", "box"),
    [
        ((333, 500), {"new_shape": 640}, (640, 640), (0, 107), (12.8, 119.8, 25.6, 132.6)),
        ((333, 500), {"new_shape": 640, "auto": True}, (448, 640), (0, 11), (12.8, 23.8, 25.6, 36.6)),
        ((100, 63), {"new_shape": 64}, (64, 64), (12, 0), (18.4, 6.4, 24.8, 12.8)),
        ((48, 64), {"new_shape": (64, 96), "scaleup": False}, (64, 96), (16, 8), (26, 18, 36, 28)),
        # the remaining two are shifted in 8.3.0: by all of the gray, and by half a pixel
        ((100, 63), {"new_shape": 64, "center": False}, (64, 64), (0, 0), (6.4, 6.4, 12.8, 12.8)),
        ((51, 64), {"new_shape": 64}, (64, 64), (0, 6), (10, 16, 20, 26)),
        ((32, 64), {"new_shape": (64, 32), "scale_fill": True}, (64, 32), (0, 0), (5, 20, 10, 40)),
    ],
)
def test_letterbox_moves_boxes(shape, options, size, pad, box):
    labels = {
        "img": sample_image(*shape),
        "instances": boxes_only((10, 10, 20, 20)),
        "ratio_pad": (1.0, 1.0),
        "im_file": "x",
    }
    done = LetterBox(**options)(labels)
    assert done["img"].shape[:2] == done["resized_shape"] == size
    assert done["ratio_pad"] == ((1.0, 1.0), pad)
    assert np.allclose(done["instances"].boxes, [box], atol=1e-4)
    assert done["im_file"] == "x"
    assert labels["instances"].boxes.tolist() == [[10, 10, 20, 20]]


def test_letterbox_rect_shape_and_gray_images():
    assert LetterBox(64)({"img": sample_image(30, 60), "rect_shape": (32, 64)})["img"].shape == (32, 64, 3)
    assert LetterBox(64)(image=sample_image(30, 60)[:, :, 0]).shape == (64, 64)
    assert (LetterBox(64)(image=sample_image(30, 60))[:16] == GRAY).all()


def test_mosaic_lays_out_four_images():
    images = [(np.full((h, w, 3), 10 * (k + 1), np.uint8), boxes_only((0, 0, w, h))) for k, (h, w) in
                enumerate([(40, 64), (64, 50), (64, 64), (30, 64)])]  # fmt: skip
    scene = Mosaic(64)(images, ConstantRng(0.5))  # the center at (64, 64)
    assert scene.shape == (128, 128)
    assert [(t.x, t.y, *t.image.shape[:2]) for t in scene.tiles] == [
        (0, 24, 40, 64), (64, 0, 64, 50), (0, 64, 64, 64), (64, 64, 30, 64)]  # fmt: skip
    assert scene.instances.boxes.tolist() == [[0, 24, 64, 64], [64, 0, 114, 64], [0, 64, 64, 128], [64, 64, 128, 94]]
    assert scene.owner.tolist() == [0, 1, 2, 3]


def test_mosaic_cuts_at_the_canvas():
    images = [(sample_image(64, 64), boxes_only((0, 0, 20, 20), (40, 40, 64, 64))) for _ in range(4)]
    scene = Mosaic(64)(images, ConstantRng(0.0))  # the center at (32, 32): the first three are cut
    assert [(t.x, t.y, *t.image.shape[:2]) for t in scene.tiles] == [
        (0, 0, 32, 32), (32, 0, 32, 64), (0, 32, 64, 32), (32, 32, 64, 64)]  # fmt: skip
    assert np.array_equal(scene.tiles[0].image, sample_image(64, 64)[32:, 32:])
    assert scene.instances.boxes.tolist() == [
        [8, 8, 32, 32], [72, 8, 96, 32], [8, 72, 32, 96], [32, 32, 52, 52], [72, 72, 96, 96]]  # fmt: skip
    assert scene.owner.tolist() == [0, 1, 2, 3, 3]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_matrix_is_the_product_that_8_3_0_uses(share):
    perspective = RandomPerspective(degrees=30, translate=0.1, scale=0.5, shear=8, perspective=0.001)
    matrix, scale = perspective.matrix((128, 128), (64, 48), ConstantRng(share))
    t = 2 * share - 1
    assert scale == pytest.approx(1 + 0.5 * t)
    center, tilt, rotation, slant, shift = (np.eye(3) for _ in range(5))
    center[:2, 2] = -64
    tilt[2, :2] = 0.001 * t
    rotation[:2] = cv2.getRotationMatrix2D((0, 0), 30 * t, scale)
    slant[0, 1] = slant[1, 0] = np.tan(np.radians(8 * t))
    shift[:2, 2] = (0.5 + 0.1 * t) * 48, (0.5 + 0.1 * t) * 64
    assert np.allclose(matrix, shift @ slant @ rotation @ tilt @ center, atol=1e-12)


def test_draws_cover_their_ranges():
    rng = np.random.default_rng(0)
    drawn = [RandomPerspective(translate=0.1, scale=0.5).matrix((128, 128), (64, 64), rng) for _ in range(500)]
    scales = np.array([s for _, s in drawn])
    shifts = np.array([(m[0, 2] + 64 * s) / 64 for m, s in drawn])
    assert 0.5 <= scales.min() < 0.53 < 1.47 < scales.max() <= 1.5
    assert 0.4 <= shifts.min() < 0.41 < 0.59 < shifts.max() <= 0.6
    assert abs(scales.mean() - 1) < 0.05


@pytest.mark.parametrize(("share", "rgb"), [(0.2137, False), (0.9137, False), (0.7137, True)])
def test_hsv_is_a_table_for_each_channel(share, rgb):
    image = sample_image(150, 90)  # more than one stripe
    gains = 1 + (2 * share - 1) * np.array([0.015, 0.7, 0.4])
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float64) * gains
    hsv[..., 0] %= 180
    expected = cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)
    got = RandomHSV()(image, ConstantRng(share), to_rgb=rgb)
    assert np.array_equal(got[:, :, ::-1] if rgb else got, expected)


@pytest.mark.parametrize("gains", [(0.015, 0.7, 0.4), (0, 0, 0)])
@pytest.mark.parametrize("flips", [(True, False), (False, True), (True, True)])
def test_hsv_flips_in_the_same_pass(gains, flips):
    image, step = sample_image(150, 90), RandomHSV(*gains)
    plain = step(image, ConstantRng(0.4))
    expected = plain[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    assert np.array_equal(step(image, ConstantRng(0.4), flips=flips), expected)
    assert np.array_equal(plain, image) == (not any(gains))


def test_flip():
    image = sample_image(10, 20)
    flipped, result = RandomFlip(1.0, 1.0)(image, boxes_only((1, 2, 5, 4)), np.random.default_rng(0))
    assert np.array_equal(flipped, image[::-1, ::-1])
    assert result.boxes.tolist() == [[15, 6, 19, 8]]
    rng = np.random.default_rng(0)
    assert 0.45 < np.mean([RandomFlip(0, 0.5).draw(rng)[1] for _ in range(500)]) < 0.55
    assert not any(RandomFlip(0, 0.5).draw(rng)[0] for _ in range(100))


def test_mixup():
    first, second = np.full((4, 4, 3), 100, np.uint8), np.full((4, 4, 3), 200, np.uint8)
    ratios = []
    rng = np.random.default_rng(0)
    for _ in range(50):
        image, result = MixUp()((first, boxes_only((0, 0, 1, 1))), (second, boxes_only((1, 1, 2, 2))), rng)
        ratios.append((200 - int(image[0, 0, 0])) / 100)
    assert result.boxes.tolist() == [[0, 0, 1, 1], [1, 1, 2, 2]]
    assert 0.3 < min(ratios) < 0.47 < np.mean(ratios) < 0.54 < max(ratios) < 0.7  # Beta(32, 32)


def test_format():
    image = sample_image(20, 40)
    sample = Format()(image, boxes_only((4, 2, 12, 10), (0, 0, 40, 20)))
    assert sample["img"].shape == (3, 20, 40)
    assert np.array_equal(sample["img"].numpy(), image.transpose(2, 0, 1))
    assert np.allclose(sample["bboxes"], [[0.2, 0.3, 0.2, 0.4], [0.5, 0.5, 1, 1]])
    assert sample["cls"].tolist() == [[0], [1]]
    empty = Format()(image, boxes_only())
    assert (tuple(empty["cls"].shape), tuple(empty["bboxes"].shape)) == ((0, 1), (0, 4))


def load(k):
    return sample_image(48, 64), boxes_only((10, 10, 30, 40))


def test_everything_off_is_a_letterbox():
    image, result = TrainAugment(OFF, 64)(load, np.random.default_rng(0))
    assert np.array_equal(image[:, :, ::-1], LetterBox(64)(image=sample_image(48, 64)))
    assert result.boxes.tolist() == [[10, 18, 30, 48]]


def test_bgr_and_rect_shape():
    image, _ = TrainAugment({**OFF, "bgr": 1.0}, 64)(load, np.random.default_rng(0), rect_shape=(64, 96))
    expected = LetterBox((64, 96))(image=sample_image(48, 64))
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("hyp", "used"), [
    ({}, {0}), ({"mosaic": 1.0}, {0, 1, 2, 3}), ({"mixup": 1.0}, {0, 4}), ({"mosaic": 1.0, "mixup": 1.0}, set(range(8)))
])  # fmt: skip
def test_which_other_images_are_loaded(hyp, used):
    loaded = set()
    image, _ = TrainAugment({**OFF, **hyp}, 64)(lambda k: (loaded.add(k), load(k))[1], np.random.default_rng(0))
    assert loaded == used
    assert image.shape == (64, 64, 3)


def test_the_same_numbers_give_the_same_sample():
    augment = TrainAugment(
        {**OFF, "mosaic": 0.5, "mixup": 0.5, "scale": 0.5, "translate": 0.1, "hsv_s": 0.7, "fliplr": 0.5}, 64
    )
    for seed in range(5):
        one, two = (augment(load, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(one[0], two[0])
        assert np.array_equal(one[1].boxes, two[1].boxes)
    others = {augment(load, np.random.default_rng(seed))[0].tobytes() for seed in range(5)}
    assert len(others) == 5


def load_outlined(k):
    """Image k with a triangle of the class 0 at the left."""
    return sample_image(64, 64) // (k + 1), instances([[4, 4, 20, 20]], [TRIANGLE])


TRIANGLE = np.float32([[4, 4], [20, 4], [4, 20]])


def test_copy_paste_from_the_mirror_image():
    image = sample_image(64, 64)
    result, pasted = CopyPaste(1.0).mirrored(image, instances([[4, 4, 20, 20]], [TRIANGLE]), None)
    assert pasted.boxes.tolist() == [[4, 4, 20, 20], [44, 4, 60, 20]]
    assert pasted.segments.parts(1)[0].tolist() == [[60, 4], [44, 4], [60, 20]]
    mask = fill_polygons(pasted.segments.parts(1), (64, 64)) > 0
    assert np.array_equal(result[mask], image[:, ::-1][mask])
    assert np.array_equal(result[~mask], image[~mask])
    assert np.array_equal(image, sample_image(64, 64))


@pytest.mark.parametrize(
    ("share", "count"), [(0.1, 0), (0.3, 2), (0.5, 2), (1.0, 5)]
)  # of five candidates, round half to even, as in 8.3.0
def test_copy_paste_takes_a_share_of_those_that_hide_little(share, count):
    boxes = [[2, 10 * k, 8, 10 * k + 6] for k in range(5)] + [[26, 50, 38, 62]]  # the last lies on its mirror image
    polygons = [[[a, b], [c, b], [c, d], [a, d]] for a, b, c, d in boxes]
    _, pasted = CopyPaste(share).mirrored(sample_image(64, 64), instances(boxes, np.float32(polygons)), None)
    assert len(pasted) == 6 + count


def test_copy_paste_does_nothing_without_outlines():
    image = sample_image(64, 64)
    result, same = CopyPaste(1.0).mirrored(image, boxes_only((4, 4, 20, 20)), None)
    assert result is image
    assert len(same) == 1


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_copy_paste_flip_in_training(mosaic):
    """Instances are added, the image changes, and no random number is spent."""
    added = 0
    for seed in range(5):
        (image, plain), (changed, pasted) = (
            TrainAugment({**OFF, "mosaic": mosaic}, 64, copy_paste=share)(load_outlined, np.random.default_rng(seed))
            for share in (0.0, 1.0)
        )
        assert (len(pasted) > len(plain)) == (image != changed).any()
        assert np.array_equal(pasted.boxes[: len(plain)], plain.boxes)
        added += len(pasted) - len(plain)
    assert added >= 3


@pytest.mark.parametrize(("mixup", "loaded"), [(0.0, {0, 8}), (1.0, {0, 8, 4, 12})])
def test_copy_paste_from_another_image(mixup, loaded):
    augment = TrainAugment({**OFF, "mixup": mixup}, 64, copy_paste=1.0, copy_paste_mode="mixup")
    used = set()
    shifted = instances([[40, 40, 60, 60]], [TRIANGLE + 38])

    def load_numbered(k):
        used.add(k)
        image, own = load_outlined(k)
        return image, own if k in (0, 4) else shifted

    _, result = augment(load_numbered, np.random.default_rng(0))
    assert used == loaded
    assert augment.num_mix == 15
    assert result.boxes[:2].tolist() == [[4, 4, 20, 20], [42, 42, 58, 58]]
    augment.close_mosaic()
    assert augment.num_mix == 7


def test_flips_swap_keypoints_left_to_right_only():
    keypoints = np.float32([[[10, 20, 2], [30, 40, 1]]])
    some = instances([[10, 20, 30, 40]], keypoints=keypoints)
    for chances, expected in (((0, 1), [[34, 40, 1], [54, 20, 2]]), ((1, 0), [[10, 44, 2], [30, 24, 1]])):
        augment = TrainAugment({**OFF, "flipud": chances[0], "fliplr": chances[1]}, 64, flip_idx=[1, 0])
        _, result = augment(lambda k: (sample_image(64, 64), some), np.random.default_rng(0))
        assert result.keypoints.tolist() == [expected]


def test_mosaic_carries_everything():
    parts = instances(
        [[10, 10, 30, 30]],
        [np.float32([[10, 10], [30, 10], [30, 30]])],
        keypoints=np.float32([[[10, 10, 2], [30, 30, 1]]]),
        corners=np.float32([[[10, 10], [30, 10], [30, 30], [10, 30]]]),
    )
    scene = Mosaic(64)([(sample_image(64, 64), parts)] * 4, ConstantRng(0.5))
    for k, (x, y) in enumerate([(0, 0), (64, 0), (0, 64), (64, 64)]):
        assert scene.instances.boxes[k].tolist() == [x + 10, y + 10, x + 30, y + 30]
        assert scene.instances.segments.parts(k)[0][1].tolist() == [x + 30, y + 10]
        assert scene.instances.keypoints[k].tolist() == [[x + 10, y + 10, 2], [x + 30, y + 30, 1]]
        assert scene.instances.corners[k, 2].tolist() == [x + 30, y + 30]


def test_format_of_each_schema():
    image = sample_image(32, 64)
    some = instances(
        [[0, 0, 8, 8], [0, 0, 32, 32]],
        np.float32([[[0, 0], [7, 0], [7, 7], [0, 7]], [[0, 0], [31, 0], [31, 31], [0, 31]]]),
        keypoints=np.float32([[[32, 16, 2]], [[64, 32, 0]]]),
        corners=np.float32([[[0, 0], [8, 0], [8, 8], [0, 8]], [[16, 0], [32, 16], [16, 32], [0, 16]]]),
    )
    assert set(Format()(image, some)) == {"img", "cls", "bboxes", "batch_idx"}
    joined = Format(LabelSchema("polygon"))(image, some)
    assert joined["cls"].tolist() == [[1], [0]]  # the larger first
    assert joined["bboxes"][1].tolist() == [0.0625, 0.125, 0.125, 0.25]
    assert joined["masks"].shape == (1, 8, 16)
    assert [(joined["masks"] == k).sum().item() for k in (1, 2)] == [64 - 4, 4]
    separate = Format(LabelSchema("polygon"), mask_ratio=2, overlap=False)(image, some)
    assert separate["cls"].tolist() == [[0], [1]]
    assert separate["masks"].flatten(1).sum(1).tolist() == [16, 256]
    keypoints = Format(LabelSchema("keypoints", (1, 3)))(image, some)["keypoints"]
    assert keypoints.tolist() == [[[0.5, 0.5, 2]], [[1, 1, 0]]]
    boxes = Format(LabelSchema("oriented_box"))(image, some)["bboxes"]
    assert np.allclose(boxes, [[4 / 64, 4 / 32, 8 / 64, 8 / 32, np.pi / 2],
                               [0.25, 0.5, 512**0.5 / 64, 512**0.5 / 32, np.pi / 4]])  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "shapes"),
    [
        (LabelSchema("polygon"), {"masks": (1, 8, 16), "bboxes": (0, 4)}),
        (LabelSchema("keypoints", (7, 3)), {"keypoints": (0, 7, 3), "bboxes": (0, 4)}),
        (LabelSchema("oriented_box"), {"bboxes": (0, 5)}),
    ],
)
def test_format_of_background(schema, shapes):
    none = instances(
        [],
        keypoints=np.zeros((0, 7, 3), np.float32),
        corners=np.zeros((0, 4, 2), np.float32),
    )
    sample = Format(schema)(sample_image(32, 64), none)
    assert {key: tuple(sample[key].shape) for key in shapes} == shapes
    separate = Format(LabelSchema("polygon"), overlap=False)(sample_image(32, 64), none)
    assert tuple(separate["masks"].shape) == (0, 8, 16)
