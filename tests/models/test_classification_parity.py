"""A network on drawn images: probabilities and metrics equal to those of 8.3.0 (golden/make_classification.py)."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from ultralytics import YOLO
from ultralytics.nn.checkpoint import save_checkpoint

SCRIPT = Path(__file__).parent / "golden" / "make_classification.py"
GOLDEN = json.loads(SCRIPT.with_name("classification.json").read_text())


@pytest.fixture(scope="module")
def official_script():
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_probabilities_and_metrics_are_those_of_8_3_0(official_script, tmp_path):
    file = tmp_path / "net.pt"
    network = official_script.network()
    save_checkpoint(file, network, finished=True, train_args={"task": "classify", "imgsz": official_script.IMGSZ})
    official_script.write_data(tmp_path / "data")
    yolo = YOLO(file)
    results = [yolo.predict(official_script.drawn(i), verbose=False)[0] for i in range(len(official_script.SHAPES))]
    np.testing.assert_allclose([r.probs.data.tolist() for r in results], GOLDEN["probabilities"], atol=1e-3)
    assert [r.probs.top5 for r in results] == GOLDEN["top5"]
    options = {"workers": 0, "plots": False, "verbose": False, "project": str(tmp_path / "runs")}
    metrics = yolo.val(data=str(tmp_path / "data"), **options)
    assert metrics.results_dict == pytest.approx(GOLDEN["metrics"], abs=1e-3)
