"""One predictor serves the calls of a YOLO object; no option outlives its call."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from ultralytics import YOLO
from ultralytics.engine.callbacks import Callbacks
from ultralytics.models.yolo.detect import DetectionPredictor

IMAGE = np.full((48, 64, 3), 114, np.uint8)
QUIET = {"imgsz": 32, "verbose": False, "device": "cpu"}


@pytest.fixture
def yolo(tiny_model: Path) -> YOLO:
    return YOLO(tiny_model)


def test_the_predictor_and_what_scripts_set_on_it_stay(yolo: YOLO) -> None:
    assert yolo.predictor is None
    yolo(IMAGE, **QUIET)
    first = yolo.predictor
    first.counter = 3
    yolo([IMAGE, IMAGE], batch=2, **QUIET)
    assert yolo.predictor is first and first.counter == 3
    assert len(first.batch) == 3 and first.dataset.bs == 2 and first.vid_writer == {} and len(first.results) == 2


def test_options_hold_for_one_call(yolo: YOLO, tmp_path: Path) -> None:
    yolo(IMAGE, conf=0.9, classes=[0], save=True, project=str(tmp_path), name="a", **QUIET)
    assert yolo.predictor.save_dir == tmp_path / "a"
    yolo(IMAGE, project=str(tmp_path), name="b", **QUIET)
    args = yolo.predictor.args
    assert (args.conf, args.classes, args.save) == (0.25, None, False)
    assert yolo.predictor.save_dir == tmp_path / "b" and not (tmp_path / "b").exists()


def test_results_of_earlier_calls_stay(yolo: YOLO) -> None:
    first = yolo(IMAGE, **QUIET)
    boxes, shape = first[0].boxes.data.clone(), first[0].orig_shape
    yolo(np.zeros((30, 20, 3), np.uint8), **QUIET)
    assert first[0].orig_shape == shape and first[0].boxes.data.equal(boxes)


def test_a_call_inside_a_stream_does_not_disturb_it(yolo: YOLO) -> None:
    stream = yolo([IMAGE] * 3, stream=True, conf=0.6, **QUIET)
    next(stream)
    outer = yolo.predictor
    assert len(yolo(IMAGE, **QUIET)) == 1
    assert yolo.predictor is not outer and outer.args.conf == 0.6
    assert len(list(stream)) == 2 and outer.seen == 3


def test_a_stream_that_was_dropped_keeps_nothing_busy(yolo: YOLO) -> None:
    stream = yolo([IMAGE] * 3, stream=True, **QUIET)
    next(stream)
    predictor = yolo.predictor
    assert predictor.busy
    del stream
    assert not predictor.busy
    yolo(IMAGE, **QUIET)
    assert yolo.predictor is predictor


def test_a_failed_call_keeps_nothing_busy(yolo: YOLO) -> None:
    yolo(IMAGE, **QUIET)
    predictor = yolo.predictor
    with pytest.raises(FileNotFoundError):
        yolo("missing.jpg", **QUIET)
    yolo(IMAGE, **QUIET)
    assert yolo.predictor is predictor


def test_threads_share_one_object(yolo: YOLO) -> None:
    counts: list[int] = []
    threads = [
        Thread(target=lambda n=n: counts.append(len(yolo([IMAGE] * n, batch=1, **QUIET)) - n)) for n in range(1, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [0] * 4


class CountingPredictor(DetectionPredictor):
    """Counts its batches, as scripts for 8.3.0 write it."""

    def __init__(self, cfg=None, overrides=None, _callbacks=None):
        super().__init__(cfg, overrides, _callbacks)
        self.count = 0

    def postprocess(self, preds, img, orig_imgs):
        self.count += 1
        return super().postprocess(preds, img, orig_imgs)


def test_a_predictor_class_holds_for_its_call(yolo: YOLO) -> None:
    yolo.predict(IMAGE, predictor=CountingPredictor, **QUIET)
    assert type(yolo.predictor) is CountingPredictor and yolo.predictor.count == 1
    yolo(IMAGE, **QUIET)
    assert type(yolo.predictor) is DetectionPredictor


def test_a_predictor_that_a_script_sets_is_used(yolo: YOLO) -> None:
    own = yolo.predictor = CountingPredictor(overrides={"iou": 0.1, "imgsz": 32})
    yolo(IMAGE, verbose=False, iou=0.3)
    assert own.args.iou == 0.3
    yolo(IMAGE, verbose=False)
    assert yolo.predictor is own and own.count == 2 and own.args.iou == 0.1
    yolo.predictor = None
    yolo(IMAGE, **QUIET)
    assert type(yolo.predictor) is DetectionPredictor


def test_events_of_the_object_reach_the_kept_predictor(yolo: YOLO) -> None:
    yolo(IMAGE, **QUIET)
    events: list[object] = []
    yolo.add_callback("on_predict_end", events.append)
    yolo(IMAGE, **QUIET)
    assert events == [yolo.predictor] and isinstance(yolo.predictor.callbacks, Callbacks)
    yolo.reset_callbacks()
    yolo(IMAGE, **QUIET)
    assert len(events) == 1


def test_copies_after_a_call(yolo: YOLO) -> None:
    stream = yolo([IMAGE] * 2, stream=True, **QUIET)
    next(stream)
    for same in (copy.deepcopy(yolo), pickle.loads(pickle.dumps(yolo))):
        assert len(same(IMAGE, **QUIET)) == 1
