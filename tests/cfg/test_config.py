"""Merging of options: precedence, renamed options, files, unused options, help, image size."""

from __future__ import annotations

from pathlib import Path

import pytest

from ultralytics.cfg import OptionError, all_options, cfg_help, check_imgsz, get_cfg, load_cfg_file, warn_unused
from ultralytics.utils.files import yaml_save


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        ({"hide_labels": True}, "show_labels", False),
        ({"hide_labels": "False"}, "show_labels", True),
        ({"hide_conf": False}, "show_conf", True),
        ({"boxes": False}, "show_boxes", False),
        ({"line_thickness": 3}, "line_width", 3),
    ],
)
def test_names_of_earlier_versions(overrides, key, value, messages):
    assert getattr(get_cfg(overrides), key) == value
    assert len(messages) == 1
    assert f"'{key}'" in messages[0]


def test_precedence(cwd):
    yaml_save("my.yaml", {"epochs": 5, "batch": 4, "lr0": 0.5, "save_dir": "old"})
    args = get_cfg({"epochs": 7, "batch": 8, "seed": 3}, {"batch": 2, "cfg": "my.yaml"})
    assert (args.epochs, args.batch, args.lr0, args.seed, args.patience) == (5, 2, 0.5, 3, 100)
    assert args.cfg == "my.yaml"
    assert not hasattr(args, "save_dir")


def test_save_dir_is_kept_from_an_earlier_run_and_dropped_from_overrides():
    assert get_cfg({"save_dir": "runs/a"}, {}).save_dir == "runs/a"
    assert "save_dir" not in vars(get_cfg({"save_dir": "runs/a"}))


def test_options_of_another_version_are_ignored(messages):
    args = get_cfg({"epochs": 2, "compile": True}, {})
    assert args.epochs == 2
    assert "compile" not in vars(args)
    assert "compile" in messages[0]
    assert get_cfg(args, {}).epochs == 2


def test_the_order_of_arguments_is_that_of_8_3_0(cwd):
    yaml_save("my.yaml", {"epochs": 5, "seed": 3})
    for earlier in ("my.yaml", Path("my.yaml"), {"epochs": 5, "seed": 3}, get_cfg({"epochs": 5, "seed": 3})):
        args = get_cfg(earlier, {"epochs": 9})
        assert (args.epochs, args.seed, args.batch) == (9, 3, 16)
        assert get_cfg(cfg=earlier, overrides={"epochs": 9}) == args
        assert get_cfg(earlier).epochs == get_cfg(cfg=earlier).epochs == 5
    assert get_cfg(overrides={"epochs": 9}) == get_cfg({"epochs": 9})
    with pytest.raises(OptionError, match="epoch"):
        get_cfg({"seed": 3}, {"epoch": 9})


def test_errors_name_the_file(cwd):
    yaml_save("my.yaml", {"epoch": 5})
    with pytest.raises(OptionError, match=r"my\.yaml: 'epoch' is not an option; did you mean 'epochs'"):
        load_cfg_file("my.yaml")


def test_exponents_in_a_file(cwd):
    Path("my.yaml").write_text("lr0: 1e-3\nname: 1e\n", encoding="utf-8")
    assert load_cfg_file("my.yaml") == {"lr0": 0.001, "name": "1e"}


@pytest.mark.parametrize(
    ("keys", "mode", "task", "unused"),
    [
        (["epochs", "imgsz"], "predict", None, ["epochs"]),
        (["epochs", "imgsz", "box"], "train", None, []),
        (["source", "mosaic"], "val", None, ["source", "mosaic"]),
        (["pose"], "train", "detect", ["pose"]),
        (["pose"], "train", "pose", []),
        (["label_smoothing"], "train", None, ["label_smoothing"]),
        (["conf", "source", "imgsz"], "val", "classify", ["source", "conf"]),
        (["seed"], "val", "classify", []),
        (["seed"], "val", "detect", ["seed"]),
    ],
)
def test_options_without_effect(keys, mode, task, unused, messages):
    assert warn_unused(keys, mode, task) == unused
    assert len(messages) == len(unused)


def test_help_has_a_line_for_every_option():
    lines = cfg_help().splitlines()
    for key in all_options():
        assert any(line.startswith(f"  {key}=") for line in lines), key
    assert "  source=" not in cfg_help("train")


@pytest.mark.parametrize(
    ("imgsz", "kwargs", "size", "warnings"),
    [
        (640, {}, 640, 0),
        (641, {}, 672, 1),
        ([320, 100], {}, [320, 128], 1),
        ((640, 480), {"max_dim": 1}, 640, 1),
        ("[320,640]", {"min_dim": 2}, [320, 640], 0),
        ("640", {"min_dim": 2}, [640, 640], 0),
        (8, {"max_dim": 1, "floor": 32}, 32, 1),
        ([320], {}, 320, 0),
        (1, {"stride": 64, "min_dim": 2, "floor": 128}, [128, 128], 1),
        (64.0, {}, 64, 0),
    ],
)
def test_check_imgsz(imgsz, kwargs, size, warnings, messages):
    assert check_imgsz(imgsz, **kwargs) == size
    assert len(messages) == warnings


@pytest.mark.parametrize("imgsz", [0, -32, 2.5, "big", [1, 2, 3], [], None, True])
def test_check_imgsz_rejects(imgsz):
    with pytest.raises(OptionError, match="imgsz"):
        check_imgsz(imgsz)


def test_texts_in_a_file_of_options_stay_as_written(tmp_path):
    file = tmp_path / "o.yaml"
    file.write_text("name: 2024_01\nproject: 010\nepochs: 3\nmodel:\n")
    options = load_cfg_file(file)
    assert (options["name"], options["project"], options["epochs"], options["model"]) == ("2024_01", "010", 3, None)
