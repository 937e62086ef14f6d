"""Settings: nothing written unasked, one bad entry costs only itself, a shared file is not destroyed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from ultralytics.utils import settings as room
from ultralytics.utils.settings import DEFAULTS, Settings, SettingsError, settings_dir


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "settings.json"


def written(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def test_keys_of_the_shared_file():
    # 8.3.0 resets a file whose keys or types differ from these
    lettered = "settings_version datasets_dir weights_dir runs_dir uuid sync api_key openai_api_key"
    loggers = "clearml comet dvc hub mlflow neptune raytune tensorboard wandb vscode_msg"
    assert " ".join(DEFAULTS) == f"{lettered} {loggers}"
    assert DEFAULTS["settings_version"] == "0.0.6"
    assert {type(value) for value in DEFAULTS.values()} == {str, bool}


def test_reading_writes_nothing(file):
    settings = Settings(file)
    assert settings["runs_dir"] == "runs"
    assert dict(settings) == DEFAULTS
    assert not file.parent.exists()


def test_a_change_is_written_at_once_and_completely(file):
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
    ("change", "says"),
    [
        ({"run_dir": "x"}, "did you mean 'runs_dir'"),
        ({"xyzzy": "x"}, "there are settings_version"),
        ({"sync": 1}, "'sync' is 1, but must be true or false"),
        ({"runs_dir": True}, "must be text"),
        ({"runs_dir": "ok", "wandb": "yes"}, "'wandb'"),
    ],
)
def test_a_wrong_change_changes_nothing(change, says, file):
    settings = Settings(file)
    for call in (lambda: settings.update(change), lambda: settings.update(**change)):
        with pytest.raises(SettingsError) as e:
            call()
        assert says in str(e.value)
    assert dict(settings) == DEFAULTS
    assert not file.exists()
    with pytest.raises(KeyError):
        settings["xyzzy"]
    with pytest.raises(KeyError):
        del settings["xyzzy"]


def test_bad_entries_are_ignored_one_by_one_and_kept_in_the_file(file):
    file.parent.mkdir()
    file.write_text(json.dumps({"runs_dir": "mine", "sync": 1, "openvino_msg": True}), encoding="utf-8")
    settings = Settings(file)
    assert (settings["runs_dir"], settings["sync"]) == ("mine", False)
    assert [problem.split("'")[1] for problem in settings.problems] == ["sync", "openvino_msg"]
    settings["weights_dir"] = "w"
    assert written(file) == {**DEFAULTS, "runs_dir": "mine", "weights_dir": "w", "sync": 1, "openvino_msg": True}
    settings["sync"] = True  # given a right value, the wrong one goes
    assert written(file)["sync"] is True
    assert Settings(file)["sync"] is True


@pytest.mark.parametrize("text", ["{broken", "[1, 2]", ""])
def test_unreadable_file_is_set_aside(text, file):
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
    one, other = Settings(file), Settings(file)
    assert one["runs_dir"] == other["runs_dir"] == "runs"
    one["runs_dir"] = "a"
    other["weights_dir"] = "b"
    assert (Settings(file)["runs_dir"], Settings(file)["weights_dir"]) == ("a", "b")


def test_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "conf"))
    assert settings_dir() == tmp_path / "conf"
    assert Settings().file == tmp_path / "conf" / "settings.json"
    assert not (tmp_path / "conf").exists()
    monkeypatch.delenv("YOLO_CONFIG_DIR")
    assert settings_dir().name == "Ultralytics"


def test_folder_that_cannot_be_written(tmp_path, monkeypatch):
    locked = tmp_path / "locked"
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(locked))
    monkeypatch.setattr(room, "_writable", lambda folder: folder != locked)
    assert settings_dir().name == "Ultralytics"
    assert settings_dir() != locked


def test_a_user_without_a_home(tmp_path, monkeypatch, caplog):
    """A container's `--user 1234` has no HOME and no entry in the list of users."""

    def unknown(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", lambda path: unknown(path) if str(path).startswith("~") else path)
    monkeypatch.setattr(Path, "home", classmethod(unknown))
    room._settings_dir.cache_clear()
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    assert settings_dir() == tmp_path
    monkeypatch.delenv("YOLO_CONFIG_DIR")
    assert settings_dir() == Path(tempfile.gettempdir()) / "Ultralytics"
    assert "YOLO_CONFIG_DIR sets it" in caplog.text
    room._settings_dir.cache_clear()
