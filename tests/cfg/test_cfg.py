"""Options: the frozen table of defaults, checks, merging, look-up of files, run folders, image sizes."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ultralytics import cfg
from ultralytics.cfg import (
    OptionError,
    all_options,
    cfg_help,
    check_imgsz,
    check_option,
    data_root,
    default_cfg,
    find_data_yaml,
    find_model_yaml,
    get_cfg,
    get_save_dir,
    load_cfg_file,
    parse_option,
    warn_unused,
)
from ultralytics.utils import LOGGER
from ultralytics.utils.files import yaml_load, yaml_save
from ultralytics.utils.settings import Settings

# what 8.3.0 has, in its order: an args.yaml, a checkpoint and a script of either package must mean the same in both
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


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts of the warnings given during the test."""
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(LOGGER, "handlers", [handler])
    return texts


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and settings that no test has changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cfg, "settings", Settings(tmp_path / "settings.json"))
    return tmp_path


def test_defaults_are_the_contract():
    assert [f"{key}={value}" for key, value in default_cfg()] == CONTRACT.split()
    assert len(all_options()) == 106


def test_every_default_passes_its_own_check():
    for key, option in all_options().items():
        checked = option.check(option.default)
        assert (checked, type(checked)) == (option.default, type(option.default)), key


def test_every_option_works_somewhere_known():
    for key, option in all_options().items():
        for mode, task in option.where:
            assert mode in (*cfg.MODES, "all", "nothing"), key
            assert task in (*cfg.TASKS, ""), key
        assert option.group, key
        assert len(option.meaning) > 3, key


def test_default_cfg_is_a_new_object_each_time():
    default_cfg().epochs = 1
    assert default_cfg().epochs == 100


@pytest.mark.parametrize(
    ("key", "given", "taken"),
    [
        ("epochs", 3, 3),
        ("epochs", 3.0, 3),  # a calculation that came out whole
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
def test_accepted(key, given, taken):
    result = getattr(get_cfg({key: given}), key)
    assert (result, type(result)) == (taken, type(taken))


@pytest.mark.parametrize(
    ("key", "given", "says"),
    [
        ("epochs", 0, "a whole number >= 1"),
        ("epochs", 2.5, "epochs=2.5"),
        ("epochs", "3", "write the number without quotes"),
        ("epochs", None, "default 100"),
        ("epochs", True, "epochs=True"),
        ("workers", -1, ">= 0"),
        ("batch", 0, "a whole number >= 1, -1 or a number > 0 < 1"),
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
        ("classes", [0, "a"], "list of whole numbers"),
        ("classes", [-1], ">= 0"),
        ("device", 1.5, "cpu"),
        ("split", "trian", "train"),
        ("freeze", -3, ">= 0"),
        ("model", 5, "a path"),
        ("name", True, "text"),
        ("imgsz", [320, 0], ">= 1"),
    ],
)
def test_refused(key, given, says):
    with pytest.raises(OptionError) as e:
        get_cfg({key: given})
    assert says in str(e.value)
    assert f"'{key}' takes" in str(e.value)
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
        ("xyzzy", "`yolo cfg` lists all"),
    ],
)
def test_unknown_key_names_the_nearest(key, text):
    for call in (lambda: get_cfg({key: 1}), lambda: check_option(key, 1), lambda: parse_option(key, "1")):
        with pytest.raises(OptionError, match=None) as e:
            call()
        assert text in str(e.value)
    assert isinstance(e.value, ValueError)


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ({"hide_labels": True}, "show_labels", False),
        ({"hide_labels": "False"}, "show_labels", True),
        ({"hide_conf": False}, "show_conf", True),
        ({"boxes": False}, "show_boxes", False),
        ({"line_thickness": 3}, "line_width", 3),
    ],
)
def test_names_of_earlier_versions(given, key, value, messages):
    assert getattr(get_cfg(given), key) == value
    assert len(messages) == 1
    assert f"'{key}'" in messages[0]


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
def test_words_of_the_command_line(key, text, value):
    result = parse_option(key, text)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(("key", "text"), [("epochs", "03"), ("epochs", "ten"), ("lr0", "0.1.2"), ("max_det", "1_0")])
