"""Pose checkpoints of each package in the other one; run as live.py (`make parity-live`).

The labels of mouse-pose are used if they are there, on networks of one epoch; else those of models/golden/make_pose.py.
"""

import importlib.util
import json
import shutil

import numpy as np
import pytest
from live import TESTS, job

from ultralytics import YOLO
from ultralytics.nn import tasks
from ultralytics.nn.checkpoint import load_checkpoint, save_checkpoint

spec = importlib.util.spec_from_file_location("make_pose", TESTS / "models" / "golden" / "make_pose.py")
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
MOUSE = TESTS.parent.parent / "shared" / "data" / "mouse-pose"
OFFICIAL = json.loads((TESTS / "models" / "golden" / "pose.json").read_text())


@pytest.mark.parametrize("case", made.CASES)
def test_official_package_reads_our_pose_checkpoints(case, tmp_path):
    save_checkpoint(tmp_path / "net.pt", made.network(tasks, case), finished=True, train_args={"task": "pose"})
    files = made.write_images(tmp_path)
    data = made.write_labels(tmp_path, OFFICIAL[case]["labels"], made.CASES[case])
    out = job(tmp_path / "out", "use_pose", file=str(tmp_path / "net.pt"), images=list(map(str, files)), data=str(data))
    yolo = YOLO(tmp_path / "net.pt")
    with np.load(out / "pose.npz") as official:
        for i, (boxes, points) in enumerate(made.predict(yolo, files)):
            expected = official[f"boxes{i}"]
            np.testing.assert_allclose(boxes[:, :4], expected[:, :4], rtol=0, atol=0.501)  # 8.3.0 rounds them
            np.testing.assert_allclose(boxes[:, 4:], expected[:, 4:], rtol=0, atol=1e-4)
            np.testing.assert_allclose(points[..., 2:], official[f"points{i}"][..., 2:], rtol=0, atol=1e-4)
    metrics, expected = made.validate(yolo, data, tmp_path), json.loads((out / "pose.json").read_text())
    # a class without confident predictions has precision 1 in 8.3.0
    for key in metrics.keys() - {"metrics/precision(B)", "metrics/precision(P)"}:
        assert metrics[key] == pytest.approx(expected[key], abs=1e-3), key


@pytest.mark.skipif(not MOUSE.is_dir(), reason="the shared dataset 'mouse-pose' is missing")
def test_we_read_official_pose_checkpoints(tmp_path):
    """A network trained there for some epochs, on real images: equal metrics, and equal losses of a batch's labels."""
    copy = tmp_path / "data"
    shutil.copytree(MOUSE, copy, copy_function=shutil.copyfile)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    data = copy / "mouse-pose.yaml"
    data.write_text(data.read_text().replace("path: .", f"path: {copy}"))
    out = job(tmp_path / "out", "train_pose", data=str(data), epochs=8, imgsz=128)
    read = load_checkpoint(out / "run" / "weights" / "best.pt")
    assert read.network.kpt_shape == (7, 3) and read.train_args["task"] == "pose"
    metrics = YOLO(out / "run" / "weights" / "best.pt").val(
        data=str(data), imgsz=128, batch=8, workers=0, plots=False, verbose=False, project=str(tmp_path), device="cpu"
    )
    official = json.loads((out / "pose.json").read_text())
    print(official, metrics.results_dict)
    for key in ("mAP50(B)", "mAP50-95(B)", "mAP50(P)", "mAP50-95(P)", "recall(B)"):
        assert metrics.results_dict[f"metrics/{key}"] == pytest.approx(official[f"metrics/{key}"], abs=1e-3), key
    assert official["metrics/mAP50(B)"] > 0.01
