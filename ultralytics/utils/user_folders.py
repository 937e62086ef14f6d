"""Folders of the user settings as absolute paths, read at every call."""

from __future__ import annotations

from pathlib import Path

from ultralytics.utils.settings import settings, settings_dir


def datasets_dir() -> Path:
    """Where the data of dataset files without a folder of their own is searched."""
    return _folder("datasets_dir")


def runs_dir() -> Path:
    """Where runs write their results."""
    return _folder("runs_dir")


def weights_dir() -> Path:
    """Where checkpoints without a folder are searched."""
    return _folder("weights_dir")


def settings_file() -> Path:
    """The settings file; it may not exist yet."""
    return settings.file


def get_user_config_dir(sub_dir: str = "Ultralytics") -> Path:
    """The user's settings folder, or its sibling `sub_dir`; made if it does not exist."""
    folder = settings_dir()
    if sub_dir != "Ultralytics":
        folder = folder.parent / sub_dir
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _folder(key: str) -> Path:
    return Path(settings[key]).expanduser().absolute()
