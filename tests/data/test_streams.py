"""Live streams, read from video files: frames, strides, several at once, and streams that do not open."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ultralytics.data.sources import load_source
from ultralytics.data.streams import LiveStreams


@pytest.fixture
def video(tmp_path):
    def make(name, frames):
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
        for k in range(frames):
            writer.write(np.full((48, 64, 3), 20 * k % 256, np.uint8))
        writer.release()
        return str(path)

    return make


def levels(images):
    return [round(float(image.mean()) / 20) for image in images]


@pytest.mark.parametrize(("stride", "expected"), [(1, [0, 1, 2, 3, 4, 5]), (3, [2, 5])])
def test_buffered_stream_gives_every_frame_in_order(video, stride, expected):
    batches = list(LiveStreams([video("a.avi", 6)], stride, buffer=True))
    assert [levels(b.images)[0] for b in batches] == expected
    assert [b.frames[0].number for b in batches] == list(range(1, len(expected) + 1))
    assert batches[0].frames[0].fps == pytest.approx(10 / stride)


def test_unbuffered_stream_drops_frames_but_never_goes_back(video):
    seen = [levels(b.images)[0] for b in LiveStreams([video("a.avi", 8)])]
    assert seen
    assert seen == sorted(set(seen))
    assert seen[-1] == 7  # the newest frame is kept


def test_batch_holds_one_frame_of_each_stream_that_still_runs(video):
    batches = list(LiveStreams([video("a.avi", 2), video("b.avi", 4)], buffer=True))
    assert [len(b.images) for b in batches] == [2, 2, 1, 1]
    assert batches[0].infos == ["0: ", "1: "]
    assert batches[2].paths == [batches[0].paths[1]]
    assert "/" not in batches[0].paths[0]  # usable in a file name


def test_streams_file_lists_addresses(video, tmp_path):
    listing = tmp_path / "cameras.streams"
    listing.write_text(f"{video('a b.avi', 2)}\n{video('c.avi', 2)}\n", encoding="utf-8")
    batches = list(load_source(listing, stream_buffer=True))
    assert [len(b.images) for b in batches] == [2, 2]


def test_leaving_early_releases_the_stream(video):
    running = iter(LiveStreams([video("a.avi", 60)], buffer=True))
    next(running)
    running.close()  # joins the thread, which waits for space in the queue


def test_stream_that_does_not_open(tmp_path):
    with pytest.raises(ConnectionError, match=r"gone\.avi"):
        next(iter(LiveStreams([str(tmp_path / "gone.avi")])))
