"""The `yolo` command: its calls of YOLO, mistakes (one line and exit code 2), the other commands."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

import ultralytics
from ultralytics import cfg, cli
from ultralytics.cfg.modes import MODES
from ultralytics.nn import registry
from ultralytics.utils import LOGGER
from ultralytics.utils.files import yaml_load, yaml_save
from ultralytics.utils.settings import settings


class FakeYOLO:
    """Records the calls that the command makes; raises `error` if it is set."""

    calls: ClassVar[list[tuple]] = []
    error: ClassVar[BaseException | None] = None

    def __init__(self, model, task=None, verbose=False):
        self.calls.append(("YOLO", model, task))

    def _record(self, mode, options):
        self.calls.append((mode, options))
        if FakeYOLO.error:
            raise FakeYOLO.error
        return []

    def train(self, **options):
        return self._record("train", options)

    def val(self, **options):
        return self._record("val", options)

    def predict(self, source=None, stream=False, **options):
        return self._record("predict", {"source": source, "stream": stream, **options})


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder with a model file, a dataset file and separate settings; YOLO is replaced by FakeYOLO."""
    monkeypatch.chdir(tmp_path)
    for name in ("net.yaml", "own.yaml"):
        (tmp_path / name).write_text("nc: 1\n", encoding="utf-8")
    (tmp_path / "photos").mkdir()
    monkeypatch.setitem(vars(ultralytics), "YOLO", FakeYOLO)
    monkeypatch.setattr(FakeYOLO, "calls", [])
    monkeypatch.setattr(FakeYOLO, "error", None)
    monkeypatch.delenv("YOLO_DEBUG", raising=False)
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "config"))
    settings.reload()
    yield tmp_path
    settings.reload()


def yolo(line: str) -> int:
    return cli.entrypoint(line.split())


@pytest.mark.parametrize(
    ("line", "model", "task", "mode", "options"),
    [
        (
            "detect train model=net.yaml data=own.yaml epochs=3",
            "net.yaml",
            "detect",
            "train",
            {"data": "own.yaml", "epochs": 3},
        ),
        ("data=own.yaml train model=net.yaml", "net.yaml", None, "train", {"data": "own.yaml"}),
        ("mode=val task=detect model=best.pt", "best.pt", "detect", "val", {}),
        ("val model=best.pt half plots=False", "best.pt", None, "val", {"half": True, "plots": False}),
        ("val model = best.pt imgsz= 320 conf =0.1", "best.pt", None, "val", {"imgsz": 320, "conf": 0.1}),
        ("val --model=best.pt, --half", "best.pt", None, "val", {"half": True}),
        (
            "predict model=best.pt source=a.jpg",
            "best.pt",
            None,
            "predict",
            {"source": "a.jpg", "stream": True, "save": True},
        ),
        (
            "predict model=best.pt source=0 save=False classes=0,2 name=2024_01",
            "best.pt",
            None,
            "predict",
            {"source": "0", "stream": True, "save": False, "classes": [0, 2], "name": "2024_01"},
        ),
        ("train resume=a/last.pt", "a/last.pt", None, "train", {"resume": "a/last.pt"}),
        ("train resume model=a/last.pt", "a/last.pt", None, "train", {"resume": True}),
        (
            "train model=net.yaml data=own.yaml imgsz=320 imgsz=64",
            "net.yaml",
            None,
            "train",
            {"data": "own.yaml", "imgsz": 64},
        ),
        ("train model=yolo.pt data=coco128.yaml", "yolo.pt", None, "train", {"data": "coco128.yaml"}),
        ("classify train model=yolo.pt data=photos", "yolo.pt", "classify", "train", {"data": "photos"}),
    ],
)
def test_calls_of_yolo(line, model, task, mode, options):
    assert yolo(line) == 0
    assert FakeYOLO.calls == [("YOLO", model, task), (mode, options)]


