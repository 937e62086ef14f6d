"""The label table and its cache."""

import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_dataset import write_label

from ultralytics.data import labels as module
from ultralytics.data.array_file import save_arrays
from ultralytics.data.dataset_config import DatasetError
from ultralytics.data.file_stamps import file_stamps
from ultralytics.data.images import find_images, label_path
from ultralytics.data.label_table import CORRUPT, EMPTY, FOUND, MISSING, VERSION, LabelTable
from ultralytics.data.labels import load_labels
from ultralytics.utils.settings import settings_dir


@pytest.fixture
def images(toy):
    return find_images(toy.parent / "images")


@pytest.fixture
def checked(monkeypatch):
    """Names of the images that were really read."""
    names = []
    check_image = module.check_image
    monkeypatch.setattr(module, "check_image", lambda path: (names.append(path[-6:-4]), check_image(path))[1])
    return names


@pytest.fixture
def log(monkeypatch):
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    module.LOGGER.addHandler(handler)
    yield lines
    module.LOGGER.removeHandler(handler)


def test_columns(images):
    table = load_labels(images, nc=2)
    assert [table.path(i) for i in range(6)] == images
    assert table.status.tolist() == [FOUND] * 6
    assert table.shapes[:4].tolist() == [[48, 64], [64, 48], [64, 64], [40, 64]]
    assert table.instance_offsets.tolist() == [0, 1, 3, 4, 6, 7, 9]
    assert table.cls.tolist() == [0, 1, 0, 0, 1, 0, 0, 1, 0]
    assert np.allclose(table.boxes[:3], [[0.5, 0.5, 0.4, 0.5], [0.5, 0.5, 0.4, 0.5], [0.25, 0.3, 0.2, 0.2]])
    assert table.points.shape == (0, 2)
    assert not table.boxes.flags.owndata  # mapped from the file


def test_only_changes_are_read_again(images, checked):
    load_labels(images, nc=2)
    assert sorted(checked) == ["00", "01", "02", "03", "04", "05"]
    checked.clear()
    load_labels(images, nc=2)
    assert checked == []
    os.utime(images[2], ns=(1, 1))
    write_label(Path(images[4]), "1 0.5 0.5 0.4 0.5\n0 0.1 0.1 0.2 0.2\n")
    table = load_labels(images, nc=2)
    assert sorted(checked) == ["02", "04"]
    assert table.instance_offsets.tolist() == [0, 1, 3, 4, 6, 8, 10]
    assert table.cls.tolist() == [0, 1, 0, 0, 1, 0, 1, 0, 1, 0]


def test_added_and_removed_images(images, checked):
    load_labels(images[::2], nc=2)
    checked.clear()
    table = load_labels(images[:5], nc=2)
    assert sorted(checked) == ["01", "03"]
    assert [table.path(i) for i in range(5)] == images[:5]
    assert table.cls.tolist() == [0, 1, 0, 0, 1, 0, 0]


def test_same_size_edit_and_other_nc_are_noticed(images):
    """8.3.0 goes on with the old labels in both cases."""
    assert load_labels(images, nc=2).cls[0] == 0
    file = write_label(Path(images[0]), "1 0.5 0.5 0.4 0.5\n")
    os.utime(file, ns=(5, 5))
    assert load_labels(images, nc=2).cls[0] == 1
    assert load_labels(images, nc=1).status.tolist().count(CORRUPT) == 4


def _copy_over(file: Path, new: bytes) -> None:  # cp -p
    file.write_bytes(new)


def _unpack(file: Path, new: bytes) -> None:  # unzip, tar
    file.unlink()
    file.write_bytes(new)


def _move_over(file: Path, new: bytes) -> None:
    other = file.with_suffix(".new")
    other.write_bytes(new)
    other.replace(file)


@pytest.mark.skipif(sys.platform == "win32", reason="see test_stamps_by_content")
@pytest.mark.parametrize("replace", [_copy_over, _unpack, _move_over])
def test_edits_with_the_same_size_and_time_are_noticed(images, replace, checked):
    """8.3.0 goes on with the old labels."""
    assert load_labels(images, nc=2).cls[0] == 0
    file = Path(label_path(images[0]))
    before = file.stat()
    checked.clear()
    replace(file, file.read_bytes().replace(b"0 ", b"1 ", 1))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert load_labels(images, nc=2).cls[0] == 1
    assert checked == ["00"]


def test_stamps_by_content(images):
    """The form for Windows, where a file's change time is not available."""
    before = file_stamps(images, by_content=True)
    file = Path(label_path(images[0]))
    times = file.stat()
    file.write_bytes(file.read_bytes().replace(b"0 ", b"1 ", 1))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.remove(label_path(images[1]))
    after = file_stamps(images, by_content=True)
    assert (before != after).any(1).tolist() == [True, True, False, False, False, False]
    assert after[1, 3:].tolist() == [-1, -1, -1]
    assert (after[0, :5] == before[0, :5]).all()


