"""Programs without a terminal (pythonw, PyInstaller) have None as sys.stdout and sys.stderr."""

import subprocess
import sys

import pytest

CODE = """
import sys
{gone} = None
from ultralytics import YOLO
yolo = YOLO({model!r})
args = dict(data={data!r}, project={project!r}, imgsz=64, workers=0, device="cpu")
yolo.train(epochs=1, batch=4, **args)
yolo.val(**args)
yolo.predict({source!r}, imgsz=64, device="cpu", project={project!r}, save=True)
open({done!r}, "w").close()
"""


@pytest.mark.parametrize("gone", ["sys.stderr", "sys.stdout", "sys.stdout = sys.stderr"])
def test_a_run_without_a_terminal(tiny_model, tiny_data, tmp_path, gone):
    source, done = tiny_data.parent / "images" / "val" / "0.png", tmp_path / "done"
    code = CODE.format(
        gone=gone,
        model=str(tiny_model),
        data=str(tiny_data),
        project=str(tmp_path / "runs"),
        source=str(source),
        done=str(done),
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.exists(), run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr and "Logging error" not in run.stderr
