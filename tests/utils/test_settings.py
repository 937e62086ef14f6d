"""User settings: reading and writing, invalid entries and files, sharing the file, choice of the folder."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from ultralytics.utils.settings import DEFAULTS, Settings, SettingsError, settings_dir


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "settings.json"


def written(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def test_keys_of_the_shared_file():
    # 8.3.0 resets a file that has other keys or types
    first = "settings_version datasets_dir weights_dir runs_dir uuid sync api_key openai_api_key"
    integrations = "clearml comet dvc hub mlflow neptune raytune tensorboard wandb vscode_msg"
    assert " ".join(DEFAULTS) == f"{first} {integrations}"
    assert DEFAULTS["settings_version"] == "0.0.6"
    assert {type(value) for value in DEFAULTS.values()} == {str, bool}


def test_reading_writes_nothing(file):
    settings = Settings(file)
    assert settings["runs_dir"] == "runs"
    assert dict(settings) == DEFAULTS
    assert not file.parent.exists()


def test_changes_are_written_immediately(file):
    settings = Settings(file)
    settings["runs_dir"] = "/data/runs"
    assert written(file) == {**DEFAULTS, "runs_dir": "/data/runs"}
    assert Settings(file)["runs_dir"] == "/data/runs"
    settings.update(datasets_dir=Path("d"), wandb=False)
    assert (Settings(file)["datasets_dir"], Settings(file)["wandb"]) == ("d", False)
    del settings["runs_dir"]
    assert Settings(file)["runs_dir"] == "runs"
    settings.reset()
    assert written(file) == DEFAULTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run_dir": "x"}, "did you mean 'runs_dir'"),
        ({"xyzzy": "x"}, "available: settings_version"),
        ({"sync": 1}, "'sync' is 1, expected true or false"),
        ({"runs_dir": True}, "expected a string"),
        ({"runs_dir": "ok", "wandb": "yes"}, "'wandb'"),
    ],
)
def test_invalid_changes_are_rejected(change, message, file):
    settings = Settings(file)
    for call in (lambda: settings.update(change), lambda: settings.update(**change)):
        with pytest.raises(SettingsError) as e:
            call()
        assert message in str(e.value)
    assert dict(settings) == DEFAULTS
    assert not file.exists()
    with pytest.raises(KeyError):
        settings["xyzzy"]
    with pytest.raises(KeyError):
        del settings["xyzzy"]


def test_invalid_entries_are_ignored_and_preserved(file):
    file.parent.mkdir()
    file.write_text(json.dumps({"runs_dir": "own", "sync": 1, "openvino_msg": True}), encoding="utf-8")
    settings = Settings(file)
    assert (settings["runs_dir"], settings["sync"]) == ("own", False)
    assert [problem.split("'")[1] for problem in settings.problems] == ["sync", "openvino_msg"]
    settings["weights_dir"] = "w"
    assert written(file) == {**DEFAULTS, "runs_dir": "own", "weights_dir": "w", "sync": 1, "openvino_msg": True}
    settings["sync"] = True  # a valid value replaces the invalid one
    assert written(file)["sync"] is True
    assert Settings(file)["sync"] is True


@pytest.mark.parametrize("text", ["{broken", "[1, 2]", ""])
def test_unreadable_file_is_renamed(text, file):
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    settings = Settings(file)
    assert settings["runs_dir"] == "runs"
    assert "cannot be read" in settings.problems[0]
    assert file.read_text(encoding="utf-8") == text
    settings["runs_dir"] = "r"
    assert Settings(file)["runs_dir"] == "r"
    assert file.with_name("settings.json.broken").read_text(encoding="utf-8") == text


def test_changes_of_another_process_are_not_lost(file):
    first, second = Settings(file), Settings(file)
    assert first["runs_dir"] == second["runs_dir"] == "runs"
    first["runs_dir"] = "a"
    second["weights_dir"] = "b"
    assert (Settings(file)["runs_dir"], Settings(file)["weights_dir"]) == ("a", "b")


def test_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "conf"))
    assert settings_dir() == tmp_path / "conf"
    assert Settings().file == tmp_path / "conf" / "settings.json"
    assert not (tmp_path / "conf").exists()
    monkeypatch.delenv("YOLO_CONFIG_DIR")
    assert settings_dir().name == "Ultralytics"


def test_folder_that_is_not_writable(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "file" / "config"))
    assert settings_dir() == Path(tempfile.gettempdir()) / "Ultralytics"
    assert settings_dir() == settings_dir()
    assert capsys.readouterr().out.count(f"{tmp_path / 'file' / 'config'} is not writable") == 1  # reported once


def test_user_without_home(tmp_path, monkeypatch, capsys):
    """The user of `docker run --user 1234` has no HOME and is not in the user database."""

    def fail(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", lambda path: fail(path) if str(path).startswith("~") else path)
    monkeypatch.setattr(Path, "home", classmethod(fail))
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    assert settings_dir() == tmp_path
    monkeypatch.delenv("YOLO_CONFIG_DIR")
    assert settings_dir() == Path(tempfile.gettempdir()) / "Ultralytics"
    assert "set YOLO_CONFIG_DIR" in capsys.readouterr().out


def test_a_folder_whose_name_is_not_unicode(file):
    name = "/data/" + bytes([0xB9, 0xE3]).decode("utf-8", "surrogateescape")
    Settings(file)["runs_dir"] = name
    assert Settings(file)["runs_dir"] == name
