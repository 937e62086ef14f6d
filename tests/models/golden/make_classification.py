"""Writes classification.json with ultralytics 8.3.0: `python make_classification.py` in its environment.

Probabilities and metrics of a network with random weights on drawn images, through a checkpoint of that package. The
test imports `drawn` and `network` from this file.
"""

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

from ultralytics import YOLO
from ultralytics.nn.tasks import ClassificationModel

SHAPES = [(64, 64), (40, 90), (120, 50), (33, 47), (12, 11), (64, 65)]
NAMES = {0: "a", 1: "b", 2: "c"}
IMGSZ = 64


def drawn(number: int) -> np.ndarray:
    """(H, W, 3) uint8 image of the shape SHAPES[number]."""
    h, w = SHAPES[number]
    y, x, c = np.mgrid[:h, :w, :3]
    return ((y * (3 + number) + x * (7 - number) + c * 40 * number + (x * y) // 7) % 256).astype(np.uint8)


def network() -> ClassificationModel:
    """A network whose normalizations have seen the images and whose probabilities differ clearly."""
    torch.manual_seed(0)
    model = ClassificationModel("yolo11n-cls.yaml", nc=3, verbose=False)
    images = [cv2.resize(drawn(i), (IMGSZ, IMGSZ)) for i in range(len(SHAPES))]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        for _ in range(30):
            model(batch)
        model.model[-1].linear.weight.mul_(40)
    model.names = NAMES
    return model.eval()


def write_data(root: Path) -> None:
    """The images as a dataset: image i belongs to class i % 3."""
    for split in ("train", "val"):
        for i in range(len(SHAPES)):
            folder = root / split / NAMES[i % 3]
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{i}.png"), drawn(i))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, data = Path(folder) / "net.pt", Path(folder) / "data"
        torch.save({"model": network(), "train_args": {"task": "classify", "imgsz": IMGSZ}}, file)
        write_data(data)
        images = [drawn(i) for i in range(len(SHAPES))]
        results = [YOLO(file).predict(image, imgsz=IMGSZ, verbose=False)[0] for image in images]
        options = {"imgsz": IMGSZ, "workers": 0, "plots": False, "verbose": False, "project": folder}
        metrics = YOLO(file).val(data=str(data), **options).results_dict
    content = {
        "made_by": "ultralytics 8.3.0",
        "probabilities": [[round(float(p), 6) for p in result.probs.data] for result in results],
        "top5": [result.probs.top5 for result in results],
        "metrics": {key: float(value) for key, value in metrics.items()},
    }
    Path(__file__).with_name("classification.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