def test_words_that_are_no_numbers(key, text):
    with pytest.raises(OptionError, match=f"{key}={text}"):
        parse_option(key, text)


def test_layers(here):
    yaml_save("my.yaml", {"epochs": 5, "batch": 4, "lr0": 0.5, "save_dir": "old"})
    args = get_cfg({"batch": 2, "cfg": "my.yaml"}, base={"epochs": 7, "batch": 8, "seed": 3})
    assert (args.epochs, args.batch, args.lr0, args.seed, args.patience) == (5, 2, 0.5, 3, 100)
    assert args.cfg == "my.yaml"
    assert not hasattr(args, "save_dir")


def test_save_dir_stays_from_an_earlier_run_and_goes_from_overrides():
    assert get_cfg({}, base={"save_dir": "runs/a"}).save_dir == "runs/a"
    assert "save_dir" not in vars(get_cfg({"save_dir": "runs/a"}))


def test_base_of_another_version(messages):
    args = get_cfg({}, base={"epochs": 2, "compile": True})
    assert args.epochs == 2
    assert "compile" not in vars(args)
    assert "compile" in messages[0]
    assert get_cfg(base=args).epochs == 2


def test_mistake_in_a_file_names_the_file(here):
    yaml_save("my.yaml", {"epoch": 5})
    with pytest.raises(OptionError, match=r"my\.yaml: 'epoch' is not an option; did you mean 'epochs'"):
        load_cfg_file("my.yaml")


def test_exponents_in_a_file(here):
    Path("my.yaml").write_text("lr0: 1e-3\nname: 1e\n", encoding="utf-8")
    assert load_cfg_file("my.yaml") == {"lr0": 0.001, "name": "1e"}


@pytest.mark.parametrize(
    ("given", "mode", "task", "unused"),
    [
        (["epochs", "imgsz"], "predict", None, ["epochs"]),
        (["epochs", "imgsz", "box"], "train", None, []),
        (["source", "mosaic"], "val", None, ["source", "mosaic"]),
        (["pose"], "train", "detect", ["pose"]),
        (["pose"], "train", "pose", []),
        (["label_smoothing"], "train", None, ["label_smoothing"]),
    ],
)
def test_options_without_effect(given, mode, task, unused, messages):
    assert warn_unused(given, mode, task) == unused
    assert len(messages) == len(unused)


def test_help_has_a_line_for_every_option():
    lines = cfg_help().splitlines()
    for key in all_options():
        assert any(line.startswith(f"  {key}=") for line in lines), key
    assert "  source=" not in cfg_help("train")


def args_of(**given):
    return get_cfg({"task": "detect", "mode": "train", **given})


@pytest.mark.parametrize(
    ("given", "there", "folder"),
    [
        ({}, [], "runs/detect/train"),
        ({}, ["runs/detect/train"], "runs/detect/train2"),
        ({}, ["runs/detect/train", "runs/detect/train2"], "runs/detect/train3"),
        ({"mode": "val"}, [], "runs/detect/val"),
        ({"name": "a"}, [], "runs/detect/a"),
        ({"project": "p"}, [], "p/train"),
        ({"project": "p", "name": "v1.5"}, ["p/v1.5"], "p/v1.52"),
        ({"name": "a", "exist_ok": True}, ["runs/detect/a"], "runs/detect/a"),
        ({"name": "model", "model": "x/yolo11n-AKConv.yaml"}, [], "runs/detect/yolo11n-AKConv"),
    ],
)
def test_run_folder(given, there, folder, here):
    for path in there:
        Path(path).mkdir(parents=True)
    before = sorted(here.rglob("*"))
    assert get_save_dir(args_of(**given)) == Path(folder)
    assert sorted(here.rglob("*")) == before  # nothing is created before the inputs are checked


def test_run_folder_given_by_the_trainer(here):
    assert get_save_dir(SimpleNamespace(save_dir="x/y")) == Path("x/y")


def test_run_folder_of_the_settings(here):
    cfg.settings["runs_dir"] = "elsewhere"
    assert get_save_dir(args_of()) == Path("elsewhere/detect/train")


