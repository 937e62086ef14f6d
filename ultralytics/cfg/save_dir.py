"""The name of the folder where a run is saved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ultralytics.utils import dist
from ultralytics.utils.files import increment_path
from ultralytics.utils.settings import settings


def get_save_dir(args: SimpleNamespace) -> Path:
    """The folder of a run, numbered so that it does not exist yet unless `exist_ok`; not created.

    Args:
        args: options of the run. `save_dir` if it is set, else project/name, where project defaults to
            <runs_dir>/<task> and name to the mode. `name=model` means the name of the model file up to its first dot.
    """
    if save_dir := getattr(args, "save_dir", None):
        return Path(save_dir)
    project = Path(args.project) if args.project else Path(settings["runs_dir"]) / args.task
    name = args.name or args.mode
    if name == "model" and args.model:
        name = Path(str(args.model)).name.split(".")[0]
    # rank 0 has created the folder by now; the other processes of a distributed run use the same one
    return increment_path(project / name, exist_ok=args.exist_ok or not dist.is_main_process())
