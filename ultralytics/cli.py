"""The `yolo` command: command-line words in, one call of YOLO out.

`yolo [TASK] MODE key=value ...`, the words in any order. A mistake of the user gives one line on stderr and exit code
2, and is found before torch is imported; YOLO_DEBUG=1 shows the traceback.
"""

from __future__ import annotations

import inspect
import io
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ultralytics.cfg import (
    DEFAULT_YAML,
    cfg_help,
    find_data_folder,
    find_data_yaml,
    find_model_files,
    get_cfg,
    join_assignments,
    load_cfg_file,
    model_rules,
    option,
    parse_words,
)
from ultralytics.cfg.modes import MODES, OFFICIAL_MODES, get_mode
from ultralytics.cfg.value_types import parse_literal
from ultralytics.tasks import OFFICIAL_TASKS, TASKS, get_task
from ultralytics.utils import ROOT
from ultralytics.utils.checks import system_report
from ultralytics.utils.printable import printable
from ultralytics.utils.settings import DEFAULTS, settings
from ultralytics.version import __version__

EXAMPLES = """\
  yolo detect train model=yolo11n.yaml data=coco128.yaml epochs=3 imgsz=320
  yolo val model=runs/detect/train/weights/best.pt
  yolo predict model=runs/detect/train/weights/best.pt source=photos/ conf=0.4
"""
COMMANDS_HELP = """\
  yolo help [KEY | MODE]    this text; one option; the options that apply to a mode
  yolo cfg, yolo copy-cfg   print all options with their defaults; copy them to default_copy.yaml
  yolo modules              the added modules and how to use them in a model file
  yolo settings             print the user settings;  yolo settings reset | datasets_dir=/data
  yolo checks               versions and paths of the package, Python, torch and the GPU
  yolo version
"""
_DEBUG = "YOLO_DEBUG"


class UsageError(ValueError):
    """The words on the command line do not form a valid command."""


