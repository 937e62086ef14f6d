"""Writes pose.json: what the official package (8.3.0) predicts and measures with pose networks of known weights.

Run it with an interpreter that has ultralytics 8.3.0 instead of this project, from any folder:

    python make_pose.py

The tests run the same functions with this package. The labels are derived from the predictions of the official
networks, so that the metrics are not 0.
"""

import importlib.util
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

IMGSZ = 160
CASES = {"yolov8n": (5, 3), "yolo11n": (5, 3), "yolo11n-2": (4, 2)}  # kpt_shape
IMAGES = {"a": (120, 160), "b": (160, 120), "c": (128, 128), "d": (96, 160)}
ODD = (97, 160)  # letterboxed to 128 x 160 with a border of 15.5 pixels
NUM_ROWS = 12  # predictions per image that are kept, those of the highest confidence
NUM_LABELS = 6  # per image

_SPEC = importlib.util.spec_from_file_location(
    "make_networks", Path(__file__).resolve().parents[2] / "nn" / "golden" / "make_networks.py"
)
_NETWORKS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_NETWORKS)


def network(tasks, case):
    """The network of a case with weights that half precision represents exactly."""
    content = tasks.yaml_model_load(f"{case.split('-')[0]}-pose.yaml")
    content.update(nc=2, kpt_shape=list(CASES[case]), legacy=False)  # 8.3.0 has the class branch of YOLO11 in YOLOv8
    model = _NETWORKS.stir(tasks.PoseModel(content, verbose=False)).half().float()
    model.names, model.kpt_shape = {0: "a", 1: "b"}, list(CASES[case])
    return model


def write_images(folder):
    """The images, and one whose border in the letterbox is odd; returns their paths."""
    (folder / "images").mkdir(parents=True)
    waves = (_NETWORKS.image((len(IMAGES) + 1, 3, 160, 160)) * 255).byte().numpy()
    files = []
    for wave, (name, (h, w)) in zip(waves, [*IMAGES.items(), ("odd", ODD)], strict=True):
        files.append(folder / ("images" if name in IMAGES else ".") / f"{name}.png")
        cv2.imwrite(str(files[-1]), np.ascontiguousarray(wave.transpose(1, 2, 0)[:h, :w]))
    return files


def write_labels(folder, labels, kpt_shape):
    """Label files {name: text} and the dataset file, which is returned."""
    (folder / "labels").mkdir(exist_ok=True)
    for name, text in labels.items():
        (folder / "labels" / f"{name}.txt").write_text(text)
    content = {"path": str(folder), "train": "images", "val": "images", "names": {0: "a", 1: "b"}}
    (folder / "data.yaml").write_text(json.dumps(content | {"kpt_shape": list(kpt_shape)}))
    return folder / "data.yaml"


def predict(yolo, files):
    """For each image the first boxes (n, 6) and keypoints (n, K, D) in pixels."""
    options = {"imgsz": IMGSZ, "conf": 0.3, "iou": 0.5, "verbose": False, "device": "cpu"}
    results = [yolo.predict(str(file), **options)[0] for file in files]  # 8.3.0 makes one batch of a list
    return [(r.boxes.data[:NUM_ROWS].numpy(), r.keypoints.data[:NUM_ROWS].numpy()) for r in results]


def validate(yolo, data, folder):
    """The metrics of a validation."""
    metrics = yolo.val(
        data=str(data), imgsz=IMGSZ, batch=2, workers=0, plots=False, verbose=False, device="cpu", project=str(folder)
    )
    return {key: float(value) for key, value in metrics.results_dict.items()}


def derive_labels(predictions, kpt_shape):
    """Label files like the predictions, with errors of a few pixels; every third keypoint is not labeled."""
    rng, labels = np.random.default_rng(0), {}
    for (name, (h, w)), (boxes, keypoints) in zip(IMAGES.items(), predictions, strict=False):
        lines = []
        for n, (box, points) in enumerate(zip(boxes[:NUM_LABELS], keypoints[:NUM_LABELS], strict=True)):
            x1, y1, x2, y2 = (box[:4] + rng.normal(0, 2, 4)).clip(0, (w, h, w, h))
            values = [(x1 + x2) / 2 / w, (y1 + y2) / 2 / h, abs(x2 - x1) / w, abs(y2 - y1) / h]
            for k, point in enumerate(points):
                xy = ((point[:2] + rng.normal(0, 2, 2)) / (w, h)).clip(0, 1)
                certain = kpt_shape[1] == 2 or point[2] >= 0.5  # 8.3.0 moves the others to 0, 0
                visible = (n + k) % 3 if certain else 0
                values += [*xy, visible][: kpt_shape[1]]
            lines.append(f"{box[5]:.0f} " + " ".join(f"{v:.6g}" for v in values))
        labels[name] = "\n".join(lines) + "\n"
    return labels


def main():
    import ultralytics
    from ultralytics import YOLO
    from ultralytics.nn import tasks

    golden = {"made_by": {"ultralytics": ultralytics.__version__, "torch": torch.__version__}}
    for case, kpt_shape in CASES.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            files = write_images(folder)
            torch.save({"model": network(tasks, case).half(), "train_args": {"task": "pose"}}, folder / "net.pt")
            predictions = predict(YOLO(folder / "net.pt"), files)
            labels = derive_labels(predictions, kpt_shape)
            data = write_labels(folder, labels, kpt_shape)
            golden[case] = {
                "labels": labels,
                "metrics": validate(YOLO(folder / "net.pt"), data, folder),
                "predictions": [
                    [[[float(f"{v:.7g}") for v in row.ravel()] for row in part] for part in pair]
                    for pair in predictions
                ],
            }
    target = Path(__file__).with_name("pose.json")
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
