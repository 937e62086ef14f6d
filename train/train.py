"""Trains a network: `python train/train.py`, with any options, such as `--task segment --epochs 100`.

训练脚本：不带参数即用示例数据训练 yolo11-AKConv；`--task` 选择任务，任何选项都可以写成 `--名字 值`。
说明见同目录的 训练说明.md。

Can be started from any folder. The first line of output says which copy of the package is running.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

TRAIN_DIR = Path(__file__).resolve().parent
PROJECT = TRAIN_DIR.parent

# For each task the model and the data that are used unless given on the command line; all other options have the
# defaults of the package. yolo11n-AKConv.yaml is yolo11-AKConv.yaml at scale n; s, m, l, x are larger.
# 各任务的默认模型和数据，命令行没有写明时使用；其余选项取软件包的默认值。
DEFAULTS: dict[str, dict[str, object]] = {
    "detect": {"model": TRAIN_DIR / "yolo11n-AKConv.yaml", "data": TRAIN_DIR / "coco128.yaml"},
    "segment": {"model": "yolo11n-seg.yaml", "data": TRAIN_DIR / "digits-seg.yaml"},
    "pose": {"model": "yolo11n-pose.yaml", "data": TRAIN_DIR / "digits-pose.yaml"},
    "obb": {"model": "yolo11n-obb.yaml", "data": TRAIN_DIR / "digits-obb.yaml"},
    "classify": {"model": "yolo11n-cls.yaml", "data": PROJECT / "dataset" / "classify"},
}
# Additional ones for the sample in dataset/, used without --data: minutes on two CPU cores. Photographs usually need a
# larger imgsz. nbs=batch: an optimizer step after every batch, because 200 images are only a few batches.
# 不写 --data（即用 dataset/）时再加上这些，两个 CPU 核几分钟即可完成；照片通常需要更大的尺寸。
_PAGES: dict[str, object] = {"epochs": 60, "imgsz": 160, "batch": 8, "nbs": 8}
_NOT_MIRRORED: dict[str, object] = {"fliplr": 0.0}  # a mirrored digit is not a digit 数字不能左右翻转
SAMPLE_DEFAULTS: dict[str, dict[str, object]] = {
    "detect": _PAGES | _NOT_MIRRORED,
    "segment": _PAGES | _NOT_MIRRORED,
    "pose": _PAGES | _NOT_MIRRORED,
    "obb": _PAGES | _NOT_MIRRORED,
    # a higher learning rate and less augmentation than by default, because there are few images and few epochs
    "classify": {"epochs": 30, "imgsz": 32, "batch": 16, "nbs": 16, "optimizer": "AdamW", "lr0": 0.002}
    | {"scale": 0.3, "erasing": 0.0, "auto_augment": None}
    | _NOT_MIRRORED,
}
REINSTALL = f'run `pip install .` in "{PROJECT}" (or `pip install -e .` once, and edits take effect at once)'
USAGE = """usage: python train/train.py [--task TASK] [--option value ...]

  --task TASK   detect, segment, pose, obb or classify; by default the task of --model, or else detect