@pytest.mark.parametrize(
    "line", ["cfg=my.yaml train epochs=3", "train epochs=3 cfg=my.yaml", "cfg = my.yaml epochs=3 train"]
)
def test_options_override_those_of_the_file(line, cwd):
    # in 8.3.0 the file overrides the options to its left
    yaml_save(
        "my.yaml", {"model": "net.yaml", "data": "own.yaml", "mode": "val", "epochs": 9, "batch": 2, "name": None}
    )
    assert yolo(line) == 0
    assert FakeYOLO.calls == [("YOLO", "net.yaml", None), ("train", {"data": "own.yaml", "epochs": 3, "batch": 2})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train model=net.yaml data=own.yaml epoch=3", "'epoch' is not an option; did you mean 'epochs'?"),
        ("train model=net.yaml data=own.yaml epochs=ten", "epochs=ten is invalid"),
        ("train model=net.yaml data=own.yaml epochs=", "epochs="),
        ("train model=net.yaml data=own.yaml epochs", "'epochs' needs a value: epochs=100"),
        ("model=net.yaml data=own.yaml", "no mode given: expected one of train, val, predict"),
        ("show", "no mode given"),  # 8.3.0 starts a training
        ("trian", "did you mean 'train'"),
        ("train val model=net.yaml", "two modes, 'train' and 'val'"),
        ("detect segment val model=net.yaml", "two tasks"),
        ("export model=best.pt", "mode 'export' is not part of this version; available: train, val, predict"),
        ("xsegment train model=net.yaml", "'xsegment' is not a task, mode, command or option; did you mean 'segment'"),
        ("train data=own.yaml", "train requires model=: write model=yolo11n.yaml"),
        ("train resume", "resume=runs/detect/train/weights/last.pt"),
        ("train model=net.yaml", "train requires data=: write data=coco128.yaml"),
        ("val", "val requires model=: write model=runs/detect/train/weights/best.pt"),
        ("predict model=best.pt", "predict requires source=: write source=photo.jpg"),
        ("train model=nat.yaml data=own.yaml", "there is no model file 'nat.yaml'"),
        ("train model=net.yaml data=coco182.yaml", "did you mean 'coco128.yaml'"),
        ("val best.pt", "model=best.pt"),
        ("train net.yaml", "data=net.yaml"),
        ("predict qqq", "see `yolo help`"),
        ("train cfg=nowhere.yaml", "nowhere.yaml"),
        ("help epoch", "did you mean 'epochs'"),
        ("settings run_dir=x", "did you mean 'runs_dir'"),
        ("settings runs_dir", "yolo settings key=value"),
    ],
)
def test_mistakes_give_one_line(line, message, capsys):
    assert yolo(line) == 2
    out, err = capsys.readouterr()
    assert err.startswith("yolo: ")
    assert message in err
    assert len(err.splitlines()) <= 2
    assert out == ""
    assert FakeYOLO.calls == []  # found before a model is built


def test_missing_model_file_names_the_folders(cwd, capsys):
    assert yolo("train model=nett.yaml data=own.yaml") == 2
    assert f"(searched {cwd}, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FileNotFoundError("no images in 'x'"), 2, "yolo: no images in 'x'\n"),
        (NotImplementedError("not yet"), 2, "yolo: not yet\n"),
        (ImportError("needs x", name="x"), 2, "yolo: needs x\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ValueError("from torch"), 1, "Traceback"),  # not raised by this package: a bug, not a mistake of the user
        (RuntimeError("unexpected"), 1, "RuntimeError: unexpected"),
        (ModuleNotFoundError("gone", name="ultralytics.x"), 1, "Traceback"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory.\nmore"), 1, "reduce batch="),
    ],
)
def test_exit_codes(error, code, message, capsys, monkeypatch):
    monkeypatch.setattr(FakeYOLO, "error", error)
    assert yolo("val model=best.pt") == code
    err = capsys.readouterr().err
    assert message in err
    assert (len(err.splitlines()) <= 2) == ("Traceback" not in err)


def test_key_errors_are_printed_without_quotes(capsys, monkeypatch):
    class UnknownSetting(FakeYOLO):
        def val(self, **options):
            return settings["nothing"]  # a KeyError of this package

    monkeypatch.setitem(vars(ultralytics), "YOLO", UnknownSetting)
    assert yolo("val model=best.pt") == 2
    assert capsys.readouterr().err.startswith("yolo: 'nothing' is not a setting")


def test_debug_prints_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("YOLO_DEBUG", "1")
    assert yolo("train epoch=3") == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "did you mean 'epochs'" in err


@pytest.mark.parametrize("line", ["", "help", "-h", "--help", "h", "HELP", "help detect"])
def test_help_fits_a_screen(line, capsys):
    assert yolo(line) == 0
    out = capsys.readouterr().out
    assert out == cli.help_text()
    assert len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) <= 100


def test_help_lists_modes_and_tasks():
    text = cli.help_text()
    assert "TASK   detect" in text
    for mode in MODES.values():
        assert f"{mode.name} " in text
        assert mode.summary in text


def test_examples_of_the_help_work(cwd):
    (cwd / "yolo11n.yaml").write_text("nc: 1\n", encoding="utf-8")
    for line in cli.EXAMPLES.splitlines():
        assert cli.entrypoint(line.split()[1:]) == 0, line
    assert [call[0] for call in FakeYOLO.calls[1::2]] == ["train", "val", "predict"]