@pytest.mark.parametrize(
    "damage", [lambda raw: b"", lambda raw: raw[: len(raw) // 2], lambda raw: b"\x80\x04}." + raw[4:]]
)
def test_a_damaged_cache_is_rebuilt(images, damage, checked):
    before = load_labels(images, nc=2).cls.tolist()
    (file,) = (f for f in (settings_dir() / "cache").glob("labels-*.bin") if images[0].encode() in f.read_bytes())
    file.write_bytes(damage(file.read_bytes()))
    checked.clear()
    assert load_labels(images, nc=2).cls.tolist() == before
    assert len(checked) == 6


def test_columns_that_do_not_fit_together(images, checked):
    table = load_labels(images, nc=2)
    (file,) = (f for f in (settings_dir() / "cache").glob("labels-*.bin") if images[0].encode() in f.read_bytes())
    columns = {name: getattr(table, name) for name in LabelTable.__dataclass_fields__}
    save_arrays(file, {**columns, "cls": columns["cls"][:-1]}, VERSION)
    assert len(load_labels(images, nc=2).cls) == 9


def test_settings_folder_that_cannot_be_written(images, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setattr(module, "settings_dir", lambda: blocked)
    assert len(load_labels(images, nc=2).cls) == 9


def test_nothing_is_written_beside_the_data(toy, images):
    before = sorted(toy.parent.rglob("*"))
    load_labels(images, nc=2)
    assert sorted(toy.parent.rglob("*")) == before


def test_summary(images, log):
    os.remove(label_path(images[0]))
    write_label(Path(images[1]), "")
    write_label(Path(images[2]), "0 .5 .5 .2 .2\n5 .5 .5 .2 .2\n")
    write_label(Path(images[3]), "0 .5 .5 .2 .2\n0 .5 .5 .2 .2\n")
    Path(images[4]).write_bytes(b"broken")
    table = load_labels(images, nc=2, prefix="train: ")
    assert table.status.tolist() == [MISSING, EMPTY, CORRUPT, FOUND, CORRUPT, FOUND]
    assert "4 images (2 without instances), 3 instances, 2 corrupt and left out" in log[0]
    assert log[0].startswith("train: ")
    assert f"{label_path(images[2])}:2: class 5" in log[1]
    assert images[4] in log[2]
    assert "1 repeated lines" in log[3]
    assert len(log) == 4


def test_many_reasons_are_counted(images, log, monkeypatch):
    monkeypatch.setattr(module, "REASONS_SHOWN", 2)
    for image in images[:4]:
        write_label(Path(image), "x")
    load_labels(images, nc=2)
    assert len(log) == 4
    assert log[-1].strip() == "... and 2 more"


def test_nothing_usable(images):
    for image in images:
        write_label(Path(image), "x")
    with pytest.raises(DatasetError, match="none of the 6 images is usable"):
        load_labels(images, nc=2)


def test_chunks_do_not_show(images, monkeypatch):
    whole = load_labels(images, nc=2)
    monkeypatch.setattr(module, "_CHUNK", 4)
    monkeypatch.setattr(module, "read_cache", lambda file: None)
    parts = load_labels(images, nc=2)
    for name in LabelTable.__dataclass_fields__:
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name


def test_polygons_of_the_real_set(coco128, tmp_path):
    images = find_images(coco128 / "images" / "train2017")[:20]
    for image in images:
        name = Path(image).name
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / name).symlink_to(image)
        source = coco128 / "labels-seg" / "train2017" / f"{name[:-4]}.txt"
        if source.exists():
            write_label(tmp_path / "images" / name, source.read_text())
    table = load_labels(find_images(tmp_path / "images"), nc=80)
    counts = np.diff(table.point_offsets)
    assert len(table.cls) > 50
    assert (counts >= 3).all()
    row = int(np.argmax(counts))
    polygon = table.points[table.point_offsets[row] : table.point_offsets[row + 1]]
    box = table.boxes[row]
    assert np.allclose(box[:2] - box[2:] / 2, polygon.min(0), atol=1e-6)
    assert np.allclose(box[:2] + box[2:] / 2, polygon.max(0), atol=1e-6)


def test_needs_no_semaphores(images, monkeypatch):
    """Where /dev/shm is missing or full, processes cannot share; with workers=0 training must still begin."""

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("_multiprocessing.SemLock", full)
    assert load_labels(images, nc=2).status.tolist() == [FOUND] * 6
