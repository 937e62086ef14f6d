"""Class numbers: the option `classes`, and validation on data whose classes have other numbers."""

import shutil

import numpy as np
import pytest

from ultralytics import YOLO
from ultralytics.engine.class_numbers import check_class_filter, class_mapping

NETWORK = {0: "person", 1: "bicycle", 2: "car"}


@pytest.mark.parametrize(
    ("data", "mapping", "message"),
    [
        ({0: "person", 1: "bicycle", 2: "car"}, None, ""),
        ({0: "person", 1: "bicycle"}, None, ""),
        ({0: " Person", 1: "BICYCLE"}, None, ""),
        ({0: "car", 1: "person"}, [2, 0], "'car' is 0 in the data, 2 in the network; 'person' is 1 in the data, 0"),
        ({0: "car", 1: "person", 2: "bicycle"}, [2, 0, 1], "matched by name"),
        ({0: "人", 1: "自行车", 2: "车"}, None, "compared by number: 0 is '人' in the data, 'person' in the network"),
        ({0: "car", 1: "boat"}, None, "compared by number"),
        ({0: "class_0", 1: "class_1"}, None, ""),
        ({0: "car", 1: "car"}, None, "compared by number"),
        ({0: "person", 1: "bicycle", 2: "car", 3: "boat"}, None, "3 is 'boat' in the data, 'None'"),
    ],
    ids=str,
)
def test_class_mapping(data, mapping, message, capsys):
    assert class_mapping(data, NETWORK, "data.yaml") == mapping
    out = capsys.readouterr().out
    assert message in out and bool(out) == bool(message)


@pytest.mark.parametrize("classes", [None, 0, [0], [0, 2], []])
def test_existing_classes_pass(classes):
    check_class_filter(classes, NETWORK, "data.yaml")


def test_missing_classes_are_named():
    with pytest.raises(ValueError, match=r"classes=\[1, 7\]: data.yaml has no class 7, only 0 to 2 \(person, bicycle"):
        check_class_filter([1, 7], NETWORK, "data.yaml")


@pytest.fixture(scope="module")
def trained(tiny_data, tiny_model_text, tmp_path_factory):
    """A checkpoint of a network for bright (0) and dark (1) squares."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(tiny_model_text)
    args = {"epochs": 40, "imgsz": 64, "batch": 4, "nbs": 4, "optimizer": "AdamW", "lr0": 0.01, "close_mosaic": 30}
    yolo = YOLO(folder / "tiny.yaml")
    yolo.train(data=str(tiny_data), project=str(folder), workers=0, device="cpu", plots=False, **args)
    return yolo.trainer.best


@pytest.fixture
def swapped(tiny_data, tmp_path):
    """The same data, with the two classes in the other order."""
    root = shutil.copytree(tiny_data.parent, tmp_path / "swapped")
    for file in (root / "labels").rglob("*.txt"):
        lines = file.read_text().splitlines()
        file.write_text("".join(f"{1 - int(line[0])}{line[1:]}\n" for line in lines))
    text = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(text.replace("[bright, dark]", "[dark, bright]"))
    return root / "data.yaml"


def test_validation_matches_classes_by_name(trained, tiny_data, swapped, tmp_path, capsys):
    args = {"imgsz": 64, "workers": 0, "device": "cpu", "project": str(tmp_path / "runs")}
    yolo = YOLO(trained)
    expected = yolo.val(data=str(tiny_data), **args)
    assert expected.box.map50 > 0.3 and "matched by name" not in capsys.readouterr().out
    metrics = yolo.val(data=str(swapped), **args)
    assert "matched by name: 'dark' is 0 in the data, 1 in the network" in capsys.readouterr().out
    assert metrics.results_dict == expected.results_dict and metrics.names == expected.names
    np.testing.assert_array_equal(metrics.confusion_matrix.matrix, expected.confusion_matrix.matrix)


def test_a_filter_of_classes_with_two_meanings_is_refused(trained, swapped):
    with pytest.raises(ValueError, match=r"classes=.*is ambiguous"):
        YOLO(trained).val(data=str(swapped), classes=0, device="cpu", workers=0)


@pytest.mark.parametrize("call", ["val", "predict"])
def test_classes_beyond_the_network_are_refused(trained, tiny_data, call):
    options = {"data": str(tiny_data)} if call == "val" else {"source": np.zeros((64, 64, 3), np.uint8)}
    with pytest.raises(ValueError, match=r"classes=.*has no class 2, only 0 to 1"):
        getattr(YOLO(trained), call)(classes=[2], device="cpu", workers=0, **options)
