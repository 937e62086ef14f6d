"""The user settings: a dict-like view of settings.json in the user's settings folder.

The file is read at the first access and written at the first change. Its name and keys are those of ultralytics 8.3.0,
so that both packages can share one file: unknown entries are preserved.
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
from ultralytics.utils.printable import is_unicode
from ultralytics.utils.suggest import did_you_mean

FILE_NAME = "settings.json"
_INTEGRATIONS = ("clearml", "comet", "dvc", "hub", "mlflow", "neptune", "raytune", "tensorboard", "wandb", "vscode_msg")
DEFAULTS: dict[str, Any] = {
    "settings_version": "0.0.6",
    "datasets_dir": "datasets",  # relative folders are relative to the current folder at the time of use
    "weights_dir": "weights",
    "runs_dir": "runs",
    "uuid": "",  # from here on: unused, for compatibility of the shared file; this package sends no data
    "sync": False,
    "api_key": "",
    "openai_api_key": "",
    **dict.fromkeys(_INTEGRATIONS, True),
}


class SettingsError(KeyError):
    """A setting does not exist, or a value has the wrong type."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would add quotes


def settings_dir() -> Path:
    """Folder of settings.json; not created.

    YOLO_CONFIG_DIR, else the usual folder of the operating system, else, if it is not writable, a temporary folder.
    """
    requested = Path(os.environ.get("YOLO_CONFIG_DIR") or _system_folder())
    with contextlib.suppress(RuntimeError):  # no HOME and no entry in the user database: usual in containers
        return _first_writable(requested, requested.expanduser())
    return _first_writable(requested)


class Settings(MutableMapping[str, Any]):
    """Dict-like settings; changes are checked, then written atomically."""

    def __init__(self, file: str | Path | None = None) -> None:
        """Settings of `file`, which is read at the first access.

        Args:
            file: None for `settings_dir() / "settings.json"`.
        """
        self._file = Path(file) if file else None
        self._values: dict[str, Any] | None = None
        self._foreign: dict[str, Any] = {}  # invalid or unknown entries of the file; written back unchanged
        self._unreadable = False
        self.problems: list[str] = []  # entries ignored when the file was read

    @property
    def file(self) -> Path:
        """The settings file; it may not exist yet."""
        return self._file or settings_dir() / FILE_NAME

    def __getitem__(self, key: str) -> Any:
        if key not in DEFAULTS:
            raise SettingsError(_unknown(key))
        return self._loaded()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        """Reset `key` to its default."""
        if key not in DEFAULTS:
            raise SettingsError(_unknown(key))
        self.update({key: DEFAULTS[key]})

    def __iter__(self) -> Iterator[str]:
        return iter(DEFAULTS)

    def __len__(self) -> int:
        return len(DEFAULTS)

    def __repr__(self) -> str:
        return f"Settings({str(self.file)!r}, {self._loaded()})"

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As dict.update, but nothing is changed unless every key exists and every value has the right type.

        Raises:
            SettingsError: unknown key or wrong type; names the key and the expected type.
        """
        changes = dict(*args, **kwargs)
        for key, value in changes.items():
            if key not in DEFAULTS:
                raise SettingsError(_unknown(key))
            changes[key] = value = str(value) if isinstance(value, Path) else value
            if type(value) is not type(DEFAULTS[key]):
                raise SettingsError(_mistyped(key, value))
        self.reload()  # another process may have changed the file
        values = {**self._loaded(), **changes}
        self._foreign = {key: value for key, value in self._foreign.items() if key not in changes}
        self._write(values)

    def clear(self) -> None:
        """Reset all settings to their defaults."""
        self.reset()

    def reset(self) -> None:
        """Reset all settings to their defaults, and write them."""
        self.update(DEFAULTS)

    def reload(self) -> None:
        """Read the file again at the next access."""
        self._values = None

    def _loaded(self) -> dict[str, Any]:
        if self._values is None:
            self._values = dict(DEFAULTS)
            self._foreign, self.problems, self._unreadable = {}, [], False
            for key, value in self._read().items():
                if key not in DEFAULTS:
                    self._foreign[key] = value  # perhaps of a newer version that shares the file: no warning
                    self.problems.append(f"'{key}' is not a setting of this version")
                elif type(value) is not type(DEFAULTS[key]):
                    self._foreign[key] = value
                    self._report(f"{_mistyped(key, value)}; using {DEFAULTS[key]!r}")
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
            problem = "it is not a JSON object"
        except (OSError, ValueError) as e:
            problem = str(e)
        self._unreadable = True
        self._report(f"cannot be read ({problem}); using the defaults")
        return {}

    def _write(self, values: Mapping[str, str | bool]) -> None:
        if self._unreadable:
            self.file.replace(self.file.with_name(f"{self.file.name}.broken"))  # keep the unreadable content
            self._unreadable = False
        content = {**values, **self._foreign}
        text = json.dumps(content, indent=2, ensure_ascii=False)
        with atomic_write(self.file, "w") as f:
            # a folder whose name is not Unicode is written in escapes, from which it is read back
            f.write(text if is_unicode(text) else json.dumps(content, indent=2))
        self._values = dict(values)

    def _report(self, problem: str) -> None:
        self.problems.append(problem)
        LOGGER.warning("settings file %s: %s", self.file, problem)


def _system_folder() -> str:
    folders = {"win32": "AppData/Roaming", "darwin": "Library/Application Support"}
    return f"~/{folders.get(sys.platform, '.config')}/Ultralytics"


@cache  # so that the fallback is reported once
def _first_writable(requested: Path, *preferred: Path) -> Path:
    """The first writable folder of `preferred` and the fallbacks; `requested` is the one that a warning names."""
    for folder in (*preferred, Path(tempfile.gettempdir()) / "Ultralytics", Path.cwd() / "Ultralytics"):
        if _writable(folder):
            if folder not in preferred:
                LOGGER.warning("the settings folder %s is not writable; using %s", requested, folder)
                LOGGER.warning("set YOLO_CONFIG_DIR to choose another folder")
            return folder
    return requested  # reading still works, and writing raises the actual error


def _writable(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


def _unknown(key: str) -> str:
    return f"'{key}' is not a setting{did_you_mean(key, DEFAULTS) or '; available: ' + ', '.join(DEFAULTS)}"


def _mistyped(key: str, value: object) -> str:
    expected = "true or false" if isinstance(DEFAULTS[key], bool) else "a string"
    return f"'{key}' is {value!r}, expected {expected}"


settings = Settings()
