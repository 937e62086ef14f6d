"""The user's lasting preferences: a dict-like view of settings.json in the user's settings folder.

Nothing is read before the first question, nothing is written before the first change. The file's name and keys are
those of ultralytics 8.3.0, so that both can share one file: what this version does not know is kept as it stands.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from pathlib import Path
from typing import Any

from ultralytics.utils import LOGGER
from ultralytics.utils.files import atomic_write
from ultralytics.utils.suggest import did_you_mean

FILE_NAME = "settings.json"
_INTEGRATIONS = ("clearml", "comet", "dvc", "hub", "mlflow", "neptune", "raytune", "tensorboard", "wandb", "vscode_msg")
DEFAULTS: dict[str, Any] = {
    "settings_version": "0.0.6",
    "datasets_dir": "datasets",  # relative folders count from the current folder at the time of use
    "weights_dir": "weights",
    "runs_dir": "runs",
    "uuid": "",  # from here to the end: kept for the sake of a shared file, this version sends nothing anywhere
    "sync": False,
    "api_key": "",
    "openai_api_key": "",
    **dict.fromkeys(_INTEGRATIONS, True),
}


class SettingsError(KeyError):
    """A setting that does not exist, or a value of another type than the setting's."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the text in quotes


def settings_dir() -> Path:
    """Folder of settings.json: YOLO_CONFIG_DIR, else the system's place for it, else a temporary one; not created."""
    return _settings_dir(os.environ.get("YOLO_CONFIG_DIR", ""))


class Settings(MutableMapping[str, Any]):
    """Dict-like settings; every change is checked first and then written at once, all of it or nothing."""

    def __init__(self, file: str | Path | None = None) -> None:
        """Args: file: another place than `settings_dir() / "settings.json"`; it is opened at the first question."""
        self._file = Path(file) if file else None
        self._values: dict[str, Any] | None = None
        self._foreign: dict[str, Any] = {}  # what the file holds but we cannot use; written back as read
        self._unreadable = False
        self.problems: list[str] = []  # what was ignored when the file was read

    @property
    def file(self) -> Path:
        """Where the settings are, or will be."""
        return self._file or settings_dir() / FILE_NAME

    def __getitem__(self, key: str) -> Any:
        if key not in DEFAULTS:
            raise SettingsError(_unknown(key))
        return self._loaded()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        """Set `key` back to its default."""
        if key not in DEFAULTS:
            raise SettingsError(_unknown(key))
        self.update({key: DEFAULTS[key]})

    def __iter__(self) -> Iterator[str]:
        return iter(DEFAULTS)

    def __len__(self) -> int:
        return len(DEFAULTS)

    def __repr__(self) -> str:
        return f"Settings({str(self.file)!r}, {self._loaded()})"

    def update(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """As dict.update, but typed: nothing is changed unless every key exists and every value has its type.

        Raises:
            SettingsError: unknown key or wrong type; names the key and what it takes.
        """
        changes = dict(*args, **kwargs)
        for key, value in changes.items():
            if key not in DEFAULTS:
                raise SettingsError(_unknown(key))
            changes[key] = value = str(value) if isinstance(value, Path) else value
            if type(value) is not type(DEFAULTS[key]):
                raise SettingsError(_mistyped(key, value))
        self.reload()  # another process may have changed something meanwhile
        values = {**self._loaded(), **changes}
        self._foreign = {key: value for key, value in self._foreign.items() if key not in changes}
        self._write(values)

    def clear(self) -> None:
        """Set everything back to the defaults."""
        self.reset()

    def reset(self) -> None:
        """Set everything back to the defaults, in the file too."""
        self.update(DEFAULTS)

    def reload(self) -> None:
        """Forget what was read; the file is read again at the next question."""
        self._values = None

    def _loaded(self) -> dict[str, Any]:
        if self._values is None:
            self._values = dict(DEFAULTS)
            self._foreign, self.problems, self._unreadable = {}, [], False
            for key, value in self._read().items():
                if key not in DEFAULTS:
                    self._foreign[key] = value  # perhaps of a newer version that shares the file: no reason to warn
                    self.problems.append(f"'{key}' is not a setting of this version")
                elif type(value) is not type(DEFAULTS[key]):
                    self._foreign[key] = value
                    self._complain(f"{_mistyped(key, value)}; using {DEFAULTS[key]!r}")
                else:
                    self._values[key] = value
        return self._values

    def _read(self) -> Mapping[str, Any]:
        if not self.file.is_file():
            return {}
        try:
            data = json.loads(self.file.read_text(encoding="utf-8-sig"))
            if isinstance(data, dict):
                return data
            problem = "it does not hold a JSON object"
        except (OSError, ValueError) as e:
            problem = str(e)
        self._unreadable = True
        self._complain(f"cannot be read ({problem}); using the defaults")
        return {}

    def _write(self, values: dict[str, Any]) -> None:
        if self._unreadable:
            self.file.replace(self.file.with_name(f"{self.file.name}.broken"))  # what was in it may be worth a look
            self._unreadable = False
        with atomic_write(self.file, "w") as f:
            json.dump({**values, **self._foreign}, f, indent=2, ensure_ascii=False)
        self._values = values

    def _complain(self, problem: str) -> None:
        self.problems.append(problem)
        LOGGER.warning("settings file %s: %s", self.file, problem)


@cache  # so that the fallback is reported once
def _settings_dir(asked: str) -> Path:
    homes = {"win32": "AppData/Roaming", "darwin": "Library/Application Support"}
    wanted = Path(asked or f"~/{homes.get(sys.platform, '.config')}/Ultralytics")
    folders = [Path(tempfile.gettempdir()) / "Ultralytics", Path.cwd() / "Ultralytics"]
    with contextlib.suppress(RuntimeError):  # no HOME, and a user that the system does not know: usual in containers
        wanted = wanted.expanduser()
        folders.insert(0, wanted)
    for folder in folders:
        if _writable(folder):
            if folder != wanted:
                LOGGER.warning(
                    "the settings folder %s cannot be written; using %s (YOLO_CONFIG_DIR sets it)", wanted, folder
                )
            return folder
    return wanted  # reading still works, and writing will say what is wrong


def _writable(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


def _unknown(key: str) -> str:
    return f"'{key}' is not a setting{did_you_mean(key, DEFAULTS) or '; there are ' + ', '.join(DEFAULTS)}"


def _mistyped(key: str, value: Any) -> str:
    wanted = "true or false" if isinstance(DEFAULTS[key], bool) else "text"
    return f"'{key}' is {value!r}, but must be {wanted}"


settings = Settings()