docs/reference/options.md explains all options; `yolo cfg` prints them. Defaults of this script for each task:
{defaults}
and for the sample in dataset/, if --data is not given:
{sample_defaults}
Results are written to {project}"""


def main(words: list[str]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an ASCII console must not fail on Chinese text
    if {"-h", "--help"} & set(words):
        print(usage())
        return
    print(which_copy(), flush=True)
    try:
        train(words)
    except (ValueError, FileNotFoundError, KeyError) as e:
        # the messages of the package's own errors are written for users; other errors need their traceback
        is_own = type(e).__module__ != "builtins" or (isinstance(e, FileNotFoundError) and e.errno is None)
        if not is_own:
            raise
        sys.exit(f"{type(e).__name__}: {e}")
    except KeyboardInterrupt:  # Ctrl-C; the trainer has printed how to resume
        sys.exit(130)


def usage() -> str:
    """The text of --help."""
    defaults, sample_defaults = (
        "\n".join(f"  {task:8}  {as_words(row)}" for task, row in rows)
        for rows in (DEFAULTS.items(), SAMPLE_DEFAULTS.items())
    )
    project = PROJECT / "runs" / "TASK"
    return USAGE.format(defaults=defaults, sample_defaults=sample_defaults, project=project)


def as_words(settings: dict[str, object]) -> str:
    """Settings as they are written on the command line."""
    return " ".join(f"--{key} {'none' if value is None else value}" for key, value in settings.items())


def train(words: list[str]) -> None:
    """Train with the options in `words`; they and the dataset file are checked before anything slow starts."""
    # not at the top of the file, so that the first line of output appears even if one of these imports fails
    from ultralytics import YOLO
    from ultralytics.cfg import OptionError, find_data_yaml, get_cfg, parse_words

    options = parse_words(words)
    if options.pop("mode", "train") != "train":
        raise OptionError("train.py only trains; use `yolo val ...` or `yolo predict ...`")
    get_cfg(options)
    model = YOLO(model_file(options))
    task = str(options.get("task") or model.task)
    if task != model.task:
        example = DEFAULTS[task]["model"]
        raise OptionError(f"--task {task}: {model_file(options)} is for the task {model.task}; use --model {example}")
    settings = with_defaults(options, model.task)
    added = {key: settings[key] for key in SAMPLE_DEFAULTS[model.task] if key in settings.keys() - options.keys()}
    if added:
        print(f"Settings for the sample dataset (override them for your own data): {as_words(added)}")
    if "data" in settings and model.task != "classify":
        find_data_yaml(str(settings["data"]))
    model.train(**settings)


def model_file(options: dict[str, object]) -> str:
    """The model file or checkpoint to start from; also searched for in the folder of this script.

    Raises:
        OptionError: --resume does not say which run.
    """
    from ultralytics.cfg import OptionError

    if not options.get("resume"):
        return str(in_train_dir(options.get("model") or DEFAULTS[str(options.get("task") or "detect")]["model"]))
    model = options.get("model") or options["resume"]
    if model is True:
        raise OptionError('--resume needs a checkpoint, such as "--resume runs/detect/train/weights/last.pt"')
    return str(model)


def with_defaults(options: dict[str, object], task: str) -> dict[str, object]:
    """`options` without the model, completed by the defaults of a task.

    The dataset file is also searched for in the folder of this script. A resumed run keeps its own settings, so the
    defaults of this script do not apply to it.
    """
    settings = {key: value for key, value in options.items() if key != "model"}
    if options.get("resume"):
        return settings
    settings = {**({} if "data" in options else SAMPLE_DEFAULTS[task]), **settings}
    data = in_train_dir(settings.get("data") or DEFAULTS[task]["data"])
    return {"project": PROJECT / "runs" / task, **settings, "data": str(data)}  # whatever the current folder is


def in_train_dir(file: object) -> object:
    """The file of that name in the folder of this script, unless it exists relative to the current folder.

    yolo11s-AKConv.yaml finds yolo11-AKConv.yaml: the letter is the scale, and the file edited here takes precedence
    over the package's own.
    """
    candidate = TRAIN_DIR / str(file)
    unscaled = candidate.with_name(re.sub(r"^(yolov?\d+)[nslmx]", r"\1", candidate.name))
    return candidate if not Path(str(file)).exists() and (candidate.exists() or unscaled.exists()) else file


def which_copy() -> str:
    """One line: version and folder of the running package; more lines if the source tree next to train/ differs.

    Exits with instructions if the package is missing or is not this project's.
    """
    try:
        import ultralytics
    except ModuleNotFoundError as e:
        if e.name != "ultralytics":
            raise
        sys.exit(f"The package is not installed for {sys.executable}: {REINSTALL}.")
    folder = Path(ultralytics.__file__).resolve().parent
    line = f"ultralytics {ultralytics.__version__} from {folder}"
    if "+addmodules" not in ultralytics.__version__:
        sys.exit(f"{line}\nThis is not this project's package: {REINSTALL}, which replaces it.")
    tree = PROJECT / "ultralytics"
    if not tree.is_dir() or tree.samefile(folder):
        return line
    different = differing_files(tree, folder)
    if not different:
        return f"{line} (identical to the source tree of this script)"
    examples = ", ".join(different[:3]) + (" ..." if len(different) > 3 else "")
    return (
        f"{line}\n"
        f"WARNING: this is not the source tree of this script. {len(different)} files differ: {examples}\n"
        f'         Changes in "{tree}" have no effect. To use them, {REINSTALL}.\n'
        "警告：正在运行的是已安装的副本，不是脚本旁边的 ultralytics 文件夹，那里的修改不会生效；请用上面的命令重装。"
    )


def differing_files(tree: Path, other: Path) -> list[str]:
    """Names, relative to both folders, of the .py and .yaml files whose content differs or that only one folder has."""
    files = [
        {f.relative_to(root).as_posix(): f for f in root.rglob("*") if f.suffix in {".py", ".yaml"}}
        for root in (tree, other)
    ]
    names = sorted(files[0].keys() | files[1].keys())
    return [n for n in names if n not in files[0] or n not in files[1] or _text(files[0][n]) != _text(files[1][n])]


def _text(file: Path) -> bytes:
    return file.read_bytes().replace(b"\r\n", b"\n")  # git on Windows may convert line ends


if __name__ == "__main__":  # worker processes import this file
    main(sys.argv[1:])
