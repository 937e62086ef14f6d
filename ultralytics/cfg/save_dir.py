"""The folder where a run is saved: its name, and making it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ultralytics.utils import dist
from ultralytics.utils.files import increment_path, make_numbered_dir
from ultralytics.utils.settings import settings


def get_save_dir(args: SimpleNamespace) -> Path:
    """The folder of a run, numbered so that it does not exist yet unless `exist_ok`; not created.

    Args:
        args: options of the run. `save_dir` if it is set, else project/name, where project defaults to
            <runs_dir>/<task> and name to the mode. `name=model` means the name of the model file up to its first dot.
    """
    return increment_path(_unnumbered(args), exist_ok=_keeps_name(args))


def make_save_dir(args: SimpleNamespace) -> Path:
    """As `get_save_dir`, and made: of processes that start together, each gets a folder of its own."""
    return make_numbered_dir(_unnumbered(args), exist_ok=_keeps_name(args))


def _unnumbered(args: SimpleNamespace) -> Path:
    if save_dir := getattr(args, "save_dir", None):
        return Path(save_dir).expanduser()
    project = Path(args.project) if args.project else Path(settings["runs_dir"]) / args.task
    project = project.expanduser()
    name = args.name or args.mode
    if name == "model" and args.model:
        name = Path(str(args.model)).name.split(".")[0]
    return project / name


def _keeps_name(args: SimpleNamespace) -> bool:
    # rank 0 has created the folder by now; the other processes of a distributed run use the same one
    return bool(getattr(args, "save_dir", None) or args.exist_ok or not dist.is_main_process())
