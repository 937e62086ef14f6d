"""Runs one job of live.py with the official package: `python official_side.py JOB.json`; results are files.

A job is {"do": name of a function below, "out": folder, ...its keyword arguments}. Results are .npz and .json files.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import recipe
import torch

from ultralytics import YOLO
from ultralytics.nn import tasks


def forward(out, names):
    """Outputs of networks built from the official model files."""
    for name in names:
        torch.manual_seed(0)
        model = tasks.DetectionModel(f"{name}.yaml", verbose=False)
        state = {key: [*value.shape, str(value.dtype)] for key, value in model.state_dict().items()}
        (out / f"{name}.json").write_text(json.dumps(state))
        for dtype in ("float64", "float32"):
            outputs = recipe.outputs(recipe._copy(model), recipe.DTYPES[dtype], lambda m: m.fuse(verbose=False))
            np.savez(out / f"{name}-{dtype}.npz", **{key: value.numpy() for key, value in outputs.items()})


def use(out, pairs, images, imgsz):
    """Raw outputs, detections and validation metrics of our checkpoints; each pair is a checkpoint and its dataset."""
    for file, data in pairs:
        name = Path(file).stem
        with torch.no_grad():
            raw = YOLO(file).model.float().eval()(recipe.image(recipe.SHAPES["rectangular"]))[0]
        boxes = [r.boxes.data.numpy() for r in YOLO(file).predict(images, imgsz=imgsz, conf=0.4, verbose=False)]
        np.savez(out / f"{name}.npz", raw.numpy(), *boxes)
        metrics = YOLO(file).val(data=data, imgsz=imgsz, batch=4, workers=0, plots=False, verbose=False)
        results = {key: float(value) for key, value in metrics.results_dict.items()}
        (out / f"{name}.json").write_text(json.dumps(results | {"names": metrics.names}))


def train(out, model, data, imgsz):
    """Trains one epoch; saves a checkpoint written during training and the final one, with their outputs."""
    yolo = YOLO(model)
    yolo.add_callback("on_model_save", lambda trainer: shutil.copyfile(trainer.last, out / "running.pt"))
    common = {"workers": 0, "plots": False, "amp": False, "verbose": False, "device": "cpu", "pretrained": False}
    yolo.train(data=data, imgsz=imgsz, epochs=1, batch=2, project=str(out), name="run", **common)
    shutil.copyfile(out / "run" / "weights" / "last.pt", out / "finished.pt")
    x = recipe.image(recipe.SHAPES["rectangular"])
    for name in ("running", "finished"):
        network = YOLO(out / f"{name}.pt").model.float().eval()
        with torch.no_grad():
            np.savez(out / f"{name}.npz", network(x)[0].numpy())
            np.savez(out / f"{name}-fused.npz", network.fuse(verbose=False)(x)[0].numpy())
        torch.save({"model": network}, out / f"{name}-fused.pt")


def activation(out):
    """A network that has ReLU because a YOLOv6 was built before it in the same process, and its output."""
    tasks.DetectionModel("yolov6n.yaml", verbose=False)
    network = recipe.stir(tasks.DetectionModel("yolo11n.yaml", verbose=False))
    torch.save({"model": network, "version": "8.3.0"}, out / "relu.pt")
    with torch.no_grad():
        np.savez(out / "relu.npz", network(recipe.image(recipe.SHAPES["rectangular"]))[0].numpy())


def use_pose(out, file, images, data):
    """Predictions and metrics of a pose checkpoint."""
    pairs = _pose_recipe().predict(YOLO(file), images)
    arrays = {}
    for i, (boxes, points) in enumerate(pairs):
        arrays |= {f"boxes{i}": boxes, f"points{i}": points}
    np.savez(out / "pose.npz", **arrays)
    (out / "pose.json").write_text(json.dumps(_pose_recipe().validate(YOLO(file), data, out)))


def train_pose(out, data, epochs, imgsz):
    """Trains a pose network; the metrics are those of a separate validation of its best weights."""
    common = {"workers": 0, "plots": False, "verbose": False, "device": "cpu"}
    options = {
        "amp": False,
        "pretrained": False,
        "optimizer": "AdamW",
        "lr0": 0.003,
        "project": str(out),
        "name": "run",
    }
    YOLO("yolo11n-pose.yaml").train(data=data, imgsz=imgsz, epochs=epochs, batch=8, **options, **common)
    metrics = YOLO(out / "run" / "weights" / "best.pt").val(data=data, imgsz=imgsz, batch=8, **common)
    (out / "pose.json").write_text(json.dumps({key: float(value) for key, value in metrics.results_dict.items()}))


def _pose_recipe():
    import importlib.util

    file = Path(__file__).resolve().parents[1] / "models" / "golden" / "make_pose.py"
    spec = importlib.util.spec_from_file_location("make_pose", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train_classes(out, data, images):
    """Trains a classification network for one epoch; its checkpoint, probabilities and metrics."""
    common = {"data": data, "imgsz": 64, "batch": 4, "workers": 0, "plots": False, "device": "cpu", "verbose": False}
    YOLO("yolo11n-cls.yaml").train(epochs=1, amp=False, pretrained=False, project=str(out), name="run", **common)
    shutil.copyfile(out / "run" / "weights" / "last.pt", out / "official.pt")
    use_classes(out, out / "official.pt", data, images)


def use_classes(out, file, data, images):
    """Probabilities and metrics of a classification checkpoint."""
    yolo = YOLO(file)
    probabilities = [r.probs.data.numpy() for r in yolo.predict(images, imgsz=64, verbose=False)]
    metrics = yolo.val(data=data, imgsz=64, batch=4, workers=0, plots=False, verbose=False, project=str(out))
    results = {key: float(value) for key, value in metrics.results_dict.items()}
    np.savez(out / "probabilities.npz", np.stack(probabilities))
    (out / "metrics.json").write_text(json.dumps(results | {"names": yolo.names}))


def segment(out, script, checkpoint):
    """The golden values of tests/models/golden/make_segment.py, its checkpoint, and the results of ours."""
    make_segment = recipe.load(script)
    (out / "segment.json").write_text(json.dumps(make_segment.main(out)))
    paths = [str(out / "images" / f"{i}.png") for i in range(len(make_segment.SHAPES))]
    results = [make_segment.record(YOLO(checkpoint).predict(path, **make_segment.PREDICT)[0]) for path in paths]
    metrics = YOLO(checkpoint).val(data=str(out / "data.yaml"), project=str(out), **make_segment.VAL).results_dict
    (out / "ours.json").write_text(
        json.dumps({"results": results, "metrics": {k: float(v) for k, v in metrics.items()}})
    )


def others(out):
    """Checkpoints of the other tasks, which this package may not support."""
    models = {
        "pose estimation": tasks.PoseModel("yolo11n-pose.yaml", verbose=False),
    }
    for name, model in models.items():
        torch.save({"model": model.half(), "version": "8.3.0"}, out / f"{name}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    job = json.loads(Path(sys.argv[1]).read_text())
    globals()[job.pop("do")](Path(job.pop("out")), **job)
