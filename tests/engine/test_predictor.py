"""Prediction runs: input of the network, results, files, callbacks; the user's network is not changed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ultralytics.cfg import get_cfg
from ultralytics.data.source_batch import Frame
from ultralytics.engine.prediction_writer import PredictionWriter
from ultralytics.engine.predictor import BasePredictor
from ultralytics.engine.results import Results
from ultralytics.engine.video_file import VIDEO_SUFFIX
from ultralytics.nn.inference.inference_model import get_inference_model
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

EVENTS = [
    "on_predict_start",
    "on_predict_batch_start",
    "on_predict_postprocess_end",
    "on_predict_batch_end",
    "on_predict_end",
]


class Net(nn.Module):
    """As much of a network as a predictor needs; its output is the mean color of each image."""

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4))
        self.stride = torch.tensor([8.0, 16.0, 32.0])
        self.names = {0: "cat", 1: "dog"}
        self.fused = 0
        self.seen = []

    def fuse(self, verbose=True):
        self.fused += 1
        return self

    def forward(self, x, **kwargs):
        return self.predict(x, **kwargs)

    def predict(self, x, augment=False, embed=None):
        self.seen.append((tuple(x.shape), x.dtype, x.is_contiguous(memory_format=torch.channels_last), augment))
        self.model(x)
        means = x.mean((2, 3))
        return torch.unbind(means) if embed else means


class Predictor(BasePredictor):
    """One box of class dog for each image: its left half."""

    def postprocess(self, preds, img, orig_imgs):
        self.means = preds
        results = []
        for image, path in zip(orig_imgs, self.batch[0], strict=True):
            box = torch.tensor([[0, 0, image.shape[1] / 2, image.shape[0], 0.75, 1]])
            results.append(Results(image, path, self.names, boxes=box))
        return results


@pytest.fixture
def predict(tmp_path):
    """Make a predictor whose files go to tmp_path/run."""

    def make(net=None, callbacks=None, **options):
        options = {"imgsz": 64, "save": False, "device": "cpu", "verbose": False, "conf": 0.25, "batch": 1} | options
        args = get_cfg({"task": "detect", "mode": "predict", "project": str(tmp_path), "name": "run", **options})
        return Predictor(net or Net(), args, callbacks)

    return make


@pytest.fixture
def log(monkeypatch):
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(LOGGER, level, lambda text, *args: lines.append(text % args if args else text))
    return lines


def blank(h=48, w=64, color=(255, 0, 0)):
    return np.full((h, w, 3), color, np.uint8)


def write(path, h=48, w=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (w, h), (9, 99, 199)).save(path)
    return path


def write_video(path, frames=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12, (64, 48))
    for _ in range(frames):
        video.write(blank())
    video.release()
    return path


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


class TestInput:
    @pytest.mark.parametrize(
        ("imgsz", "shapes", "expected"),
        [
            (160, [(48, 64)], (1, 3, 128, 160)),  # enlarged, with no more padding than the stride needs
            (160, [(100, 640)], (1, 3, 32, 160)),
            ([320, 640], [(480, 640)], (1, 3, 320, 448)),
            (160, [(48, 64), (64, 48)], (2, 3, 160, 160)),  # several shapes: the full square
            (150, [(64, 64)], (1, 3, 160, 160)),
        ],
    )
    def test_shape(self, predict, imgsz, shapes, expected):
        run = predict(imgsz=imgsz, batch=2)
        run([blank(*shape) for shape in shapes])
        assert run.model.seen == [(expected, torch.float32, True, False)]

    def test_bgr_becomes_rgb_in_0_to_1(self, predict):
        run = predict()
        run(blank(64, 64, (255, 51, 0)))
        assert run.means[0].tolist() == pytest.approx([0, 0.2, 1], abs=1e-6)

    def test_tensor_goes_in_as_it_is(self, predict):
        run = predict(imgsz=320)
        results = run(torch.tensor([0.25, 0.5, 1.0])[None, :, None, None].expand(2, 3, 32, 96))
        assert run.means[1].tolist() == [0.25, 0.5, 1.0]
        assert run.model.seen[0][:3] == ((2, 3, 32, 96), torch.float32, True)
        assert [r.orig_shape for r in results] == [(32, 96)] * 2
        with pytest.raises(ValueError, match="multiples of 32; they are 40 and 96"):
            run(torch.zeros(1, 3, 40, 96))

    def test_lists_are_split_into_batches(self, predict):
        run = predict(batch=2)
        assert len(run([blank()] * 5)) == 5
        assert [shape[0] for shape, *_ in run.model.seen] == [2, 2, 1]
        assert run.seen == 5
        run(blank())
        assert run.seen == 1

    def test_augment_reaches_the_network(self, predict):
        run = predict(augment=True)
        run(blank())
        assert run.model.seen[0][3] is True

    def test_half_needs_a_gpu(self, predict, log):
        run = predict(half=True)
        run(blank())
        assert run.model.seen[0][1] == torch.float32
        assert "half=True needs a GPU" in log[0]


class TestOutput:
    def test_list_and_stream_give_the_same(self, predict):
        run = predict()
        listed = run([blank(), blank(32, 32)])
        assert isinstance(listed, list)
        streamed = run([blank(), blank(32, 32)], stream=True)
        assert iter(streamed) is streamed
        assert [r.boxes.xyxy.tolist() for r in streamed] == [r.boxes.xyxy.tolist() for r in listed]
        assert listed[0].names == {0: "cat", 1: "dog"}

    def test_a_stream_runs_only_as_far_as_it_is_read(self, predict):
        run = predict()
        stream = run([blank()] * 3, stream=True)
        next(stream)
        assert len(run.model.seen) == 1

    def test_speed_of_each_image_and_of_the_run(self, predict):
        run = predict(batch=2)
        results = run([blank()] * 2)
        for speed in (results[0].speed, run.speed):
            assert list(speed) == ["preprocess", "inference", "postprocess"]
            assert all(ms > 0 for ms in speed.values())

    def test_embedding_is_one_vector_per_image(self, predict):
        vectors = predict(embed=[0], batch=2, save=True)([blank()] * 3)
        assert [v.shape for v in vectors] == [(3,)] * 3

    def test_results_may_be_changed_and_learned_from(self, predict):
        boxes = predict()(blank())[0].boxes
        boxes.xyxy[:, 0] += 1
        assert boxes.xyxy[0, 0] == 1
        vector = predict(embed=[0])(blank())[0]
        (vector * torch.ones(3, requires_grad=True)).sum().backward()

    def test_log_lines(self, predict, log, tmp_path):
        path = write(tmp_path / "x.jpg")
        predict(verbose=True)(path)
        assert log[0].startswith(f"image 1/1 {path}: 64x64 1 dog, ") or log[0].startswith(f"image 1/1 {path}: 48x64 ")
        assert log[0].endswith(" ms")
        assert log[1].startswith("Speed per image: ")
        log.clear()
        predict(verbose=False)(path)
        assert log == []

    def test_missing_source_is_known_before_the_stream_is_read(self, predict):
        with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
            predict()("gone.jpg", stream=True)

    def test_many_results_in_a_list_are_warned_about(self, predict, log, tmp_path):
        source = write_video(tmp_path / "v.avi")
        predict()(source)
        assert "stream=True" in log[0]
        log.clear()
        list(predict()(source, stream=True))
        predict()([blank()] * 3)
        assert log == []
        predict(batch=1001, imgsz=32)([blank(8, 8)] * 1001)
        assert "stream=True" in log[0]


class TestCallbacks:
    def test_order_and_state(self, predict):
        order = []
        watch = {event: [lambda p, event=event: order.append((event, p.seen, len(p.results)))] for event in EVENTS}
        list(predict(callbacks=watch)([blank()] * 2, stream=True))
        one = EVENTS[1:4]
        assert [event for event, *_ in order] == [EVENTS[0], *one, *one, EVENTS[4]]
        assert order[0] == ("on_predict_start", 0, 0)
        assert order[2] == ("on_predict_postprocess_end", 1, 1)

    def test_results_that_a_callback_replaces_are_returned(self, predict):
        def drop(predictor):
            predictor.results = [r.new() for r in predictor.results]

        assert len(predict(callbacks={"on_predict_postprocess_end": [drop]})(blank())[0]) == 0


class TestFiles:
    def test_no_files_without_options(self, predict, tmp_path):
        predict()(blank())
        assert files(tmp_path) == []
        assert not (tmp_path / "run").exists()

    def test_files_of_all_options(self, predict, tmp_path):
        path = write(tmp_path / "in" / "x.png")
        results = predict(save=True, save_txt=True, save_conf=True, save_crop=True)(path)
        assert files(tmp_path / "run") == ["crops/dog/x.jpg", "labels/x.txt", "x.png"]
        assert (tmp_path / "run" / "labels" / "x.txt").read_text() == "1 0.25 0.5 0.5 1 0.75\n"
        assert (cv2.imread(str(tmp_path / "run" / "x.png")) == results[0].plot()).all()
        assert results[0].save_dir == str(tmp_path / "run")

    def test_drawing_follows_the_options(self, predict, tmp_path):
        path = write(tmp_path / "in" / "x.png")
        predict(save=True, show_boxes=False)(path)
        assert (cv2.imread(str(tmp_path / "run" / "x.png")) == cv2.imread(str(path))).all()

    def test_a_second_run_gets_its_own_folder(self, predict, tmp_path):
        for _ in range(2):
            predict(save=True)(write(tmp_path / "in" / "x.png"))
        assert files(tmp_path / "run2") == ["x.png"]

    def test_same_names_of_different_folders_stay_unique(self, predict, tmp_path):
        sources = [write(tmp_path / folder / name) for folder, name in (("a", "x.png"), ("b", "X.png"), ("c", "x.jpg"))]
        predict(save=True, save_txt=True, batch=2)([*sources, write(tmp_path / "a" / "x_2.png")])
        assert files(tmp_path / "run") == [
            "X_2.png", "labels/X_2.txt", "labels/x.txt", "labels/x_2_2.txt", "labels/x_3.txt",
            "x.png", "x_2_2.png", "x_3.jpg",
        ]  # fmt: skip

    def test_images_in_memory(self, predict, tmp_path):
        predict(save=True)([blank(), Image.new("L", (40, 40))])
        assert files(tmp_path / "run") == ["image0.jpg", "image1.jpg"]

    def test_no_predictions_leave_no_label(self, predict, tmp_path):
        run = predict(
            save_txt=True, callbacks={"on_predict_postprocess_end": [lambda p: p.results[0].update(torch.zeros(0, 6))]}
        )
        run(blank())
        assert files(tmp_path) == []

    def test_video(self, predict, tmp_path):
        source = write_video(tmp_path / "in" / "v.avi")
        predict(save=True, save_txt=True, save_frames=True, vid_stride=2)([source, write(tmp_path / "in" / "v.png")])
        # the image's label is not called v_2.txt, the name of the second frame's label
        assert files(tmp_path / "run") == [
            "labels/v_1.txt", "labels/v_2.txt", "labels/v_png.txt", f"v{VIDEO_SUFFIX}",
            "v_frames/1.jpg", "v_frames/2.jpg", "v_png.png",
        ]  # fmt: skip
        predict(save_frames=True, name="frames")([source, write(tmp_path / "in" / "v.png")])
        assert files(tmp_path / "frames") == [f"v_frames/{k}.jpg" for k in (1, 2, 3, 4)]
        written = cv2.VideoCapture(str(tmp_path / "run" / f"v{VIDEO_SUFFIX}"))
        assert written.get(cv2.CAP_PROP_FPS) == pytest.approx(6)  # half the frames, half the rate
        assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 2

    @pytest.mark.parametrize(
        ("paths", "stems"),
        [
            (["a/v.avi", "b/v.avi"], ["v", "v_2"]),
            (["v.avi", "v.png", "v_2.png"], ["v", "v_png", "v_2_2"]),  # v_2 is the second frame
            (["v_1.png", "v.avi"], ["v_1", "v_2"]),
            (["x.png", "b/x.png", "x_2.png", "c/X.png"], ["x", "x_2", "x_2_2", "X_3"]),
            (["v.avi", "v_avi.avi", "w/v.gif.png"], ["v", "v_avi", "v.gif"]),
        ],
    )
    def test_no_two_sources_write_to_one_name(self, tmp_path, paths, stems):
        out = PredictionWriter(tmp_path, get_cfg(), live=False)
        frames = [Frame(1, 10.0, path) if path.endswith(".avi") else None for path in paths]
        assert [out.stem(path, frame) for path, frame in zip(paths, frames, strict=True)] == stems

    def test_visualize_draws_the_layers(self, predict, tmp_path):
        predict(visualize=True)(blank())
        assert files(tmp_path / "run") == [
            "image0/stage0_Conv2d_features.npy", "image0/stage0_Conv2d_features.png",
            "image0/stage1_BatchNorm2d_features.npy", "image0/stage1_BatchNorm2d_features.png",
        ]  # fmt: skip
        assert np.load(tmp_path / "run" / "image0" / "stage0_Conv2d_features.npy").shape == (4, 32, 32)


class TestNetwork:
    def test_it_is_copied_once_and_again_when_it_changes(self):
        net, cpu = Net().train(), torch.device("cpu")
        first = get_inference_model(net, cpu, False)
        assert first is not net
        assert (first.fused, net.fused, first.training, net.training) == (1, 0, False, True)
        assert all(p.requires_grad for p in net.parameters())
        assert not any(p.requires_grad for p in first.parameters())
        assert get_inference_model(net, cpu, False) is first
        changes = [
            lambda: net.model[0].weight.data.zero_(),
            lambda: net.load_state_dict({k: v + 1 for k, v in net.state_dict().items()}),
            lambda: net.model.append(nn.ReLU()),
            lambda: setattr(net.model, "0", nn.Conv2d(3, 4, 3, 2, 1)),
        ]
        for change in changes:
            change()
            new = get_inference_model(net, cpu, False)
            assert new is not first
            assert get_inference_model(net, cpu, False) is new
            first = new

    def test_a_real_network_gives_the_same_fused_and_stays_untouched(self, predict):
        torch.manual_seed(0)
        net = DetectionModel("yolo11n.yaml", nc=2, verbose=False)
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.normal_(0, 0.1)
                m.running_var.uniform_(0.5, 1.5)
        before = {k: v.clone() for k, v in net.state_dict().items()}
        taken = {}

        class Raw(Predictor):
            def postprocess(self, preds, img, orig_imgs):
                taken.update(preds=preds[0].clone(), img=img.clone())
                return super().postprocess(preds, img, orig_imgs)

        args = get_cfg({"mode": "predict", "imgsz": 64, "save": False, "device": "cpu", "verbose": False})
        rng = np.random.default_rng(0)
        Raw(net, args)(rng.integers(0, 256, (50, 64, 3), np.uint8))
        assert net.training
        after = net.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[k], after[k]) for k in before)
        with torch.inference_mode():
            torch.testing.assert_close(taken["preds"], net.eval()(taken["img"])[0], rtol=1e-3, atol=1e-3)

    @pytest.mark.gpu
    @pytest.mark.parametrize("half", [False, True])
    def test_on_the_gpu(self, predict, half):
        run = predict(device="0", half=half)
        result = run(blank(64, 64, (255, 51, 0)))[0]
        assert run.means.is_cuda
        assert run.means[0].tolist() == pytest.approx([0, 0.2, 1], abs=1e-3)
        assert run.model.seen[-1][1] == (torch.float16 if half else torch.float32)
        assert result.numpy().boxes.cls.tolist() == [1]


class TestOfficialForm:
    """Predictors made and subclassed as with 8.3.0."""

    def test_constructor_and_call(self, tmp_path):
        run = Predictor(overrides={"imgsz": 64, "save": False, "device": "cpu", "verbose": False})
        assert (run.args.mode, run.args.conf, run.model) == ("predict", 0.25, None)
        (result,) = run(source=blank(), model=Net())
        assert result.boxes.cls.tolist() == [1]
        assert len(list(run(blank(), stream=True))) == 1  # the network stays

    def test_options_over_those_of_cfg(self, tmp_path):
        (tmp_path / "my.yaml").write_text("imgsz: 96\nconf: 0.5\n")
        base = get_cfg({"imgsz": 96, "conf": 0.5, "device": "cpu"})
        for cfg in (str(tmp_path / "my.yaml"), base, vars(base)):
            run = Predictor(cfg, {"imgsz": 128})
            assert (run.args.imgsz, run.args.conf) == (128, 0.5)

    def test_positional_form_of_this_package(self, log):
        args = get_cfg({"mode": "predict", "imgsz": 64, "save": False, "device": "cpu", "verbose": False})
        events = []
        run = Predictor(Net(), args, {"on_predict_end": [events.append]})
        run(blank())
        assert events == [run]

    def test_missing_network_and_source(self):
        run = Predictor(overrides={"device": "cpu", "verbose": False})
        with pytest.raises(ValueError, match="no network"):
            run(blank())
        with pytest.raises(ValueError, match="needs a source"):
            run(model=Net())

    def test_source_and_callbacks(self, predict):
        run = predict(source=[blank()] * 3, batch=2)
        batches = []
        run.add_callback("on_predict_batch_end", lambda p: batches.append(p.batch))
        run.predict_cli()
        assert [len(batch) for batch in batches] == [3, 3]
        paths, images, infos = batches[1]
        assert (paths, infos, images[0].shape) == (["image2.jpg"], ["2: "], (48, 64, 3))
        assert (run.dataset.bs, run.dataset.mode) == (2, "image")

    def test_overridden_methods_are_called(self, tmp_path, log):
        class Own(Predictor):
            def __init__(self, cfg=None, overrides=None, _callbacks=None):
                super().__init__(cfg, overrides, _callbacks)

            def pre_transform(self, im):
                return [np.full((32, 64, 3), 51, np.uint8) for _ in im]

            def preprocess(self, im):
                return super().preprocess(im) * 2

            def inference(self, im, *args, **kwargs):
                return super().inference(im) / 2

            def write_results(self, i, p, im, s):
                return f"line {i} {p} {tuple(im.shape)} {s}"

        run = Own(overrides={"imgsz": 64, "save": False, "device": "cpu"})
        run(blank(), Net())
        assert run.means[0].tolist() == pytest.approx([0.2] * 3, abs=1e-6)
        assert log[0] == "line 0 image0.jpg (1, 3, 32, 64) ['0: ']"

    def test_state_that_scripts_read(self, predict, tmp_path):
        source, modes, writers = write_video(tmp_path / "v.avi", 2), [], []

        def record(predictor):
            modes.append(predictor.dataset.mode)
            writers.append(list(predictor.vid_writer))

        run = predict(save=True, callbacks={"on_predict_batch_end": [record]})
        assert run.vid_writer == {}
        run(source)
        assert (modes, writers) == (["video"] * 2, [["v"]] * 2)
        assert run.plotted_img.shape == (48, 64, 3)
        assert run.done_warmup


def test_show_in_a_window(predict, monkeypatch, tmp_path):
    shown = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "imshow", lambda title, im: shown.append((title, im.shape)))
    monkeypatch.setattr(cv2, "waitKey", shown.append)
    predict(show=True)(blank())
    assert shown == [("image0.jpg", (48, 64, 3)), 300]
    shown.clear()
    video = write_video(tmp_path / "v.avi", 1)
    predict(show=True)(video)
    assert shown == [(str(video), (48, 64, 3)), 1]
