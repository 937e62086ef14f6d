"""Command-line words: the accepted forms of an option, tasks and modes, mistakes."""

from __future__ import annotations

import pytest

from ultralytics.cfg import OptionError, parse_words


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("", {}),
        ("epochs=3 lr0=1e-3", {"epochs": 3, "lr0": 0.001}),
        ("--epochs 3 --lr0 1e-3", {"epochs": 3, "lr0": 0.001}),
        ("--epochs=3 imgsz=64", {"epochs": 3, "imgsz": 64}),
        ("epochs = 3 imgsz= 64 conf =0.1", {"epochs": 3, "imgsz": 64, "conf": 0.1}),
        ("imgsz=320 imgsz=64", {"imgsz": 64}),  # the last one counts
        ("model=best.pt, half,", {"model": "best.pt", "half": True}),  # commas as in Python calls
        ("--rect", {"rect": True}),
        ("rect", {"rect": True}),
        ("--rect --epochs 3", {"rect": True, "epochs": 3}),
        ("--rect epochs=3", {"rect": True, "epochs": 3}),
        ("--half val model=best.pt", {"half": True, "mode": "val", "model": "best.pt"}),
        ("--rect false", {"rect": False}),
        ("--resume a/last.pt", {"resume": "a/last.pt"}),
        ("--val false", {"val": False}),  # with dashes the option, without them the mode
        ("val", {"mode": "val"}),
        ("detect --train", {"task": "detect", "mode": "train"}),
        ("mode=val task=detect", {"mode": "val", "task": "detect"}),
        ("--save-period -1", {"save_period": -1}),  # a negative number is a value; dashes in names are underscores
        ("--name 2024_01 --data a/c=d.yaml", {"name": "2024_01", "data": "a/c=d.yaml"}),
        ("--device none --classes [0,2]", {"device": None, "classes": [0, 2]}),
        ("hide_labels=True", {"hide_labels": True}),  # get_cfg translates options of earlier versions
    ],
)
def test_parse_words(line, options):
    assert parse_words(line.split()) == options


def test_values_may_contain_spaces():
    assert parse_words(["--data", "a b/c.yaml", "project=x y"]) == {"data": "a b/c.yaml", "project": "x y"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epochs=", "'epochs=': expected key=value"),
        ("--epochs= --rect", "'--epochs=': expected key=value"),
        ("=3", "expected key=value"),
        ("epochs", "'epochs' needs a value: epochs=100"),
        ("--epochs", "--epochs needs a value: epochs=100"),
        ("--epochs --rect", "--epochs needs a value"),
        ("--epoch 3", "did you mean 'epochs'"),
        ("--epochs many", "epochs=many is invalid"),
        ("batch-size=3", "did you mean 'batch'"),
        ("yolo11n.yaml", r"'yolo11n.yaml' needs a key \(data or model\): data=yolo11n.yaml"),
        ("best.pt", r"needs a key \(model\): model=best.pt"),
        ("train val", "two modes, 'train' and 'val'"),
        ("task=pose detect", "two tasks, 'pose' and 'detect'"),
        ("trian", "did you mean 'train'"),
        ("setings", "did you mean 'settings'"),
        ("qqq", "not a task, mode, command or option; see `yolo help`"),
    ],
)
def test_mistakes(line, message):
    with pytest.raises(OptionError, match=message):
        parse_words(line.split(), commands=["settings"])


def test_quotes_that_a_shell_passed_on():
    words = ["'mode=train'", "data='a b.yaml'", 'name="x"', "--project", "'p'", "source='a'b'"]
    options = parse_words(words)
    assert options == {"mode": "train", "data": "a b.yaml", "name": "x", "project": "p", "source": "'a'b'"}
