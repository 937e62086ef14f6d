"""The `yolo` command: words in, one call of YOLO out.

`yolo [TASK] MODE key=value ...`, the words in any order. A mistake costs one line on stderr and exit code 2, and
is found before torch is imported; YOLO_DEBUG=1 shows where it came from.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ultralytics.utils import ROOT
from ultralytics.version import __version__

HELP = """\
Usage: yolo [TASK] MODE key=value ...

  TASK   detect (the only one in this version; may be left out)
  MODE   train     fit a network to labelled images      needs model= and data=
         val       measure a trained network             needs model=
         predict   find objects in images                needs model= and source=

Examples:
  yolo detect train model=yolo11n.yaml data=coco128.yaml epochs=3 imgsz=320
  yolo val model=runs/detect/train/weights/best.pt
  yolo predict model=runs/detect/train/weights/best.pt source=photos/ conf=0.4

Other commands:
  yolo help [KEY | MODE]    this text; what one option means; what there is to set in a mode
  yolo cfg, yolo copy-cfg   show all options with their defaults; copy them into default_copy.yaml
  yolo modules              the added modules and how a model file uses them
  yolo settings             show lasting settings;  yolo settings reset | datasets_dir=/data
  yolo checks               which copy of the package, Python, torch and GPU are in use
  yolo version

With YOLO_DEBUG=1 in the environment an error shows where it comes from.
"""
PRESENT_TASKS = ("detect",)
PRESENT_MODES = ("train", "val", "predict")
_DEBUG = "YOLO_DEBUG"


class UsageError(ValueError):
    """The words on the command line do not make a command."""


def entrypoint(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by itself the process's); the exit code is 0, 2 for a mistake, 130 for Ctrl-C."""
    words = _joined([str(word) for word in (sys.argv[1:] if argv is None else argv)])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a Chinese path must not end a run whose output is ASCII
    try:
        _run(words)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of `yolo cfg | head` has gone
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # else Python complains at exit
        return 0
    except Exception as e:  # noqa: BLE001  # the edge of the process: everything ends as a message
        return _report(e)
    return 0


def _run(words: list[str]) -> None:
    first = words[0].lstrip("-").lower() if words else "help"
    if any(word in ("-h", "--help") for word in words[1:]):
        _help(words)
    elif first in _COMMANDS:
        _COMMANDS[first](words[1:])
    else:
        _call(_pairs(words))


def _report(e: Exception) -> int:
    """Print the error and give its exit code; an error that is not the user's shows where it happened."""
    if os.environ.get(_DEBUG, "").lower() not in ("", "0", "false"):
        traceback.print_exception(e)
        return 2 if _is_users(e) else 1
    text = str(e.args[0]) if isinstance(e, KeyError) and e.args else str(e)
    if _is_users(e):
        print(f"yolo: {text}", file=sys.stderr)
        return 2
    if type(e).__name__ == "OutOfMemoryError":  # torch's, named so because torch may not be imported
        print(
            f"yolo: the GPU's memory is full: take a smaller batch= or imgsz=\n{text.splitlines()[0]}", file=sys.stderr
        )
        return 1
    traceback.print_exception(e)
    return 1


def _is_users(e: Exception) -> bool:
    if isinstance(e, (OSError, NotImplementedError)):
        return True
    if isinstance(e, ImportError):  # a package is missing; one of our own files would be a fault of ours
        return not (e.name or "").startswith("ultralytics")
    frames = traceback.extract_tb(e.__traceback__)
    raised_here = bool(frames) and Path(frames[-1].filename).is_relative_to(ROOT)
    return isinstance(e, (ValueError, KeyError, RuntimeError)) and raised_here


# ------------------------------------------------------------------------------- words -> options -> a call of YOLO