def test_other_ranks_join_the_folder(here, monkeypatch):
    Path("runs/detect/train").mkdir(parents=True)
    monkeypatch.setattr(cfg, "RANK", 1)
    assert get_save_dir(args_of()) == Path("runs/detect/train")


@pytest.fixture
def own_models(here, monkeypatch):
    """A package's model folder with a few files, and an empty current folder."""
    folder = here / "package" / "models"
    for name in ("11/yolo11.yaml", "v8/yolov8-p6.yaml", "add/yolov8-ACmix.yaml", "add/yolov8-ACmix-P5.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("nc: 1", encoding="utf-8")
    monkeypatch.setattr(cfg, "_MODELS", folder)
    return folder


@pytest.mark.parametrize(
    ("name", "local", "found"),
    [
        ("yolo11n.yaml", [], "package/models/11/yolo11.yaml"),
        ("yolo11.yaml", [], "package/models/11/yolo11.yaml"),
        ("yolov8x6.yaml", [], "package/models/v8/yolov8-p6.yaml"),
        ("yolov8x-p6.yaml", [], "package/models/v8/yolov8-p6.yaml"),
        ("yolov8s-ACmix.yaml", [], "package/models/add/yolov8-ACmix.yaml"),
        ("yolov8x-ACmix-P5.yaml", [], "package/models/add/yolov8-ACmix-P5.yaml"),
        ("yolo11n.yaml", ["yolo11n.yaml", "yolo11.yaml"], "yolo11n.yaml"),  # 8.3.0 ignores it
        ("yolo11n.yaml", ["yolo11.yaml"], "yolo11.yaml"),
        ("sub/myyolo11m.yaml", ["sub/myyolo11.yaml"], "sub/myyolo11.yaml"),
        ("run11n/yolo11n.yaml", ["run11n/yolo11.yaml"], "run11n/yolo11.yaml"),  # letters of folders are no scales
    ],
)
def test_model_files(name, local, found, own_models, here):
    for path in local:
        (here / path).parent.mkdir(exist_ok=True)
        (here / path).write_text("nc: 1", encoding="utf-8")
    assert find_model_yaml(name).absolute() == here / found


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("yolov8-acmix.yaml", "did you mean 'yolov8-ACmix.yaml'"),
        ("yolo11.yml", "did you mean 'yolo11.yaml'"),
        ("other.yaml", "looked in"),
        ("best", "such as 'best.yaml'"),
    ],
)
def test_model_files_that_are_not_there(name, says, own_models):
    with pytest.raises(FileNotFoundError) as e:
        find_model_yaml(name)
    assert says in str(e.value)
    assert name in str(e.value)


def test_data_files(here):
    shipped = find_data_yaml("coco128.yaml")
    assert shipped.parent.name == "datasets"
    data = yaml_load(shipped)
    assert len(data["names"]) == 80
    assert (data["names"][0], data["names"][79]) == ("person", "toothbrush")
    Path("coco128.yaml").write_text("path: .", encoding="utf-8")
    assert find_data_yaml("coco128.yaml") == Path("coco128.yaml")
    with pytest.raises(FileNotFoundError, match=r"did you mean 'coco128\.yaml'"):
        find_data_yaml("coco182.yaml")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        find_data_yaml(here)


def test_roots_of_data(here):
    assert data_root(here / "a" / "my.yaml", "photos") == [here / "a" / "photos"]
    assert data_root("my.yaml", None) == [here]
    assert data_root(here / "my.yaml", here / "b") == [here / "b"]
    shipped = find_data_yaml("coco128.yaml")
    assert data_root(shipped, "coco128") == [here / "datasets" / "coco128", here / "coco128"]
    cfg.settings["datasets_dir"] = str(here / "d")
    assert data_root(shipped, "coco128")[0] == here / "d" / "coco128"


@pytest.mark.parametrize(
    ("given", "kwargs", "size", "warns"),
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
def test_imgsz(given, kwargs, size, warns, messages):
    assert check_imgsz(given, **kwargs) == size
    assert len(messages) == warns


@pytest.mark.parametrize("given", [0, -32, 2.5, "big", [1, 2, 3], [], None, True])
def test_imgsz_refused(given):
    with pytest.raises(OptionError, match="imgsz"):
        check_imgsz(given)
