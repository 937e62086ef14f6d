"""Writes official.json: what ultralytics 8.3.0 does with pictures. Run it with a Python that has the official package:

python make_official.py FOLDER_OF_COCO128   (copy the folder first: the package writes beside the data)
"""

import json
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from ultralytics.cfg import get_cfg
from ultralytics.data import build_dataloader, build_yolo_dataset
from ultralytics.data.augment import LetterBox
from ultralytics.data.utils import check_det_dataset

CASES = [  # h, w, options
    (333, 500, {"new_shape": (640, 640)}),
    (333, 500, {"new_shape": (640, 640), "auto": True}),
    (100, 63, {"new_shape": (64, 64)}),
    (48, 64, {"new_shape": (64, 96), "scaleup": False}),
    (51, 97, {"new_shape": (96, 96)}),
    (51, 97, {"new_shape": (96, 96), "center": False}),
    (51, 97, {"new_shape": (64, 96), "scaleFill": True}),
    (200, 31, {"new_shape": (128, 128), "auto": True, "stride": 16}),
    (640, 480, {"new_shape": (640, 480)}),
]


def picture(h, w):
    """The same picture everywhere: values from a formula."""
    y, x, c = np.mgrid[:h, :w, :3]
    return ((y * 7 + x * 3 + c * 50 + (x * y) // 5) % 256).astype(np.uint8)


def fingerprint(image):
    """Shape, sum, and a sum weighted by position, which moves when a pixel does."""
    flat = image.astype(np.int64).ravel()
    return [list(image.shape), int(flat.sum()), int((flat * (np.arange(flat.size) % 1009)).sum())]


def letterboxes():
    return [[h, w, options, fingerprint(LetterBox(**options)(image=picture(h, w)))] for h, w, options in CASES]


def validation(folder, imgsz=160):
    content = {
        "path": str(folder),
        "train": "images/val2017",
        "val": "images/val2017",
        "names": [str(i) for i in range(80)],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(content, file)
        file.flush()
        data = check_det_dataset(file.name)
    cfg = get_cfg(overrides={"imgsz": imgsz, "task": "detect", "mode": "val"})
    dataset = build_yolo_dataset(cfg, data["val"], 16, data, mode="val", rect=True, stride=32)
    found = {}
    for batch in build_dataloader(dataset, 16, 0, shuffle=False, rank=-1):
        for i, name in enumerate(batch["im_file"]):
            mine = batch["batch_idx"] == i
            found[Path(name).name] = {
                "image": fingerprint(batch["img"][i].numpy()),
                "ratio_pad": batch["ratio_pad"][i],
                "cls": [int(c) for c in batch["cls"][mine].flatten().tolist()],
                "bboxes": [[round(v, 6) for v in box] for box in batch["bboxes"][mine].tolist()],
            }
    return {name: found[name] for name in sorted(found)[::10]}


if __name__ == "__main__":
    cv2.setNumThreads(0)
    result = {"letterbox": letterboxes(), "validation": validation(Path(sys.argv[1]).resolve())}
    target = Path(__file__).with_name("official.json")
    target.write_text(json.dumps(result, indent=None, separators=(",", ":")).replace('"0000', '\n"0000') + "\n")