def _pairs(words: list[str]) -> dict[str, str]:
    """Key and text of each word: `epochs=3`, a task, a mode, or the name of a flag."""
    from ultralytics.cfg import MODES, TASKS, all_options

    pairs: dict[str, str] = {}
    for word in words:
        bare = word.removeprefix("--").rstrip(",")
        key, equals, text = (part.strip() for part in bare.partition("="))
        if equals:
            if not key or not text:
                raise UsageError(f"'{word}' is half a pair; write key=value without blanks, such as epochs=3")
            pairs[key] = text
        elif bare in TASKS or bare in MODES:
            kind = "task" if bare in TASKS else "mode"
            if pairs.setdefault(kind, bare) != bare:
                raise UsageError(f"two {kind}s, '{pairs[kind]}' and '{bare}'; one command does one thing")
        elif bare in all_options() and all_options()[bare].is_flag:
            pairs[bare] = "True"
        else:
            _unknown_word(bare)
    return pairs


def _joined(words: list[str]) -> list[str]:
    """`epochs = 3`, `epochs= 3` and `epochs =3` become `epochs=3`."""
    joined: list[str] = []
    for word in words:
        if joined and word and (word[0] == "=" or re.fullmatch(r"(--)?\w+=", joined[-1])):
            joined[-1] += word
        elif word:
            joined.append(word)
    return joined


def _unknown_word(word: str) -> NoReturn:
    from ultralytics.cfg import MODES, TASKS, all_options
    from ultralytics.cfg.options import word_of
    from ultralytics.utils.suggest import did_you_mean

    if word in all_options():
        default = word_of(all_options()[word].default)
        raise UsageError(f"'{word}' needs a value: {word}={default if default != 'none' else '...'}")
    suffix = Path(word).suffix.lower()
    if suffix in (".yaml", ".yml", ".pt", ".safetensors") or Path(word).exists():
        key = "model" if suffix in (".pt", ".safetensors") else "data or model" if suffix else "source"
        raise UsageError(f"'{word}' needs a word that says what it is for: {key.split()[0]}={word}")
    hint = did_you_mean(word, [*MODES, *TASKS, *_COMMANDS, *all_options()]) or "; `yolo help` shows what there is"
    raise UsageError(f"'{word}' is not a task, mode, command or option{hint}")


def _call(pairs: dict[str, str]) -> None:
    from ultralytics.cfg import find_data_yaml, find_model_yaml, get_cfg, load_cfg_file, parse_option

    given = {key: parse_option(key, text) for key, text in pairs.items()}
    if file := given.pop("cfg", None):
        # the file is the ground and the words count more, wherever `cfg=` stands among them
        given = {key: value for key, value in load_cfg_file(file).items() if value is not None} | given
    mode, task = given.pop("mode", None), given.pop("task", None)
    _check_mode_and_task(mode, task)
    get_cfg(given)
    if isinstance(given.get("resume"), str):
        given.setdefault("model", given["resume"])
    _check_needs(mode, given)
    model = given.pop("model")
    # slips in names are told at once, not after torch and the network are loaded
    if model.lower().endswith((".yaml", ".yml")):
        find_model_yaml(model)
    if isinstance(data := given.get("data"), str):
        find_data_yaml(data)
    _carry_out(mode, model, task, given)


def _carry_out(mode: str, model: str, task: str | None, given: dict[str, Any]) -> None:
    from ultralytics import YOLO  # seconds of torch, therefore last

    method = getattr(YOLO(model, task=task), mode)
    if mode == "predict":
        # people who type want files; streaming keeps one result in memory at a time
        for _ in method(stream=True, **{"save": True, **given}):
            pass
    else:
        method(**given)


def _check_mode_and_task(mode: str | None, task: str | None) -> None:
    if mode is None:
        raise UsageError(f"no mode given: say what to do, one of {', '.join(PRESENT_MODES)}, as in `yolo train ...`")
    if mode not in PRESENT_MODES:
        raise NotImplementedError(f"mode '{mode}' is not part of this version; there are {', '.join(PRESENT_MODES)}")
    if task is not None and task not in PRESENT_TASKS:
        raise NotImplementedError(f"task '{task}' is not part of this version; there is {', '.join(PRESENT_TASKS)}")


