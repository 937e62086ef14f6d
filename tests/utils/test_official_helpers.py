"""Helpers of `ultralytics.utils` for scripts; expected values are those of 8.3.0."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import ultralytics
from ultralytics import utils
from ultralytics.utils import checks
from ultralytics.utils.files import YamlError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("hi",), "\x1b[34m\x1b[1mhi\x1b[0m"),
        (("blue", "bold", "hi"), "\x1b[34m\x1b[1mhi\x1b[0m"),
        (("red", "hi"), "\x1b[31mhi\x1b[0m"),
    ],
)
def test_colorstr(words, expected):
    assert utils.colorstr(*words) == expected
    assert utils.remove_colorstr(expected) == "hi"


def test_yaml(tmp_path):
    file = tmp_path / "new" / "a.yaml"
    utils.yaml_save(file, {"b": Path("c"), "n": 1}, header="# made by a script\n")
    assert file.read_text() == "# made by a script\nb: c\nn: 1\n"
    assert utils.yaml_load(file) == {"b": "c", "n": 1}
    assert utils.yaml_load(str(file), append_filename=True)["yaml_file"] == str(file)
    file.write_text("- 1\n")
    with pytest.raises(YamlError):
        utils.yaml_load(file)


def test_try_except(capsys):
    @utils.TryExcept(msg="step")
    def fail() -> None:
        raise ValueError("no")

    assert fail() is None
    assert "step: no" in capsys.readouterr().out
    with utils.TryExcept(verbose=False):
        raise KeyError("x")


def test_retry():
    calls = []

    @utils.Retry(times=3, delay=0)
    def fail(value: int) -> int:
        calls.append(value)
        if len(calls) < limit:
            raise OSError("busy")
        return value

    limit = 3
    assert fail(7) == 7
    assert calls == [7, 7, 7]
    calls.clear()
    limit = 9
    with pytest.raises(OSError, match="busy"):
        fail(1)
    assert len(calls) == 3


def test_threaded():
    done = []

    @utils.threaded
    def work(value: int) -> int:
        done.append((value, threading.current_thread() is threading.main_thread()))
        return value

    work(1).join()
    assert work(2, threaded=False) == 2
    assert done == [(1, False), (2, True)]


def test_simple_class_lists_attributes():
    class Point(utils.SimpleClass):
        def __init__(self) -> None:
            self.x, self._hidden = 3, 4

    assert "x: 3" in str(Point())
    assert "_hidden" not in str(Point())
    with pytest.raises(AttributeError, match="'Point' object has no attribute 'y'"):
        Point().y  # noqa: B018


def test_default_options_are_those_of_get_cfg():
    from ultralytics.cfg import get_cfg

    assert vars(utils.DEFAULT_CFG) == vars(get_cfg()) == utils.DEFAULT_CFG_DICT
    assert "imgsz" in utils.DEFAULT_CFG_KEYS
    assert utils.DEFAULT_CFG is utils.DEFAULT_CFG


def test_folders_follow_the_settings(tmp_path):
    before = utils.SETTINGS["datasets_dir"]
    try:
        utils.SETTINGS["datasets_dir"] = str(tmp_path)
        assert tmp_path == utils.DATASETS_DIR
    finally:
        utils.SETTINGS["datasets_dir"] = before
    assert utils.SETTINGS is ultralytics.settings
    assert utils.SETTINGS_FILE.parent == utils.USER_CONFIG_DIR


def test_addresses():
    assert utils.clean_url("https://a.com/b%20c.txt?key=1") == "https://a.com/b c.txt"
    assert utils.url2file("https://a.com/file.txt?auth") == "file.txt"


def test_default_args():
    assert utils.get_default_args(lambda a, b=1: (a, b)) == {"b": 1}


@pytest.mark.parametrize(
    ("version", "expected"), [("2.0.1+cpu", (2, 0, 1)), ("1.2", (1, 2)), ("abc", ()), ("1.2.3rc1", (1, 2, 3))]
)
def test_parse_version(version, expected):
    assert checks.parse_version(version) == expected


@pytest.mark.parametrize(
    ("current", "required", "expected"),
    [
        ("22.04", "<24.04", True),
        ("22.04", "21.0", True),
        ("22.04", ">=20.04,<22.04", False),
        ("22.04", "==22.04", True),
        ("22.04", "!=22.04", False),
        ("1.4.9", "~=1.4.2", True),
        ("1.5.0", "~=1.4.2", False),
        ("numpy", ">=1.0", True),
        ("no-such-package", ">=1.0", False),
        ("1.0", "", True),
    ],
)
def test_check_version(current, required, expected):
    assert checks.check_version(current, required) is expected
    if not expected:
        with pytest.raises(ModuleNotFoundError):
            checks.check_version(current, required, hard=True)


def test_check_requirements_never_installs(tmp_path, capsys):
    assert checks.check_requirements(["numpy>=1.0", "torch"])
    assert not checks.check_requirements("no-such-package>=2")
    assert 'pip install "no-such-package>=2"' in capsys.readouterr().out
    file = tmp_path / "requirements.txt"
    file.write_text("numpy>=1.0  # arrays\n\nno_such==1.0\n")
    assert checks.parse_requirements(file) == [("numpy", ">=1.0"), ("no_such", "==1.0")]
    assert not checks.check_requirements(file, install=False)
    assert checks.check_requirements(file, exclude=["no_such"])


def test_check_python():
    assert checks.check_python("3.8.0")
    assert not checks.check_python("99.0", hard=False)


def test_check_suffix():
    checks.check_suffix("a.pt", ".pt")
    checks.check_suffix("a", ".pt")
    with pytest.raises(AssertionError, match=r"must be \.pt, not \.txt"):
        checks.check_suffix(["a.pt", "b.txt"], (".pt",))


def test_check_file(tmp_path):
    assert checks.check_yaml("coco128.yaml") == str(utils.ROOT / "cfg" / "datasets" / "coco128.yaml")
    own = tmp_path / "own.yaml"
    own.touch()
    assert checks.check_file(own, suffix=".yaml") == str(own)
    assert not checks.check_file("no-such.yaml", hard=False)
    with pytest.raises(FileNotFoundError, match=r"no-such\.yaml"):
        checks.check_yaml("no-such.yaml")
    with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
        checks.check_file("https://a.com/b.yaml")


def test_official_names_of_checkpoints():
    assert str(checks.check_model_file_from_stem("yolov8n")) == "yolov8n.pt"
    assert checks.check_model_file_from_stem("foo") == "foo"
    assert checks.check_yolov5u_filename("yolov5n.pt") == "yolov5nu.pt"
    assert checks.check_yolov5u_filename("yolov8n.pt") == "yolov8n.pt"


def test_check_is_path_safe(tmp_path):
    inside = tmp_path / "base" / "a.txt"
    inside.parent.mkdir()
    inside.touch()
    (tmp_path / "b.txt").touch()
    assert checks.check_is_path_safe(tmp_path / "base", inside)
    assert not checks.check_is_path_safe(tmp_path / "base", tmp_path / "base" / ".." / "b.txt")


def test_print_args(capsys):
    def call(a: int, b: str) -> None:
        checks.print_args(show_file=False, show_func=True)

    call(1, "x")
    assert utils.remove_colorstr(capsys.readouterr().out) == "call: a=1, b=x\n"


def test_report_of_the_machine(capsys):
    ultralytics.checks(device="cpu")
    out = capsys.readouterr().out
    assert "ultralytics 8.3.0" in out
    assert out.splitlines()[-1].startswith("torch ")
    assert checks.cuda_is_available() == (checks.cuda_device_count() > 0)


def test_progress_bar_is_silent_if_the_package_is(monkeypatch, capsys):
    monkeypatch.setenv("YOLO_VERBOSE", "false")
    assert list(utils.TQDM(range(3))) == [0, 1, 2]
    assert capsys.readouterr().err == ""