def entrypoint(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: the words after `yolo`; None takes those of the process.

    Returns:
        Exit code: 0, 2 for a mistake of the user, 130 for Ctrl-C, 1 for any other error.
    """
    words = join_assignments(map(str, sys.argv[1:] if argv is None else argv))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an ASCII console must not fail on a path in Chinese
    try:
        _run(words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `yolo cfg | head` closes the pipe early
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # else Python complains at exit
        return 0
    except Exception as e:  # noqa: BLE001  # top level of the process: every error is reported as a message
        return _report(e)
    return 0


def help_text() -> str:
    """The text of `yolo help`: tasks, modes, examples, commands."""
    modes = [
        f"{mode.name:<9} {mode.summary:<33} requires {' and '.join(f'{key}=' for key in mode.requires)}"
        for mode in MODES.values()
    ]
    return (
        "Usage: yolo [TASK] MODE key=value ...\n\n"
        f"  TASK   {', '.join(TASKS)} (optional)\n"
        f"  MODE   {(chr(10) + ' ' * 9).join(modes)}\n\n"
        f"Examples:\n{EXAMPLES}\n"
        f"Other commands:\n{COMMANDS_HELP}\n"
        f"Set {_DEBUG}=1 in the environment to see the traceback of an error.\n"
    )


def _run(words: list[str]) -> None:
    first = words[0].lstrip("-").lower() if words else "help"
    if any(word in ("-h", "--help") for word in words[1:]):
        _help(words)
    elif first in _COMMANDS:
        _COMMANDS[first](words[1:])
    else:
        _call(parse_words(words, _COMMANDS))


def _report(e: Exception) -> int:
    """Print the error and return its exit code; the traceback is printed unless it is a mistake of the user."""
    if os.environ.get(_DEBUG, "").lower() not in ("", "0", "false"):
        traceback.print_exception(e)
        return 2 if _is_user_error(e) else 1
    text = printable(str(e.args[0]) if isinstance(e, KeyError) and e.args else str(e))
    if _is_user_error(e):
        print(f"yolo: {text}", file=sys.stderr)
        return 2
    if type(e).__name__ == "OutOfMemoryError":  # torch.OutOfMemoryError, by name because torch may not be imported
        print(f"yolo: out of GPU memory; reduce batch= or imgsz=\n{text.splitlines()[0]}", file=sys.stderr)
        return 1
    traceback.print_exception(e)
    return 1


def _is_user_error(e: Exception) -> bool:
    if isinstance(e, (OSError, NotImplementedError)):
        return True
    if isinstance(e, ImportError):  # a missing package is; a missing module of this package is a bug
        return not (e.name or "").startswith("ultralytics")
    frames = traceback.extract_tb(e.__traceback__)
    raised_here = bool(frames) and Path(frames[-1].filename).is_relative_to(ROOT)
    return isinstance(e, (ValueError, KeyError, RuntimeError)) and raised_here


# ------------------------------------------------------------------------------------------ options -> a call of YOLO


def _call(options: dict[str, Any]) -> None:
    if file := options.pop("cfg", None):
        # options on the command line override those of the file, regardless of their order
        options = {key: value for key, value in load_cfg_file(file).items() if value is not None} | options
    mode, task = options.pop("mode", None), options.pop("task", None)
    _check_mode_and_task(mode, task)
    get_cfg(options)
    if isinstance(options.get("resume"), str):
        options.setdefault("model", options["resume"])
    _check_required(mode, options)
    model = options.pop("model")
    # report misspelled names before torch is imported and the model is built
    if model.lower().endswith((".yaml", ".yml")):
        find_model_files(model)
    # a folder is the dataset of a classification network
    if isinstance(data := options.get("data"), str) and not find_data_folder(data).is_dir():
        find_data_yaml(data)
    _execute(mode, model, task, options)


def _execute(mode: str, model: str, task: str | None, options: dict[str, Any]) -> None:
    from ultralytics import YOLO  # imports torch, which takes seconds; mistakes are reported before that

    method = getattr(YOLO(model, task=task), mode)
    if mode == "predict":
        # on the command line results are saved by default; streaming keeps one result in memory at a time
        for _ in method(stream=True, **{"save": True, **options}):
            pass
    else:
        method(**options)


def _check_mode_and_task(mode: str | None, task: str | None) -> None:
    if mode is None:
        raise UsageError(f"no mode given: expected one of {', '.join(MODES)}, as in `yolo train ...`")
    get_mode(mode)
    if task is not None:
        get_task(task)


def _check_required(mode: str, options: dict[str, Any]) -> None:
    resume = options.get("resume")
    for key in get_mode(mode).requires:
        if options.get(key) is None and not (key == "data" and resume):
            raise UsageError(f"{mode} requires {key}=: write {_example(key, mode, bool(resume))}")


def _example(key: str, mode: str, resume: bool) -> str:
    if key == "source":
        return "source=photo.jpg, a folder, or a pattern such as 'photos/*.jpg'"
    if key == "data":
        return "data=coco128.yaml, or the path of your dataset file"
    if resume:
        return "resume=runs/detect/train/weights/last.pt to resume a run"
    return "model=" + ("yolo11n.yaml for a new model" if mode == "train" else "runs/detect/train/weights/best.pt")


# ----------------------------------------------------------------------------------------------------- other commands


def _help(words: list[str]) -> None:
    names = [word.lstrip("-").split("=")[0] for word in words]
    # `val` is a mode and an option: help on the mode is what is usually needed
    topic = next((name for name in names if name in OFFICIAL_MODES), names[0] if names else "")
    if topic in OFFICIAL_MODES:
        print(f"Options that apply to {topic}, as key=default:\n\n{cfg_help(topic)}")
    elif topic and topic not in (*_COMMANDS, *OFFICIAL_TASKS):
        print(f"{option(topic).line()}\napplies to: {option(topic).scope_text()}")
    else:
        print(help_text(), end="")


def _version(_words: list[str]) -> None:
    print(__version__)


def _cfg(_words: list[str]) -> None:
    print(DEFAULT_YAML.read_text(encoding="utf-8"), end="")


def _copy_cfg(_words: list[str]) -> None:
    target = Path.cwd() / "default_copy.yaml"
    if target.exists():
        raise UsageError(f"{target} already exists; delete it, or use it: yolo train cfg={target.name} ...")
    shutil.copyfile(DEFAULT_YAML, target)
    print(f"{target}\nEdit it and use it with: yolo train cfg={target.name} model=yolo11n.yaml data=coco128.yaml")


def _settings(words: list[str]) -> None:
    if [word.lower() for word in words] == ["reset"]:
        settings.reset()
    elif words:
        pairs = [word.partition("=") for word in words]
        if wrong := next((key for key, equals, _ in pairs if not equals), None):
            raise UsageError(f"'{wrong}': expected `yolo settings key=value` or `yolo settings reset`")
        settings.update(
            {key: parse_literal(text) if isinstance(DEFAULTS.get(key), bool) else text for key, _, text in pairs}
        )
    print(settings.file if settings.file.is_file() else f"{settings.file} (does not exist yet)")
    for key, value in settings.items():
        print(f"  {key}={value}")
    for problem in settings.problems:
        print(f"  ignored: {problem}")


def _checks(_words: list[str]) -> None:
    print(system_report())
    try:
        from ultralytics.nn.ops import backends  # imports torch
    except ImportError:
        return  # the report says what is missing
    print(backends.report())


def _modules(_words: list[str]) -> None:
    from ultralytics.nn.registry import Entry, registered  # imports torch

    by_class: dict[type, list[Entry]] = {}
    for entry in registered().values():
        by_class.setdefault(entry.cls, []).append(entry)
    print("Added modules for model files, used in rows [from, repeats, module, args] like the standard modules.")
    for cls, entries in by_class.items():
        print(f"\n{', also '.join(entry.name for entry in entries)}")
        print(f"  class      {cls.__name__}{_without_annotations(inspect.signature(cls))}")
        print(f"  arguments  {', '.join(entries[0].signature)}")
        for label, text in (("row", entries[0].usage), ("paper", entries[0].paper)):
            if text:
                print(f"  {label:<10} {text}")
    print("\nc1: input channels, c2: first argument of the row (scaled), n: repeats (scaled), *args: the others.")
    print("\nModel files for every task, such as yolo11n-seg-AKConv.yaml for <model> = yolo11n-seg:")
    for file in model_rules().values():
        print("  " + file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "))


def _without_annotations(signature: inspect.Signature) -> str:
    """Names and defaults of the parameters."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


_COMMANDS: dict[str, Callable[[list[str]], None]] = {
    **dict.fromkeys(("help", "h"), _help),
    **dict.fromkeys(("version", "v"), _version),
    **dict.fromkeys(("settings", "setting"), _settings),
    **dict.fromkeys(("checks", "check"), _checks),
    **dict.fromkeys(("modules", "module"), _modules),
    "cfg": _cfg,
    "copy-cfg": _copy_cfg,
}
