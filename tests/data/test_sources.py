"""Sources of prediction: every type, unreadable files, and errors."""

from __future__ import annotations

import functools
import http.server
import logging
import threading

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ultralytics.data.image_input import read_image
from ultralytics.data.sources import FileSource, TensorSource, load_source
from ultralytics.data.streams import LiveStreams
from ultralytics.utils import LOGGER

BLUE, GREEN, RED = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def blank(color=RED, h=20, w=30):
    return np.full((h, w, 3), color, np.uint8)


def write(path, color=RED, h=20, w=30):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blank(color, h, w)[..., ::-1].copy()).save(path)
    return path


def write_video(path, frames=6, fps=12.0):
    """Frame k is gray of the level 40 k."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for k in range(frames):
        video.write(np.full((48, 64, 3), 40 * k, np.uint8))
    video.release()
    return path


def names(source, **options):
    return [path.rsplit("/", 1)[-1] for batch in load_source(source, **options) for path in batch.paths]


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.jpg", "c.JPG"):
        write(tmp_path / "pics" / name)
    write(tmp_path / "pics" / "subfolder" / "d.png")
    write(tmp_path / "pics" / ".hidden.png")
    (tmp_path / "pics" / "notes.md").write_text("not an image")
    return tmp_path / "pics"


@pytest.fixture
def warnings(monkeypatch):
    messages = []
    monkeypatch.setattr(LOGGER, "warning", lambda text, *args: messages.append(text % args if args else text))
    return messages


def test_one_file_gives_one_bgr_image_and_a_log_line(tmp_path):
    path = write(tmp_path / "x.png", BLUE)
    (batch,) = load_source(str(path))
    assert batch.paths == [str(path)]
    assert batch.images[0].dtype == np.uint8
    assert batch.images[0][5, 5].tolist() == list(BLUE)
    assert batch.infos == [f"image 1/1 {path}: "]
    assert batch.frames == [None]


def test_folder_is_sorted_and_not_searched_recursively(folder):
    assert names(folder) == ["a.jpg", "b.png", "c.JPG"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*.png", ["b.png"]), ("**/*.png", ["b.png", "d.png"]), ("[ab].*", ["a.jpg", "b.png"])],
)
def test_globs(folder, pattern, expected):
    assert names(f"{folder}/{pattern}") == expected


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path):
    assert names(write(tmp_path / "x[1].png")) == ["x[1].png"]


def test_list_file_counts_from_its_own_folder_and_names_the_bad_line(folder):
    listing = folder.parent / "list.txt"
    listing.write_text("pics/b.png\n\n./pics/a.jpg\n", encoding="utf-8")
    assert names(listing) == ["b.png", "a.jpg"]
    listing.write_text("pics/b.png\npics/gone.png\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"list\.txt:2: .*gone\.png"):
        load_source(listing)


def test_path_outside_ascii(tmp_path):
    assert read_image(write(tmp_path / "图片 一" / "红细胞.jpg")).shape == (20, 30, 3)


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (8, [5])])
def test_lists_respect_batch(batch, sizes):
    source = load_source([blank()] * 5, batch=batch)
    assert len(source) == len(sizes)
    assert [len(b.images) for b in source] == sizes


def test_a_list_may_hold_everything_at_once(folder):
    mixed = [blank(GREEN), folder / "b.png", Image.new("RGB", (8, 6), (255, 0, 0)), str(folder / "*.jpg")]
    batches = list(load_source(mixed, batch=9))
    assert [p.rsplit("/", 1)[-1] for p in batches[0].paths] == ["image0.jpg", "b.png", "image2.jpg", "a.jpg"]
    assert batches[0].images[2][0, 0].tolist() == list(RED)  # PIL is RGB
    assert batches[0].infos[0] == "0: "


@pytest.mark.parametrize(
    ("array", "pixel"),
    [
        (np.full((4, 6), 7, np.uint8), [7, 7, 7]),
        (np.full((4, 6, 1), 7, np.uint8), [7, 7, 7]),
        (np.full((4, 6, 4), (1, 2, 3, 99), np.uint8), [1, 2, 3]),
        (np.full((4, 6, 3), (0.2, 0.4, 1.0), np.float32), [51, 102, 255]),
        (np.full((4, 6, 3), (0.4, 40.0, 300.0), np.float64), [0, 40, 255]),
        (np.full((4, 6, 3), 0x1234, np.uint16), [0x12] * 3),
        (np.full((4, 6, 3), (-4, 5, 300), np.int64), [0, 5, 255]),
    ],
    ids=["gray", "one channel", "alpha", "float to 1", "float to 255", "16 bit", "integers"],
)
def test_arrays(array, pixel):
    (batch,) = load_source(array)
    assert batch.images[0].shape == (4, 6, 3)
    assert batch.images[0].dtype == np.uint8
    assert batch.images[0][1, 1].tolist() == pixel


@pytest.mark.parametrize("source_type", ["file", "list", "pil"])
def test_exif_orientation_is_applied_everywhere(tmp_path, source_type):
    image = Image.new("RGB", (30, 20), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    path = tmp_path / "turned.jpg"
    image.save(path, exif=exif)
    source = {"file": path, "list": [str(path)], "pil": Image.open(path)}[source_type]
    (batch,) = load_source(source)
    assert batch.images[0].shape == (30, 20, 3)


def test_unreadable_images_are_left_out_and_named_once(folder, warnings):
    (folder / "a.jpg").write_bytes(b"not an image")
    (folder / "c.JPG").write_bytes(b"")
    source = load_source(folder, batch=2)
    assert [p.rsplit("/", 1)[-1] for b in source for p in b.paths] == ["b.png"]
    assert len(warnings) == 1
    assert "2 of 3" in warnings[0]
    assert "a.jpg" in warnings[0]


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"none of the 1 files can be read.*a\.jpg"):
        list(load_source(tmp_path))


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        ("no/such/file.jpg", FileNotFoundError, "no/such/file.jpg"),
        ("no/such/*.jpg", FileNotFoundError, r"pattern no/such/\*\.jpg"),
        ([], ValueError, "empty list"),
        (None, TypeError, "NoneType. Give a path"),
        ({"a": 1}, TypeError, "dict"),
        ([1.5], TypeError, "float"),
        (np.zeros((3, 8, 9), np.uint8), ValueError, r"\(3, 8, 9\)"),
        (np.zeros((2, 8, 9, 3), np.uint8), ValueError, r"\(2, 8, 9, 3\)"),
        (np.zeros((4, 4), bool), TypeError, "bool"),
        (torch.zeros(8, 9), ValueError, r"\(8, 9\)"),
        (torch.zeros(8, 9, 3), ValueError, r"\(8, 9, 3\)"),
        (torch.zeros(0, 3, 8, 8), ValueError, "no image"),
        (["a.jpg", 0], ValueError, "cannot be mixed"),
    ],
)
def test_errors(source, error, text):
    with pytest.raises(error, match=text):
        load_source(source)


def test_folder_without_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image or video in the folder"):
        load_source(tmp_path)


@pytest.mark.parametrize(
    ("tensor", "value", "warned"),
    [
        (torch.full((2, 3, 32, 64), 0.5), 0.5, 0),
        (torch.full((3, 32, 64), 51, dtype=torch.uint8), 0.2, 0),
        (torch.full((3, 32, 64), 51, dtype=torch.int64), 0.2, 0),
        (torch.full((3, 32, 64), 51.0), 0.2, 1),
        (torch.full((3, 32, 64), 1.0, dtype=torch.float16), 1.0, 0),
    ],
)
def test_tensors(tensor, value, warned, warnings):
    (batch,) = load_source(tensor)
    assert batch.tensor.shape[1:] == (3, 32, 64)
    assert batch.tensor.is_floating_point()
    assert float(batch.tensor.mean()) == pytest.approx(value, rel=1e-3)
    assert len(warnings) == warned
    assert batch.images[0].shape == (32, 64, 3)
    assert batch.images[0][0, 0, 0] == round(value * 255)
    assert len(batch.paths) == len(batch.tensor)


def test_tensor_channels_become_bgr():
    (batch,) = TensorSource(torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 32, 32))
    assert batch.images[0][0, 0].tolist() == list(RED)


@pytest.mark.parametrize(("stride", "levels", "fps"), [(1, [0, 40, 80, 120, 160, 200], 12.0), (2, [40, 120, 200], 6.0)])
def test_video_frames_their_numbers_and_rate(tmp_path, stride, levels, fps):
    video = write_video(tmp_path / "v.avi")
    source = load_source(video, vid_stride=stride, batch=2)
    batches = list(source)
    images = [image for b in batches for image in b.images]
    assert [round(float(i.mean()) / 40) * 40 for i in images] == levels
    frames = [frame for b in batches for frame in b.frames]
    assert [frame.number for frame in frames] == list(range(1, len(levels) + 1))
    assert frames[0].fps == pytest.approx(fps)
    assert batches[0].infos[0] == f"video 1/1 (frame 1/{len(levels)}) {video}: "
    assert source.has_video
    assert (source.mode, source.bs) == ("video", 2)
    with pytest.raises(TypeError):
        len(source)


def test_folder_puts_images_before_videos(folder):
    write_video(folder / "a.avi", 2)
    assert names(folder) == ["a.jpg", "b.png", "c.JPG", "a.avi", "a.avi"]


@pytest.mark.parametrize("options", [{"vid_stride": 0}, {"batch": 0}])
def test_counts_below_one_are_errors(options):
    with pytest.raises(ValueError, match="at least 1"):
        load_source(blank(), **options)


@pytest.mark.parametrize(
    ("source", "source_type"),
    [
        (0, LiveStreams),
        ("0", LiveStreams),
        ([0, 1], LiveStreams),
        ("rtsp://camera/stream.jpg", LiveStreams),
        ("https://host/live", LiveStreams),
        ("https://host/c.JPG", FileSource),
        ("https://host/c.jpg?x=1", FileSource),
        ("http://host/v.mp4", FileSource),
    ],
)
def test_addresses_of_live_streams(source, source_type):
    assert isinstance(load_source(source), source_type)


def test_image_of_an_address_stays_in_memory(tmp_path):
    write(tmp_path / "c.PNG", GREEN)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    logging.getLogger("http").disabled = True
    try:
        url = f"http://127.0.0.1:{server.server_port}/c.PNG?size=1"
        (batch,) = load_source(url)
        assert batch.images[0][3, 3].tolist() == list(GREEN)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["c.PNG"]
        with pytest.raises(ValueError, match="none of the 1"):
            list(load_source(url.replace("c.PNG", "gone.png")))
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("encoding", ["utf-16", "gbk"])
def test_lists_in_other_encodings(tmp_path, encoding):
    write(tmp_path / "马.jpg")
    (tmp_path / "l.txt").write_bytes("马.jpg\n".encode(encoding))
    (batch,) = load_source(tmp_path / "l.txt")
    assert batch.paths == [str(tmp_path / "马.jpg")]


@pytest.mark.parametrize("lines", [("a.txt", "a.txt"), ("b.txt", "a.txt")])
def test_a_list_that_names_itself(tmp_path, lines):
    for name, line in zip("ab", lines, strict=True):
        (tmp_path / f"{name}.txt").write_text(f"{line}\n")
    with pytest.raises(ValueError, match="names itself"):
        load_source(tmp_path / "a.txt")


def test_a_list_of_lists(tmp_path):
    write(tmp_path / "x.jpg")
    (tmp_path / "b.txt").write_text("x.jpg\n")
    (tmp_path / "a.txt").write_text("b.txt\nb.txt\n")
    assert len(load_source(tmp_path / "a.txt")) == 2


def test_a_list_of_streams_that_names_itself(tmp_path):
    (tmp_path / "a.streams").write_text("a.streams\n")
    with pytest.raises(ValueError, match="names another list"):
        load_source(tmp_path / "a.streams")


def test_patterns_in_folders_with_brackets(tmp_path):
    folder = tmp_path / "set [1]"
    for name in ("a.jpg", "sub/b1.jpg", "sub/b2.jpg"):
        write(folder / name)
    assert [b.paths[0] for b in load_source(folder / "*.jpg")] == [str(folder / "a.jpg")]
    assert len(load_source(str(folder / "**" / "*.jpg"))) == 3
    assert [b.paths[0] for b in load_source(folder / "sub" / "b[2-9].jpg")] == [str(folder / "sub" / "b2.jpg")]


def test_names_with_blanks_around_them(tmp_path, monkeypatch):
    write(tmp_path / " a.jpg")
    monkeypatch.chdir(tmp_path)
    assert [b.paths[0] for b in load_source(" a.jpg")] == [" a.jpg"]
    write(tmp_path / "b.jpg")
    assert [b.paths[0] for b in load_source(" b.jpg ")] == ["b.jpg"]


@pytest.mark.parametrize("source", ["", "  ", [""]])
def test_an_empty_source_is_not_the_current_folder(source, tmp_path, monkeypatch):
    write(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="source is an empty text"):
        load_source(source)


def test_a_stride_beyond_the_end_of_a_video(tmp_path, warnings):
    """Such a video was called unreadable."""
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    for _ in range(3):
        video.write(np.zeros((32, 32, 3), np.uint8))
    video.release()
    with pytest.raises(ValueError, match=r"vid_stride=5 exceeds the number of frames of .*v\.avi"):
        list(load_source(tmp_path / "v.avi", vid_stride=5))
    assert len(list(load_source(tmp_path / "v.avi", vid_stride=3))) == 1
    write(tmp_path / "a.jpg")
    assert len(list(load_source(tmp_path, vid_stride=5))) == 1
    assert len(warnings) == 1
    assert "vid_stride=5 exceeds" in warnings[0]
