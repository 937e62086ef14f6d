"""Writes official_tasks.json: labels and validation samples of segment, pose and obb as ultralytics 8.3.0 makes them.

Run it with a Python that has the official package, which writes beside the data: give it a copy of shared/data.

python make_official_tasks.py FOLDER   (with coco128, nuclei, nuclei-obb and mouse-pose in it)
"""

import base64
import json
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np

from ultralytics.cfg import get_cfg
from ultralytics.data import build_dataloader, build_yolo_dataset
from ultralytics.data.utils import check_det_dataset

CASES = {  # name: folder, task, options of the dataset file, folder of the validation images, every n-th image, imgsz
    "coco128": ("coco128", "segment", {"names": [str(i) for i in range(91)]}, "val2017", 8, 160),
    "nuclei": ("nuclei", "segment", {"names": ["nucleus"]}, "val", 5, 160),
    "nuclei-obb": ("nuclei-obb", "obb", {"names": ["nucleus"]}, "val", 5, 160),
    "mouse-pose": ("mouse-pose", "pose",
                   {"names": ["side", "below"], "kpt_shape": [7, 3], "flip_idx": [3, 2, 1, 0, 4, 5, 6]}, "val", 5, 192),
}  # fmt: skip


def packed(mask):
    return base64.b64encode(zlib.compress(np.ascontiguousarray(mask, np.uint8).tobytes(), 9)).decode()


def rounded(array, digits=6):
    return np.round(np.asarray(array, np.float64), digits).tolist()


def samples(root, task, content, split, step, imgsz, overlap=True):
    file = root / "official.yaml"
    file.write_text(json.dumps({"path": str(root), "train": f"images/{split}", "val": f"images/{split}", **content}))
    data = check_det_dataset(str(file))
    cfg = get_cfg(overrides={"imgsz": imgsz, "task": task, "mode": "val", "overlap_mask": overlap})
    dataset = build_yolo_dataset(cfg, data["val"], 16, data, mode="val", rect=True, stride=32)
    result = {}
    for batch in build_dataloader(dataset, 16, 0, shuffle=False, rank=-1):
        for i, name in enumerate(batch["im_file"]):
            mine = batch["batch_idx"] == i
            result[Path(name).name] = {
                "shape": list(batch["img"].shape[2:]),
                "pad": list(batch["ratio_pad"][i][1]),
                "cls": [int(c) for c in batch["cls"][mine].flatten().tolist()],
                "bboxes": rounded(batch["bboxes"][mine]),
                **({"keypoints": rounded(batch["keypoints"][mine])} if task == "pose" else {}),
                **(
                    {"masks": packed(batch["masks"][i] if overlap else batch["masks"][mine])}
                    if task == "segment"
                    else {}
                ),
            }
    labels = {
        Path(label["im_file"]).name: {
            "cls": [int(c) for c in label["cls"].flatten()],
            "bboxes": rounded(label["bboxes"]),
            "segments": [len(s) for s in label["segments"]],
            "points": float(np.sum([s.sum(dtype=np.float64) for s in label["segments"]])),
            **({"keypoints": rounded(label["keypoints"])} if task == "pose" else {}),
        }
        for label in dataset.labels
    }
    names = sorted(result)[::step]
    return {"samples": {n: result[n] for n in names}, "labels": {n: labels[n] for n in names}}


if __name__ == "__main__":
    cv2.setNumThreads(0)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (source, task, content, split, step, imgsz) in CASES.items():
            root = Path(folder) / name
            shutil.copytree(Path(sys.argv[1]) / source, root)
            if name == "coco128":
                shutil.rmtree(root / "labels")
                (root / "labels-seg").rename(root / "labels")
            found[name] = samples(root, task, content, split, step, imgsz)
            if name == "nuclei":
                found["nuclei-separate"] = samples(root, task, content, split, 10, imgsz, overlap=False)
    target = Path(__file__).with_name("official_tasks.json")
    target.write_text(json.dumps(found, separators=(",", ":")) + "\n")
