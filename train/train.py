"""Trains a detector: `python train/train.py`, or with any option, such as `--epochs 100 --model yolo11n.yaml`.

训练脚本：不带参数即用示例数据训练 yolo11-AKConv；任何选项都可以写成 `--名字 值`。说明见同目录的 训练说明.md。

Works from any folder. The first line printed says which copy of the package runs.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

KIT = Path(__file__).resolve().parent
PROJECT = KIT.parent

# Used where the command line says nothing; every option that is not here has the package's default.
# 命令行没有写明时使用；其余选项取软件包的默认值。
DEFAULTS: dict[str, object] = {
    "model": KIT / "yolo11n-AKConv.yaml",  # that is yolo11-AKConv.yaml at size n; s, m, l, x are larger
    "data": KIT / "coco128.yaml",
    "project": PROJECT / "runs" / "detect",  # beside train/ and dataset/, wherever the command is given
}
# Further ones for dataset/, that is without --data: minutes on two CPU cores. Photographs want larger images.
# 不写 --data（即用 dataset/）时再加上这些，两个 CPU 核几分钟即可完成；照片通常需要更大的尺寸。
FOR_THE_SAMPLE: dict[str, object] = {
    "epochs": 60,
    "imgsz": 160,
    "batch": 8,
    "nbs": 8,  # a step of the optimiser for every batch: 200 images make few
    "fliplr": 0.0,  # a mirrored digit is another sign, or none 数字不能左右翻转
}
REINSTALL = f'run `pip install .` in "{PROJECT}" (or `pip install -e .` once, and edits count at once)'
USAGE = f"""usage: python train/train.py [--option value ...]

Options are those of `yolo cfg`; docs/reference/options.md explains them. Used here when not given:
{chr(10).join(f"  --{key} {value}" for key, value in DEFAULTS.items())}
and without --data, for dataset/:
{chr(10).join(f"  --{key} {value}" for key, value in FOR_THE_SAMPLE.items())}"""


def main(words: list[str]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # Chinese must not end a run whose output is ASCII
    if {"-h", "--help"} & set(words):
        print(USAGE)
        return
    print(which_copy(), flush=True)
    # late, so that the line above comes even when one of these imports fails
    from ultralytics import YOLO
    from ultralytics.cfg import find_data_yaml, get_cfg

    try:
        given = read_words(words)
        settings = with_defaults(given)
        chosen = " ".join(f"--{key} {settings[key]}" for key in FOR_THE_SAMPLE if key in settings.keys() - given.keys())
        if chosen:
            print(f"Settings for the sample, change what does not suit your data: {chosen}")
        get_cfg(settings)  # options and dataset before anything slow, so that a slip costs no time
        if "data" in settings:
            find_data_yaml(str(settings["data"]))
        YOLO(str(settings.pop("model"))).train(**settings)
    except (ValueError, FileNotFoundError, KeyError) as e:
        # the package's own errors are worded for the user; of any other the traceback is of use
        ours = type(e).__module__ != "builtins" or (isinstance(e, FileNotFoundError) and e.errno is None)
        if not ours:
            raise
        sys.exit(f"{type(e).__name__}: {e}")
    except KeyboardInterrupt:  # Ctrl-C; the trainer has said how to go on
        sys.exit(130)


def read_words(words: list[str]) -> dict[str, object]:
    """`--epochs 3`, `--epochs=3`, `epochs=3`, and `--rect` alone for true, as {"epochs": 3, "rect": True}.

    Raises:
        OptionError: a word belongs to no option, or an option that needs a value has none.
    """
    from ultralytics.cfg import OptionError, option, parse_option

    texts: dict[str, str | None] = {}
    waiting: str | None = None  # an option that was named and may still get a value
    for word in words:
        if word.startswith("--") or (waiting is None and "=" in word):
            name, equals, text = word.removeprefix("--").partition("=")
            name = name.replace("-", "_")
            waiting = None if equals else name
            texts[name] = text if equals else None
        elif waiting is not None:
            texts[waiting] = word
            waiting = None
        else:
            raise OptionError(f"'{word}' belongs to no option; write --option value")
    for name, given in texts.items():
        if given is None and not option(name).is_flag:
            raise OptionError(f"--{name} needs a value: {option(name).line()}")
    return {name: True if text is None else parse_option(name, text) for name, text in texts.items()}


def with_defaults(given: dict[str, object]) -> dict[str, object]:
    """The options given and, for the rest, DEFAULTS; files named after those of this folder are found here.

    Raises:
        OptionError: --resume says nothing about which run.
    """
    from ultralytics.cfg import OptionError

    if not given.get("resume"):
        settings = {**DEFAULTS, **({} if "data" in given else FOR_THE_SAMPLE), **given}
        return {**settings, **{key: str(in_kit(settings[key])) for key in ("model", "data")}}
    # the interrupted run has its own settings, which the defaults must not replace
    model = given.get("model") or given["resume"]
    if model is True:
        raise OptionError('--resume needs the run to go on with, such as "--resume runs/detect/train/weights/last.pt"')
    return {**given, "model": str(model)}


def in_kit(file: object) -> object:
    """The file of that name in this folder, when the name leads nowhere from where the command is given.

    yolo11s-AKConv.yaml finds yolo11-AKConv.yaml: the letter says the size, and the file that was edited here is meant.
    """
    beside = KIT / str(file)
    unscaled = beside.with_name(re.sub(r"^(yolov?\d+)[nslmx]", r"\1", beside.name))
    return beside if not Path(str(file)).exists() and (beside.exists() or unscaled.exists()) else file


def which_copy() -> str:
    """One line: version and place of the package that runs; more lines when the tree beside it is another one.

    Exits with the remedy where the package is missing or is not this project's.
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
        sys.exit(f"{line}\nThis is not this project's package: {REINSTALL}; it takes the other one's place.")
    tree = PROJECT / "ultralytics"
    if not tree.is_dir() or tree.samefile(folder):
        return line
    different = differing_files(tree, folder)
    if not different:
        return f"{line} (same as the tree beside this script)"
    some = ", ".join(different[:3]) + (" ..." if len(different) > 3 else "")
    return (
        f"{line}\n"
        f"WARNING: this is not the tree beside this script. {len(different)} files differ: {some}\n"
        f'         What you edited in "{tree}" is not used. To use it, {REINSTALL}.\n'
        "警告：正在运行的是已安装的副本，不是脚本旁边的 ultralytics 文件夹，那里的修改不会生效；请用上面的命令重装。"
    )


def differing_files(tree: Path, other: Path) -> list[str]:
    """Names, relative to both folders, of the code and settings files that are not the same in both."""
    both = [
        {f.relative_to(root).as_posix(): f for f in root.rglob("*") if f.suffix in {".py", ".yaml"}}
        for root in (tree, other)
    ]
    names = sorted(both[0].keys() | both[1].keys())
    return [n for n in names if n not in both[0] or n not in both[1] or _text(both[0][n]) != _text(both[1][n])]


def _text(file: Path) -> bytes:
    return file.read_bytes().replace(b"\r\n", b"\n")  # git on Windows may write either


if __name__ == "__main__":  # worker processes import this file again
    main(sys.argv[1:])
