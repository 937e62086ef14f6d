"""Writes segment.json: predictions and validation metrics of a small segmentation network in the official package.

    python make_segment.py    # with an interpreter that has ultralytics 8.3.0 instead of this project

The network has the weights of `stir` (tests/nn/golden/make_networks.py), rounded to half precision; the images are
drawn by `draw`; the labels are polygons close to some of the network's masks, so that the metrics are not 0.
"""

import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

MODEL = """\
nc: 2
legacy: false  # as 8.3.0 builds it
scales: {n: [0.33, 0.125, 1024]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, C2f, [128, True]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, SPPF, [128, 5]]
head:
  - [[3, 4, 6], 1, Segment, [nc, 8, 64]]
"""
SHAPES = ((160, 160), (120, 160), (160, 96), (100, 200), (64, 64), (128, 160))  # height, width
IMGSZ = 160
PREDICT = {"imgsz": IMGSZ, "conf": 0.55, "iou": 0.5, "max_det": 8, "verbose": False}
VAL = {"imgsz": IMGSZ, "batch": 3, "workers": 0, "plots": False, "verbose": False, "device": "cpu"}
VARIANTS = {
    "rect": {},
    "square": {"rect": False},
    "separate": {"overlap_mask": False},
    "one class": {"single_cls": True},
}
# 8.3.0 cuts a border to whole cells of the prototypes, so its masks are shifted where a border is not a multiple of 4
RETINA = (0, 1, 4)


def stir(model):
    """The weights, from the script of the other golden files, with mask coefficients that mostly fill the boxes."""
    path = Path(__file__).resolve().parents[2] / "nn" / "golden" / "make_networks.py"
    spec = importlib.util.spec_from_file_location("golden_networks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.no_grad():
        module.stir(model)
        for branch in model.model[-1].cv4:
            branch[-1].bias += 1.0
        model.model[-1].proto.cv3.bn.bias += 1.0
    return model


def draw(seed, shape):
    """An image of random blocks with a gradient, (H, W, 3) uint8."""
    rng = np.random.RandomState(seed)
    blocks = np.kron(rng.randint(0, 200, (shape[0] // 16 + 1, shape[1] // 16 + 1, 3)), np.ones((16, 16, 1)))
    return (blocks[: shape[0], : shape[1]] + np.arange(shape[1])[None, :, None] % 55).astype(np.uint8)


def write_images(folder):
    """The images as files; returns their paths."""
    folder.mkdir(parents=True)
    paths = [str(folder / f"{i}.png") for i in range(len(SHAPES))]
    for i, (path, shape) in enumerate(zip(paths, SHAPES, strict=True)):
        cv2.imwrite(path, draw(i, shape))
    return paths


def write_dataset(root, labels):
    """A dataset file for the images in `root`/images and label texts."""
    (root / "labels").mkdir()
    for i, text in enumerate(labels):
        (root / "labels" / f"{i}.txt").write_text(text)
    content = {"path": str(root), "train": "images", "val": "images", "names": {0: "a", 1: "b"}}
    (root / "data.yaml").write_text(json.dumps(content))
    return str(root / "data.yaml")


def runs(mask):
    """Lengths of the runs of equal pixels, row by row, the first of 0."""
    flat = np.concatenate(([False], np.asarray(mask).reshape(-1) > 0.5))
    return np.diff(np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]), [flat.size - 1]))).tolist()


def record(result):
    """Rows of boxes, and the masks' runs."""
    return {
        "boxes": [[round(float(v), 5) for v in row] for row in result.boxes.data.numpy()],
        "masks": [runs(mask) for mask in result.masks.data.numpy()],
    }


def label(result, rng):
    """Polygons close to every other predicted mask, as the text of a label file."""
    lines = []
    for i in range(0, len(result.boxes), 2):
        if len(result.masks.xyn[i]) < 4:
            continue
        outline = cv2.approxPolyDP(result.masks.xyn[i].reshape(-1, 1, 2), 0.01, True).reshape(-1, 2)
        if len(outline) < 3:
            continue
        center = outline.mean(0)
        polygon = (center + (outline - center) * np.exp(rng.normal(0, 0.08))).clip(0, 1)
        lines.append(f"{int(result.boxes.cls[i])} " + " ".join(f"{v:.4f}" for v in polygon.reshape(-1)))
    return "\n".join(lines) + "\n"


def main(folder):
    from ultralytics import YOLO, __version__
    from ultralytics.nn.tasks import SegmentationModel

    (folder / "seg.yaml").write_text(MODEL)
    network = stir(SegmentationModel(str(folder / "seg.yaml"), verbose=False)).half()
    network.names = {0: "a", 1: "b"}
    torch.save({"model": network, "version": "8.3.0", "train_args": {"task": "segment"}}, folder / "seg.pt")
    paths = write_images(folder / "images")
    model = YOLO(folder / "seg.pt")
    # one by one: 8.3.0 makes one square batch of a list
    results = [model.predict(path, **PREDICT)[0] for path in paths]
    retina = [model.predict(paths[i], retina_masks=True, **PREDICT)[0] for i in RETINA]
    rng = np.random.RandomState(0)
    labels = [label(result, rng) for result in results]
    data = write_dataset(folder, labels)
    metrics = {}
    for name, options in VARIANTS.items():
        found = YOLO(folder / "seg.pt").val(data=data, project=str(folder), **{**VAL, **options})
        metrics[name] = {key: round(float(value), 6) for key, value in found.results_dict.items()}
    return {
        "made_by": {"command": "python make_segment.py", "ultralytics": __version__, "torch": torch.__version__},
        "results": [record(r) for r in results],
        "retina": [record(r) for r in retina],
        "labels": labels,
        "metrics": metrics,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    temporary = Path(tempfile.mkdtemp())
    try:
        text = json.dumps(main(temporary), separators=(",", ":"))
    finally:
        shutil.rmtree(temporary)
    Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("segment.json")).write_text(text + "\n")
