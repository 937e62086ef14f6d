"""`utils.patches`, `utils.callbacks` and other small official paths."""

from __future__ import annotations

import numpy as np

from ultralytics.utils import callbacks, patches


def test_images_of_any_file_name(tmp_path):
    file = str(tmp_path / "图像.png")
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert patches.imwrite(file, image)
    assert np.array_equal(patches.imread(file), image)
    assert not patches.imwrite(str(tmp_path / "none" / "a.png"), image)
    assert not patches.imwrite(str(tmp_path / "a.xyz"), image)


def test_default_callbacks_are_a_new_table():
    table = callbacks.get_default_callbacks()
    table["on_train_end"].append(print)
    assert callbacks.get_default_callbacks()["on_train_end"] == []
    assert "on_val_end" in callbacks.default_callbacks


def test_trainers_take_the_default_callbacks():
    from ultralytics.engine.callbacks import Callbacks

    calls = []
    table = callbacks.get_default_callbacks()
    table["on_train_end"].append(calls.append)
    Callbacks(table).run("on_train_end", "trainer")
    assert calls == ["trainer"]
