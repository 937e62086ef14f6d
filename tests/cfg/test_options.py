"""Options: the frozen table of defaults, accepted and rejected values, suggestions, values on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ultralytics.cfg import (
    MODES,
    TASKS,
    OptionError,
    all_options,
    check_option,
    default_cfg,
    get_cfg,
    parse_option,
)

# options of 8.3.0 in its order: args.yaml, checkpoints and scripts must mean the same in both packages
CONTRACT = """
task=detect mode=train model=None data=None epochs=100 time=None patience=100 batch=16 imgsz=640 save=True
save_period=-1 cache=False device=None workers=8 project=None name=None exist_ok=False pretrained=True optimizer=auto
verbose=True seed=0 deterministic=True single_cls=False rect=False cos_lr=False close_mosaic=10 resume=False amp=True
fraction=1.0 profile=False freeze=None multi_scale=False overlap_mask=True mask_ratio=4 dropout=0.0 val=True split=val
save_json=False save_hybrid=False conf=None iou=0.7 max_det=300 half=False dnn=False plots=True source=None
vid_stride=1 stream_buffer=False visualize=False augment=False agnostic_nms=False classes=None retina_masks=False
embed=None show=False save_frames=False save_txt=False save_conf=False save_crop=False show_labels=True show_conf=True
show_boxes=True line_width=None format=torchscript keras=False optimize=False int8=False dynamic=False simplify=True
opset=None workspace=4 nms=False lr0=0.01 lrf=0.01 momentum=0.937 weight_decay=0.0005 warmup_epochs=3.0
warmup_momentum=0.8 warmup_bias_lr=0.1 box=7.5 cls=0.5 dfl=1.5 pose=12.0 kobj=1.0 label_smoothing=0.0 nbs=64
hsv_h=0.015 hsv_s=0.7 hsv_v=0.4 degrees=0.0 translate=0.1 scale=0.5 shear=0.0 perspective=0.0 flipud=0.0 fliplr=0.5
bgr=0.0 mosaic=1.0 mixup=0.0 copy_paste=0.0 copy_paste_mode=flip auto_augment=randaugment erasing=0.4
crop_fraction=1.0 cfg=None tracker=botsort.yaml
"""
ADDED = {"letterbox=False", "mask_crop=box"}  # options of this package only


def test_defaults_are_the_contract():
    options = [f"{key}={value}" for key, value in default_cfg()]
    assert [option for option in options if option not in ADDED] == CONTRACT.split()
    assert set(options) > ADDED


def test_every_default_passes_its_own_check():
    for key, option in all_options().items():
        checked = option.check(option.default)
        assert (checked, type(checked)) == (option.default, type(option.default)), key


def test_scopes_name_known_modes_and_tasks():
    for key, option in all_options().items():
        for mode, task in option.scope:
            assert mode in (*MODES, "all", "none"), key
            assert task in (*TASKS, ""), key
        assert option.group, key
        assert len(option.meaning) > 3, key


def test_default_cfg_is_a_new_object_each_time():
    default_cfg().epochs = 1
    assert default_cfg().epochs == 100


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("epochs", 3, 3),
        ("epochs", 3.0, 3),  # the result of a calculation
        ("epochs", np.int64(3), 3),
        ("lr0", np.float32(0.5), 0.5),
        ("lr0", 1, 1),
        ("half", "True", True),
        ("half", "false", False),
        ("half", 1, True),
        ("half", np.bool_(False), False),
        ("cache", "RAM", "ram"),
        ("cache", True, True),
        ("cache", "disk", "disk"),
        ("resume", "a/last.pt", "a/last.pt"),
        ("pretrained", Path("w.pt"), "w.pt"),
        ("pretrained", "false", False),
        ("optimizer", "adamw", "AdamW"),
        ("freeze", 10, 10),
        ("freeze", [0, 2], [0, 2]),
        ("imgsz", (320, 640), [320, 640]),
        ("classes", 2, [2]),
        ("classes", np.array([0, 5]), [0, 5]),
        ("embed", [-2], [-2]),
        ("batch", -1, -1),
        ("batch", 0.7, 0.7),
        ("batch", 8.0, 8),
        ("device", 0, 0),
        ("device", "0,1", "0,1"),
        ("device", [0, 1], [0, 1]),
        ("device", "", None),
        ("time", 0.5, 0.5),
        ("conf", None, None),
        ("patience", None, None),
        ("name", 5, "5"),
        ("name", "none", None),
        ("project", Path("a/b"), "a/b"),
        ("auto_augment", None, None),
        ("data", {"train": "x"}, {"train": "x"}),
        ("save_period", -1, -1),
        ("workspace", 2.5, 2.5),
    ],
)
def test_accepted_values(key, value, expected):
    result = getattr(get_cfg({key: value}), key)
    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", 0, "an integer >= 1"),
        ("epochs", 2.5, "epochs=2.5"),
        ("epochs", "3", "write the number without quotes"),
        ("epochs", None, "default 100"),
        ("epochs", True, "epochs=True"),
        ("workers", -1, ">= 0"),
        ("batch", 0, "an integer >= 1, -1 or a number > 0 and < 1"),
        ("batch", 1.5, "batch"),
        ("batch", -2, "batch"),
        ("half", "maybe", "True or False"),
        ("half", 2, "half=2"),
        ("amp", None, "True or False"),
        ("mosaic", 1.2, "0..1"),
        ("lr0", float("nan"), "lr0=nan"),
        ("box", float("inf"), "box=inf"),
        ("box", -1, ">= 0"),
        ("erasing", 1.0, "< 1"),
        ("optimizer", "SDG", "SGD"),
        ("cache", "disc", "ram or disk"),
        ("classes", [0, "a"], "list of integers"),
        ("classes", [-1], ">= 0"),
        ("device", 1.5, "cpu"),
        ("split", "trian", "train"),
        ("freeze", -3, ">= 0"),
        ("model", 5, "a path"),
        ("name", True, "text"),
        ("imgsz", [320, 0], ">= 1"),
    ],
)
def test_rejected_values(key, value, message):
    with pytest.raises(OptionError) as e:
        get_cfg({key: value})
    assert message in str(e.value)
    assert f"'{key}' accepts" in str(e.value)
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("epoch", "'epoch' is not an option; did you mean 'epochs'?"),
        ("Epochs", "did you mean 'epochs'?"),
        ("show_label", "did you mean 'show_labels'?"),
        ("learning_rate", "did you mean 'lr0'?"),
        ("batch_size", "did you mean 'batch'?"),
        ("batch-size", "did you mean 'batch'?"),
        ("xyzzy", "`yolo cfg` lists all options"),
    ],
)
def test_unknown_keys_suggest_the_nearest(key, text):
    for call in (lambda: get_cfg({key: 1}), lambda: check_option(key, 1), lambda: parse_option(key, "1")):
        with pytest.raises(OptionError, match=None) as e:
            call()
        assert text in str(e.value)
    assert isinstance(e.value, ValueError)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("epochs", "3", 3),
        ("epochs", "1e2", 100),
        ("lr0", ".5", 0.5),
        ("lr0", "1e-3", 0.001),
        ("imgsz", "640,480", [640, 480]),
        ("imgsz", "[320, 640]", [320, 640]),
        ("classes", "0", [0]),
        ("classes", "(0,2)", [0, 2]),
        ("freeze", "3", 3),
        ("freeze", "[3]", [3]),
        ("name", "2024_01", "2024_01"),  # 8.3.0 makes 202401 of it
        ("name", "001", "001"),
        ("name", "1e3", "1e3"),
        ("name", "max", "max"),
        ("name", "__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("device", "0,1", "0,1"),
        ("source", "0", "0"),
        ("source", "a,b.jpg", "a,b.jpg"),
        ("conf", "None", None),
        ("half", "TRUE", True),
        ("batch", "-1", -1),
        ("batch", "0.6", 0.6),
        ("cache", "ram", "ram"),
        ("pretrained", "11.pt", "11.pt"),
    ],
)
def test_parse_option(key, text, value):
    result = parse_option(key, text)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(("key", "text"), [("epochs", "03"), ("epochs", "ten"), ("lr0", "0.1.2"), ("max_det", "1_0")])
def test_parse_option_rejects_malformed_numbers(key, text):
    with pytest.raises(OptionError, match=f"{key}={text}"):
        parse_option(key, text)