@pytest.mark.parametrize(
    ("line", "included", "excluded"),
    [
        ("help epochs", "epochs=100  number of training epochs (an integer >= 1)\napplies to: train\n", "lr0"),
        ("help --epochs=5", "epochs=100", "lr0"),
        ("help predict", "  source=none", "  epochs="),
        ("help val", "  split=val", "  epochs="),
        ("train --help", "  epochs=100", "  source="),
        ("detect train -h", "  epochs=100", "  source="),
    ],
)
def test_help_on_a_topic(line, included, excluded, capsys):
    assert yolo(line) == 0
    out = capsys.readouterr().out
    assert included in out
    assert excluded not in out


@pytest.mark.parametrize("line", ["version", "--version", "-v", "v"])
def test_version(line, capsys):
    assert yolo(line) == 0
    assert capsys.readouterr().out == "8.3.0+addmodules.1\n"


def test_cfg_and_copy_cfg(cwd, capsys):
    assert yolo("cfg") == 0
    assert capsys.readouterr().out == cfg.DEFAULT_YAML.read_text(encoding="utf-8")
    assert yolo("copy-cfg") == 0
    assert yaml_load("default_copy.yaml") == dict(cfg.default_cfg())
    assert "cfg=default_copy.yaml" in capsys.readouterr().out
    assert yolo("copy-cfg") == 2  # an existing file is not overwritten
    assert "already exists" in capsys.readouterr().err
    assert yolo("train cfg=default_copy.yaml model=net.yaml data=own.yaml") == 0
    name, options = FakeYOLO.calls[1]
    assert (name, options["epochs"], options["data"]) == ("train", 100, "own.yaml")


def test_settings(cwd, capsys):
    file = cwd / "config" / "settings.json"
    assert yolo("settings") == 0
    assert f"{file} (does not exist yet)" in capsys.readouterr().out
    assert not file.exists()
    assert yolo("settings runs_dir=2024_01 sync=true") == 0
    assert "  runs_dir=2024_01\n" in capsys.readouterr().out
    assert (json.loads(file.read_text())["runs_dir"], json.loads(file.read_text())["sync"]) == ("2024_01", True)
    assert yolo("settings sync=1") == 2  # 8.3.0 accepts it and resets all settings the next time
    assert json.loads(file.read_text())["sync"] is True
    assert yolo("settings reset") == 0
    assert json.loads(file.read_text())["runs_dir"] == "runs"


def test_modules(capsys, monkeypatch):
    class Sharpen:
        def __init__(self, c1: int, c2: int, num_param: int = 3) -> None: ...

    entry = registry.Entry("Sharpen", Sharpen, ("c1", "c2", "*args"), "arXiv 1234.56789", "[-1, 1, Sharpen, [64]]")
    other = registry.Entry("Sharper", Sharpen, entry.signature, entry.paper, entry.usage)
    monkeypatch.setattr(registry, "registered", lambda: {"Sharpen": entry, "Sharper": other})
    assert yolo("modules") == 0
    out = capsys.readouterr().out
    for part in (
        "Sharpen, also Sharper\n",
        "Sharpen(c1, c2, num_param=3)",
        "c1, c2, *args",
        "arXiv 1234.56789",
        "[-1, 1, Sharpen, [64]]",
    ):
        assert part in out


def test_checks(cwd, capsys):
    (cwd / "ultralytics").mkdir()
    (cwd / "ultralytics" / "__init__.py").touch()
    assert yolo("checks") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"ultralytics {ultralytics.__version__} from {Path(ultralytics.__file__).parent}\n")
    assert f"the package in {cwd.resolve() / 'ultralytics'} is not the running one" in out
    for name in ("Python 3", "torch ", "numpy ", "opencv-python "):
        assert name in out


def test_python_m_ultralytics(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(Path(ultralytics.__file__).resolve().parents[1])}
    run = [sys.executable, "-m", "ultralytics"]
    done = subprocess.run([*run, "version"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "8.3.0+addmodules.1\n")
    done = subprocess.run([*run, "train", "epoch=1"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_paths_that_the_output_cannot_encode(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(Path(ultralytics.__file__).resolve().parents[1])}
    env |= {"YOLO_CONFIG_DIR": str(tmp_path / "设置"), "PYTHONIOENCODING": "ascii"}
    run = [sys.executable, "-m", "ultralytics", "settings"]
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u8bbe\\u7f6e" in done.stdout


def test_logger_is_not_changed():
    before = list(LOGGER.handlers), LOGGER.level
    yolo("help")
    assert (list(LOGGER.handlers), LOGGER.level) == before
    assert logging.getLogger().level == logging.WARNING
