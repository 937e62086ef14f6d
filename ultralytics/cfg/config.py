"""The options of a run: defaults, YAML files and explicit values merged and checked; help texts; image size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ultralytics.cfg.options import RENAMED, OptionError, all_options, check_option, unknown_option
from ultralytics.cfg.value_types import parse_literal
from ultralytics.tasks import TASKS
from ultralytics.utils import LOGGER, IterableSimpleNamespace
from ultralytics.utils.files import find_file, yaml_load


def default_cfg() -> IterableSimpleNamespace:
    """All options with their defaults; a new object at every call."""
    return IterableSimpleNamespace(**_defaults())


def get_cfg(
    cfg: str | Path | Mapping[str, object] | IterableSimpleNamespace | None = None,
    overrides: Mapping[str, object] | IterableSimpleNamespace | None = None,
) -> IterableSimpleNamespace:
    """All options: the defaults, overridden by `cfg`, by the YAML file that `overrides` names as cfg, by `overrides`.

    With one argument that is not a file, its options are explicit ones, as if given as `overrides`.

    Args:
        cfg: a YAML file of options, or options of an earlier run or of a checkpoint: a `save_dir` is kept, other
            unknown keys are dropped with a warning.
        overrides: options as the user gave them; an unknown key is an error. A `save_dir` is dropped: project and name
            determine it.

    Raises:
        OptionError: an unknown key (the text names the nearest known one), or a value of a wrong type or range.
    """
    merged = _defaults()
    if isinstance(cfg, (str, Path)):
        merged.update(load_cfg_file(cfg))
    elif overrides is None:
        overrides = cfg
    else:
        merged.update(_from_earlier_run(dict(cfg or {})))
    explicit = dict(overrides or {})
    if explicit.get("cfg"):
        merged.update(load_cfg_file(str(explicit["cfg"])))
    for key, value in _current_names(explicit).items():
        if key != "save_dir":
            merged[key] = check_option(key, value)
    return IterableSimpleNamespace(**merged)


def load_cfg_file(path: str | Path) -> dict[str, Any]:
    """The checked options of a YAML file such as a copy of default.yaml or the args.yaml of a run.

    `cfg` and `save_dir` are dropped.

    Raises:
        OptionError: as `get_cfg`, prefixed by the name of the file.
    """
    texts = [key for key, one in all_options().items() if one.is_text]
    content = yaml_load(find_file(path, [], "file of options (cfg=)"), texts)
    try:
        named = _current_names(content)
        return {key: check_option(key, value) for key, value in named.items() if key not in ("cfg", "save_dir")}
    except OptionError as e:
        raise OptionError(f"{path}: {e}") from e


def warn_unused(keys: Iterable[str], mode: str, task: str | None = None) -> list[str]:
    """Warn about each of the explicitly given options that has no effect in this mode, or on this task.

    Returns:
        Their names.
    """
    options = all_options()
    known = [key for key in keys if key in options]
    of_other_modes = [key for key in known if not options[key].works_in(mode, task)]
    for key in of_other_modes:
        LOGGER.warning("option '%s' has no effect in %s; it applies to: %s", key, mode, options[key].scope_text())
    ignored = TASKS[task].unused_options if task in TASKS else ()
    of_other_tasks = [key for key in known if key in ignored and key not in of_other_modes]
    for key in of_other_tasks:
        LOGGER.warning("option '%s' has no effect on the task %s", key, task)
    return of_other_modes + of_other_tasks


def cfg_help(mode: str | None = None) -> str:
    """The options as text, one per line, in the groups of default.yaml; with `mode` only those that apply to it."""
    lines: list[str] = []
    group = ""
    for one in all_options().values():
        if mode and not one.works_in(mode):
            continue
        if one.group != group:
            group = one.group
            lines += ["", group]
        lines.append(f"  {one.line()}")
    return "\n".join(lines).strip()


def check_imgsz(
    imgsz: int | str | Sequence[int], stride: int = 32, min_dim: int = 1, max_dim: int = 2, floor: int = 0
) -> int | list[int]:
    """Image size rounded up to a multiple of `stride`, and to at least `floor`.

    Args:
        imgsz: pixels; one number, or [height, width]; also as text ("640", "[320, 640]").
        stride: every side becomes a multiple of it.
        min_dim: with 2, one number gives [s, s].
        max_dim: with 1, the largest of several numbers is used (with a warning).
        floor: minimum size in pixels.

    Returns:
        One number for min_dim 1 and one number given, else [height, width].

    Raises:
        OptionError: not an integer number of pixels, or more than two numbers.
    """
    checked = check_option("imgsz", parse_literal(imgsz) if isinstance(imgsz, str) else imgsz)
    sides: list[int] = [checked] if isinstance(checked, int) else checked
    if not 1 <= len(sides) <= 2:
        raise OptionError(f"imgsz={imgsz} has {len(sides)} numbers; expected one number or [height, width]")
    if max_dim == 1 and len(sides) > 1:
        LOGGER.warning("imgsz=%s: training and validation use a single number; using %d", imgsz, max(sides))
        sides = [max(sides)]
    rounded = [max(math.ceil(side / stride) * stride, floor) for side in sides]
    if rounded != sides:
        LOGGER.warning("imgsz=%s is not a multiple of %d; using %s", imgsz, stride, _scalar_if_single(rounded))
    return rounded * 2 if min_dim == 2 and len(rounded) == 1 else _scalar_if_single(rounded)


def _defaults() -> dict[str, Any]:
    return {key: one.default for key, one in all_options().items()}


def _from_earlier_run(base: Mapping[str, object]) -> dict[str, Any]:
    known = _current_names(base, ignore_unknown=True)
    kept = {key: value if key == "save_dir" else check_option(key, value) for key, value in known.items()}
    if unknown := [key for key in base if key not in kept and key not in RENAMED]:
        LOGGER.warning("ignoring options of another version: %s", ", ".join(map(str, unknown)))
    return kept


def _current_names(options: Mapping[str, object], ignore_unknown: bool = False) -> dict[str, Any]:
    """`options` with names of earlier versions replaced; unknown names raise, or are dropped with `ignore_unknown`."""
    named: dict[str, Any] = {}
    for key, value in options.items():
        if key in RENAMED:
            new, inverted = RENAMED[key]
            LOGGER.warning("option '%s' is now called '%s'%s", key, new, " and has the opposite meaning" * inverted)
            named[new] = not check_option("show", value) if inverted else value
        elif key in all_options() or key == "save_dir":
            named[key] = value
        elif not ignore_unknown:
            raise OptionError(unknown_option(key))
    return named


def _scalar_if_single(sides: list[int]) -> int | list[int]:
    return sides[0] if len(sides) == 1 else sides