def _check_needs(mode: str, given: dict[str, Any]) -> None:
    if not given.get("model"):
        example = "yolo11n.yaml (a new network)" if mode == "train" else "runs/detect/train/weights/best.pt"
        resume = " (to resume a run: resume=runs/detect/train/weights/last.pt)" if given.get("resume") else ""
        raise UsageError(f"{mode} needs a model: write model={example}{resume}")
    if mode == "predict" and given.get("source") is None:
        raise UsageError(
            "predict needs a source: write source=photo.jpg, a folder, or a pattern such as 'photos/*.jpg'"
        )
    if mode == "train" and not given.get("data") and not given.get("resume"):
        raise UsageError("train needs a dataset file: write data=coco128.yaml, or the path of your own")


# ----------------------------------------------------------------------------------------------------- other commands


def _help(words: list[str]) -> None:
    from ultralytics.cfg import MODES, TASKS, cfg_help, option

    bare = [word.lstrip("-").split("=")[0] for word in words]
    # `val` is a mode and an option: the mode is the likelier question
    asked = next((word for word in bare if word in MODES), bare[0] if bare else "")
    if asked in MODES:
        print(f"Options that work in {asked}, as key=default:\n\n{cfg_help(asked)}")
    elif asked and asked not in (*_COMMANDS, *TASKS):
        one = option(asked)
        places = ", ".join("/".join(filter(None, place)) for place in one.where)
        print(f"{one.line()}\nworks in: {places}")
    else:
        print(HELP, end="")


def _version(_words: list[str]) -> None:
    print(__version__)


def _cfg(_words: list[str]) -> None:
    from ultralytics.cfg import DEFAULT_YAML

    print(DEFAULT_YAML.read_text(encoding="utf-8"), end="")


def _copy_cfg(_words: list[str]) -> None:
    from ultralytics.cfg import DEFAULT_YAML

    target = Path.cwd() / "default_copy.yaml"
    if target.exists():
        raise UsageError(f"{target} exists already; delete it, or use it: yolo train cfg={target.name} ...")
    shutil.copyfile(DEFAULT_YAML, target)
    print(f"{target}\nChange it and use it with: yolo train cfg={target.name} model=yolo11n.yaml data=coco128.yaml")


def _settings(words: list[str]) -> None:
    from ultralytics.cfg.options import literal
    from ultralytics.utils.settings import DEFAULTS, settings

    if [word.lower() for word in words] == ["reset"]:
        settings.reset()
    elif words:
        pairs = [word.partition("=") for word in words]
        if wrong := next((key for key, equals, _ in pairs if not equals), None):
            raise UsageError(f"'{wrong}': write `yolo settings key=value`, or `yolo settings reset`")
        settings.update({key: literal(text) if isinstance(DEFAULTS.get(key), bool) else text for key, _, text in pairs})
    print(settings.file if settings.file.is_file() else f"{settings.file} (not written yet)")
    for key, value in settings.items():
        print(f"  {key}={value}")
    for problem in settings.problems:
        print(f"  ignored: {problem}")


def _checks(_words: list[str]) -> None:
    from ultralytics.utils.checks import system_report

    print(system_report())


def _modules(_words: list[str]) -> None:
    import inspect

    from ultralytics.nn.registry import Entry, registered

    by_class: dict[type, list[Entry]] = {}
    for entry in registered().values():
        by_class.setdefault(entry.cls, []).append(entry)
    print("Modules that a model file may name beside the standard ones, as rows [from, repeats, module, args].")
    for cls, entries in by_class.items():
        names = ", also ".join(entry.name for entry in entries)
        takes = ", ".join(entries[0].signature)
        print(f"\n{names}\n  class      {cls.__name__}{_plain_signature(inspect.signature(cls))}")
        print(f"  gets       {takes}")
        for label, text in (("row", entries[0].usage), ("paper", entries[0].paper)):
            if text:
                print(f"  {label:<10} {text}")
    print("\nc1: channels in, c2: the row's first argument, scaled, n: repeats, scaled, *args: its other arguments.")


def _plain_signature(signature: Any) -> str:
    """Names and defaults without the annotations, which are for readers of the source."""
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
