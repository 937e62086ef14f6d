"""Components of a result: boxes, oriented boxes, masks, keypoints and probabilities; tensors and arrays alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ultralytics.engine.results import OBB, BaseTensor, Boxes, Keypoints, Masks, Probs, label_lines, write_label_file

SHAPE = (80, 100)  # height, width
ROWS = [[10, 20, 50, 40, 0.9, 0], [0, 0, 100, 80, 0.5, 1], [60, 10, 70, 30, 0.25, 0]]
TRACKED = [[10, 20, 50, 40, 7, 0.9, 0], [0, 0, 100, 80, 8, 0.5, 1]]

both = pytest.mark.parametrize("as_type", [torch.tensor, np.float32], ids=["torch", "numpy"])


def make(rows, as_type=torch.tensor):
    return torch.tensor(rows) if as_type is torch.tensor else np.array(rows, np.float32)


@both
class TestBoxes:
    def test_every_form_of_the_coordinates(self, as_type):
        boxes = Boxes(make(ROWS, as_type), SHAPE)
        for name, first in (
            ("xyxy", [10, 20, 50, 40]),
            ("xywh", [30, 30, 40, 20]),
            ("xyxyn", [0.1, 0.25, 0.5, 0.5]),
            ("xywhn", [0.3, 0.375, 0.4, 0.25]),
        ):
            values = getattr(boxes, name)
            assert type(values) is type(boxes.data)
            assert values.shape == (3, 4)
            assert values[0].tolist() == pytest.approx(first)
        assert boxes.conf.tolist() == pytest.approx([0.9, 0.5, 0.25])
        assert boxes.cls.tolist() == [0, 1, 0]
        assert boxes.id is None
        assert not boxes.is_track

    def test_tracked(self, as_type):
        boxes = Boxes(make(TRACKED, as_type), SHAPE)
        assert boxes.is_track
        assert boxes.id.tolist() == [7, 8]
        assert boxes.conf.tolist() == pytest.approx([0.9, 0.5])
        assert boxes.cls.tolist() == [0, 1]

    def test_indexing_and_iteration_keep_rows(self, as_type):
        boxes = Boxes(make(ROWS, as_type), SHAPE)
        assert boxes.shape == (3, 6)
        assert boxes[1].shape == (1, 6)
        assert boxes[1].cls.tolist() == [1]
        assert boxes[boxes.conf > 0.4].shape == (2, 6)
        assert boxes[[0, 2]].cls.tolist() == [0, 0]
        assert [len(b) for b in boxes] == [1, 1, 1]
        assert [b.xyxy[0, 0].item() for b in boxes] == [10, 0, 60]

    def test_conversions(self, as_type):
        boxes = Boxes(make(ROWS, as_type), SHAPE)
        assert isinstance(boxes.numpy().data, np.ndarray)
        assert isinstance(boxes.to("cpu").data, torch.Tensor)
        assert boxes.to(torch.float64).data.dtype == torch.float64
        assert boxes.cpu().shape == (3, 6)
        assert boxes.orig_shape == boxes.numpy().orig_shape == SHAPE

    def test_a_vector_is_one_row(self, as_type):
        assert Boxes(make(ROWS[0], as_type), SHAPE).shape == (1, 6)
        assert OBB(make([10, 10, 5, 3, 0.3, 0.5, 0], as_type), SHAPE).shape == (1, 7)


@pytest.mark.parametrize(
    ("component", "data", "error", "text"),
    [
        (Boxes, torch.zeros(2, 5), ValueError, r"6 columns \(x1, y1, x2, y2, confidence, class\).*\(2, 5\)"),
        (Boxes, torch.zeros(2, 2, 6), ValueError, r"\(2, 2, 6\)"),
        (Boxes, [[1, 2, 3, 4, 5, 6]], TypeError, "list"),
        (OBB, torch.zeros(2, 6), ValueError, r"7 columns.*\(2, 6\)"),
        (Masks, torch.zeros(2, 2, 2, 2), ValueError, r"\(2, 2, 2, 2\)"),
        (Keypoints, torch.zeros(2, 5, 4), ValueError, r"\(2, 5, 4\)"),
        (Probs, torch.zeros(1, 5), ValueError, r"\(1, 5\)"),
    ],
)
def test_other_shapes_are_errors(component, data, error, text):
    with pytest.raises(error, match=text):
        component(data, SHAPE)


@both
class TestOBB:
    def test_corners_of_the_specification(self, as_type):
        obb = OBB(make([[50, 50, 40, 20, 0.5, 0.9, 3]], as_type), SHAPE)
        expected = [[62.757, 68.364], [72.346, 50.813], [37.243, 31.636], [27.654, 49.187]]
        assert np.allclose(obb.xyxyxyxy[0], expected, atol=1e-3)
        assert np.allclose(obb.xyxyxyxyn[0], np.array(expected) / [100, 80], atol=1e-5)
        assert np.allclose(obb.xyxy[0], [27.654, 31.636, 72.346, 68.364], atol=1e-3)
        assert obb.xywhr.shape == (1, 5)
        assert type(obb.xyxy) is type(obb.data)

    def test_corners_outside_of_the_image_stay_outside(self, as_type):
        obb = OBB(make([[0, 0, 40, 20, 0, 0.9, 3]], as_type), SHAPE)
        assert obb.xyxy[0].tolist() == [-20, -10, 20, 10]

    def test_tracked(self, as_type):
        obb = OBB(make([[50, 50, 40, 20, 0.5, 4, 0.9, 3]], as_type), SHAPE)
        assert (obb.id.tolist(), obb.cls.tolist(), obb.is_track) == ([4], [3], True)


@both
class TestMasks:
    def test_outline_is_in_pixels_of_the_original(self, as_type):
        mask = np.zeros((64, 64), np.float32)
        mask[20:41, 16:33] = 1  # in a letterbox of 64 x 64 around 80 x 100: gain 0.64, borders of 6.4 above and below
        masks = Masks(make(mask.tolist(), as_type), SHAPE)
        assert masks.shape == (1, 64, 64)
        expected = np.array([[16, 20], [16, 40], [32, 40], [32, 20]]) - [0, 6.4]
        assert np.allclose(masks.xy[0], expected / 0.64)
        assert np.allclose(masks.xyn[0], expected / 0.64 / [100, 80])
        assert masks.xy[0].dtype == np.float32

    def test_empty_mask_and_several_parts(self, as_type):
        mask = np.zeros((2, 80, 100), np.float32)
        mask[1, 10:60, 10:60] = 1  # 4 points
        mask[1, 70:73, 80:83] = 1
        mask[1, 73, 81] = mask[1, 69, 81] = 1  # smaller, with more points
        masks = Masks(make(mask.tolist(), as_type), SHAPE)
        assert masks.xy[0].shape == (0, 2)
        assert masks.xy[1][:, 0].min() >= 80

    def test_indexing_keeps_the_dimension(self, as_type):
        masks = Masks(make(np.ones((3, 8, 8)).tolist(), as_type), SHAPE)
        assert (masks[0].shape, masks[1:].shape, len(masks)) == ((1, 8, 8), (2, 8, 8), 3)

    def test_bool_masks(self, as_type):
        data = torch.ones(1, 80, 100, dtype=torch.bool)
        masks = Masks(data if as_type is torch.tensor else data.numpy(), SHAPE)
        assert masks.xy[0].max(0).tolist() == [99, 79]


@both
class TestKeypoints:
    def test_low_confidence_keeps_its_coordinates(self, as_type):
        data = make([[[10, 20, 0.4], [30, 40, 0.6]]], as_type)
        keypoints = Keypoints(data, SHAPE)
        assert keypoints.xy[0].tolist() == [[10, 20], [30, 40]]
        assert data[0, 0, :2].tolist() == [10, 20]
        assert np.allclose(keypoints.xyn[0], [[0.1, 0.25], [0.3, 0.5]])
        assert keypoints.conf[0].tolist() == pytest.approx([0.4, 0.6])
        assert keypoints.has_visible

    def test_without_confidence(self, as_type):
        keypoints = Keypoints(make([[10, 20], [30, 40]], as_type), SHAPE)
        assert keypoints.shape == (1, 2, 2)
        assert keypoints.conf is None
        assert not keypoints.has_visible


@both
class TestProbs:
    def test_top_classes(self, as_type):
        probs = Probs(make([0.1, 0.3, 0.05, 0.25, 0.2, 0.1], as_type))
        assert probs.top1 == 1
        assert probs.top5 == [1, 3, 4, 0, 5]
        assert float(probs.top1conf) == pytest.approx(0.3)
        assert probs.top5conf.tolist() == pytest.approx([0.3, 0.25, 0.2, 0.1, 0.1])
        assert probs.orig_shape is None

    @pytest.mark.parametrize("n", [1, 2, 4])
    def test_fewer_than_five_classes(self, as_type, n):
        probs = Probs(make([1 / n] * n, as_type))
        assert len(probs.top5) == len(probs.top5conf) == n


def test_label_lines_need_no_image(tmp_path):
    boxes = Boxes(np.array(ROWS[:1], np.float32), SHAPE)
    assert label_lines([boxes, None], save_conf=True) == ["0 0.3 0.375 0.4 0.25 0.9"]
    points = Keypoints(np.array([[[10, 20, 0.75]]], np.float32), SHAPE)
    assert label_lines([boxes, points], save_conf=True) == ["0 0.3 0.375 0.4 0.25 0.1 0.25 0.75 0.9"]
    assert label_lines([Probs(torch.tensor([0.25, 0.75]))], {0: "a", 1: "b c"}) == ["0.75 b c", "0.25 a"]
    assert write_label_file(tmp_path / "x.txt", ["1 2", "3"]) == str(tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_text() == "1 2\n3\n"


def test_an_empty_mask_is_written_as_its_box():
    boxes = Boxes(np.array(ROWS[:1], np.float32), SHAPE)
    (line,) = label_lines([boxes, Masks(np.zeros((1, 8, 8), np.float32), SHAPE)])
    assert line == "0 0.1 0.25 0.5 0.25 0.5 0.5 0.1 0.5"


def test_base_tensor_takes_any_rows():
    rows = BaseTensor(torch.arange(6.0).reshape(2, 3), SHAPE)
    assert (rows.shape, len(rows), rows[0].data.tolist()) == ((2, 3), 2, [0, 1, 2])
    assert "BaseTensor(shape=(2, 3)" in repr(rows)
