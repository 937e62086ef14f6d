"""The `yolo` command: what words become, which mistakes cost one line and code 2, the small commands."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

import ultralytics
from ultralytics import cfg, cli
from ultralytics.nn import registry
from ultralytics.utils import LOGGER
from ultralytics.utils.files import yaml_load, yaml_save
from ultralytics.utils.settings import Settings


class FakeYOLO:
    """Records the calls that the command makes, and fails on demand."""

    calls: ClassVar[list[tuple]] = []
    fails: ClassVar[BaseException | None] = None

    def __init__(self, model, task=None, verbose=False):
        self.calls.append(("YOLO", model, task))

    def _called(self, mode, given):
        self.calls.append((mode, given))
        if FakeYOLO.fails:
            raise FakeYOLO.fails
        return []

    def train(self, **given):
        return self._called("train", given)

    def val(self, **given):
        return self._called("val", given)

    def predict(self, source=None, stream=False, **given):
        return self._called("predict", {"source": source, "stream": stream, **given})


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and a dataset file, the fake network, and settings of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("net.yaml", "own.yaml"):
        (tmp_path / name).write_text("nc: 1\n", encoding="utf-8")
    monkeypatch.setitem(vars(ultralytics), "YOLO", FakeYOLO)
    monkeypatch.setattr(FakeYOLO, "calls", [])
    monkeypatch.setattr(FakeYOLO, "fails", None)
    monkeypatch.delenv("YOLO_DEBUG", raising=False)
    return tmp_path


def yolo(line: str) -> int:
    return cli.entrypoint(line.split())


@pytest.mark.parametrize(
    ("line", "model", "task", "mode", "given"),
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
    ],
)
def test_words_become_one_call(line, model, task, mode, given):
    assert yolo(line) == 0
    assert FakeYOLO.calls == [("YOLO", model, task), (mode, given)]


@pytest.mark.parametrize(
    "line", ["cfg=my.yaml train epochs=3", "train epochs=3 cfg=my.yaml", "cfg = my.yaml epochs=3 train"]
)
def test_options_from_a_file_whatever_the_order(line, there):
    # 8.3.0 lets the file wipe out what stands before it
    yaml_save(
        "my.yaml", {"model": "net.yaml", "data": "own.yaml", "mode": "val", "epochs": 9, "batch": 2, "name": None}
    )
    assert yolo(line) == 0
    assert FakeYOLO.calls == [("YOLO", "net.yaml", None), ("train", {"data": "own.yaml", "epochs": 3, "batch": 2})]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train model=net.yaml data=own.yaml epoch=3", "'epoch' is not an option; did you mean 'epochs'?"),
        ("train model=net.yaml data=own.yaml epochs=ten", "epochs=ten is not possible"),
        ("train model=net.yaml data=own.yaml epochs=", "epochs="),
        ("train model=net.yaml data=own.yaml epochs", "'epochs' needs a value: epochs=100"),
        ("model=net.yaml data=own.yaml", "no mode given: say what to do, one of train, val, predict"),
        ("show", "no mode given"),  # 8.3.0 starts a training
        ("trian", "did you mean 'train'"),
        ("train val model=net.yaml", "two modes, 'train' and 'val'"),
        ("detect segment val model=net.yaml", "two tasks"),
        ("export model=best.pt", "mode 'export' is not part of this version; there are train, val, predict"),
        ("segment train model=net.yaml data=own.yaml", "task 'segment' is not part of this version"),
        ("train data=own.yaml", "train needs a model: write model=yolo11n.yaml"),
        ("train resume", "resume=runs/detect/train/weights/last.pt"),
        ("train model=net.yaml", "train needs a dataset file: write data=coco128.yaml"),
        ("val", "val needs a model: write model=runs/detect/train/weights/best.pt"),
        ("predict model=best.pt", "predict needs a source: write source=photo.jpg"),
        ("train model=nat.yaml data=own.yaml", "there is no model file 'nat.yaml'"),
        ("train model=net.yaml data=coco182.yaml", "did you mean 'coco128.yaml'"),
        ("val best.pt", "model=best.pt"),
        ("train net.yaml", "data=net.yaml"),
        ("predict qqq", "`yolo help` shows what there is"),
        ("train cfg=nowhere.yaml", "nowhere.yaml"),
        ("help epoch", "did you mean 'epochs'"),
        ("settings run_dir=x", "did you mean 'runs_dir'"),
        ("settings runs_dir", "yolo settings key=value"),
    ],
)
def test_a_mistake_costs_one_line(line, says, capsys):
    assert yolo(line) == 2
    out, err = capsys.readouterr()
    assert err.startswith("yolo: ")
    assert says in err
    assert len(err.splitlines()) <= 2
    assert out == ""
    assert FakeYOLO.calls == []  # found before a network is built


def test_the_model_file_is_named_with_its_hint(there, capsys):
    assert yolo("train model=nett.yaml data=own.yaml") == 2
    assert f"(looked in {there}, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (FileNotFoundError("no images in 'x'"), 2, "yolo: no images in 'x'\n"),
        (NotImplementedError("not yet"), 2, "yolo: not yet\n"),
        (ImportError("needs x", name="x"), 2, "yolo: needs x\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (ValueError("of torch's inside"), 1, "Traceback"),  # not raised by a file of ours: a fault, not a mistake
        (RuntimeError("strange"), 1, "RuntimeError: strange"),
        (ModuleNotFoundError("gone", name="ultralytics.x"), 1, "Traceback"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory.\nmore"), 1, "take a smaller batch="),
    ],
)
def test_exit_codes(error, code, says, capsys, monkeypatch):
    monkeypatch.setattr(FakeYOLO, "fails", error)
    assert yolo("val model=best.pt") == code
    err = capsys.readouterr().err
    assert says in err
    assert (len(err.splitlines()) <= 2) == ("Traceback" not in err)


def test_key_error_without_the_quotes(capsys, monkeypatch):
    class Strict(FakeYOLO):
        def val(self, **given):
            raise Settings({})["nothing"]  # KeyError from a file of ours

    monkeypatch.setitem(vars(ultralytics), "YOLO", Strict)
    assert yolo("val model=best.pt") == 2
    assert capsys.readouterr().err.startswith("yolo: 'nothing' is not a setting")


def test_debug_shows_where(capsys, monkeypatch):
    monkeypatch.setenv("YOLO_DEBUG", "1")
    assert yolo("train epoch=3") == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "did you mean 'epochs'" in err


@pytest.mark.parametrize("line", ["", "help", "-h", "--help", "h", "HELP", "help detect"])
def test_help_fits_a_screen(line, capsys):
    assert yolo(line) == 0
    out = capsys.readouterr().out
    assert out == cli.HELP
    assert len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) <= 100


def test_examples_of_the_help_work(capsys, there):
    (there / "yolo11n.yaml").write_text("nc: 1\n", encoding="utf-8")
    examples = [
        line.split()[1:]
        for line in cli.HELP.splitlines()
        if line.startswith(("  yolo detect", "  yolo val", "  yolo pre"))
    ]
    assert len(examples) == 3
    for words in examples:
        assert cli.entrypoint(words) == 0, words
    assert [call[0] for call in FakeYOLO.calls[1::2]] == ["train", "val", "predict"]


@pytest.mark.parametrize(
    ("line", "has", "has_not"),
    [
        ("help epochs", "epochs=100  passes over the training images (a whole number >= 1)\nworks in: train\n", "lr0"),
        ("help --epochs=5", "epochs=100", "lr0"),
        ("help predict", "  source=none", "  epochs="),
        ("help val", "  split=val", "  epochs="),
        ("train --help", "  epochs=100", "  source="),
        ("detect train -h", "  epochs=100", "  source="),
    ],
)
def test_help_on_one_thing(line, has, has_not, capsys):
    assert yolo(line) == 0
    out = capsys.readouterr().out
    assert has in out
    assert has_not not in out


@pytest.mark.parametrize("line", ["version", "--version", "-v", "v"])
def test_version(line, capsys):
    assert yolo(line) == 0
    assert capsys.readouterr().out == "8.3.0+addmodules.1\n"


def test_cfg_and_copy_cfg(there, capsys):
    assert yolo("cfg") == 0
    assert capsys.readouterr().out == cfg.DEFAULT_YAML.read_text(encoding="utf-8")
    assert yolo("copy-cfg") == 0
    assert yaml_load("default_copy.yaml") == dict(cfg.default_cfg())
    assert "cfg=default_copy.yaml" in capsys.readouterr().out
    assert yolo("copy-cfg") == 2  # somebody's changes are not overwritten
    assert "exists already" in capsys.readouterr().err
    assert yolo("train cfg=default_copy.yaml model=net.yaml data=own.yaml") == 0
    name, given = FakeYOLO.calls[1]
    assert (name, given["epochs"], given["data"]) == ("train", 100, "own.yaml")


def test_settings(there, capsys, monkeypatch):
    from ultralytics.utils import settings as room

    file = there / "settings.json"
    monkeypatch.setattr(room, "settings", Settings(file))
    assert yolo("settings") == 0
    assert "not written yet" in capsys.readouterr().out
    assert not file.exists()
    assert yolo("settings runs_dir=2024_01 sync=true") == 0
    assert "  runs_dir=2024_01\n" in capsys.readouterr().out
    assert (json.loads(file.read_text())["runs_dir"], json.loads(file.read_text())["sync"]) == ("2024_01", True)
    assert yolo("settings sync=1") == 2  # 8.3.0 takes it, and resets everything the next time
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


def test_checks(there, capsys):
    (there / "ultralytics").mkdir()
    (there / "ultralytics" / "__init__.py").touch()
    assert yolo("checks") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"ultralytics {ultralytics.__version__} from {Path(ultralytics.__file__).parent}\n")
    assert f"the package in {there.resolve() / 'ultralytics'} is not the one that runs" in out
    for name in ("Python 3", "torch ", "numpy ", "opencv-python "):
        assert name in out


def test_as_a_program(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(Path(ultralytics.__file__).resolve().parents[1])}
    run = [sys.executable, "-m", "ultralytics"]
    done = subprocess.run([*run, "version"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "8.3.0+addmodules.1\n")
    done = subprocess.run([*run, "train", "epoch=1"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_a_path_that_the_output_cannot_hold(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(Path(ultralytics.__file__).resolve().parents[1])}
    env |= {"YOLO_CONFIG_DIR": str(tmp_path / "设置"), "PYTHONIOENCODING": "ascii"}
    run = [sys.executable, "-m", "ultralytics", "settings"]
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u8bbe\\u7f6e" in done.stdout


def test_logger_is_left_alone():
    before = list(LOGGER.handlers), LOGGER.level
    yolo("help")
    assert (list(LOGGER.handlers), LOGGER.level) == before
    assert logging.getLogger().level == logging.WARNING
