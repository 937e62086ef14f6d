"""Numbers of rotated boxes, masks and keypoints on fixed inputs, from whichever functions are handed over.

    python make_tasks.py    # in an environment with ultralytics==8.3.0: writes tasks.json beside it

The tests call `records` with this project's functions and compare with that file. Inputs come from NumPy's frozen
generator RandomState, so they are the same with every version.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path

import numpy as np
import torch


def rotated_boxes(seed, n, size=200.0, thin=2.0):
    """(n, 5) float32 xywhr within an image of `size` pixels, from squares to thin ones."""
    rng = np.random.RandomState(seed)
    xy = rng.uniform(0, size, (n, 2))
    wh = rng.uniform(thin, size / 2, (n, 2))
    wh[::4, 1] = wh[::4, 0]
    return torch.tensor(np.concatenate([xy, wh, rng.uniform(-np.pi, np.pi, (n, 1))], 1), dtype=torch.float32)


def rotated_record(api):
    """Corners, overlaps, suppression."""
    values = {}
    for seed in range(3):
        a, b = rotated_boxes(seed, 7), rotated_boxes(seed + 10, 5)
        scores = torch.tensor(np.random.RandomState(seed).uniform(0, 1, 7), dtype=torch.float32)
        corners = api.xywhr2xyxyxyxy(a)
        values[str(seed)] = {
            "corners": plain(corners),
            "area_box": plain(api.xyxyxyxy2xywhr(corners.reshape(-1, 8).numpy())[:, :4].sum(1)),
            "regular": plain(api.regularize_rboxes(a)),
            "probiou": plain(api.probiou(a[:5], b)),
            "probiou_ciou": plain(api.probiou(a[:5], b, CIoU=True)),
            "batch_probiou": plain(api.batch_probiou(a, b)),
        }
        ordered = a[scores.argsort(descending=True)]
        values[str(seed)]["kept"] = [sorted(kept(api, ordered, t)) for t in (0.1, 0.3, 0.7)]
    return values


def kept(api, boxes, threshold):
    """Rows that rotated suppression keeps of boxes that are sorted by score."""
    scores = torch.linspace(1, 0.1, len(boxes))
    return [int(i) for i in api.nms_rotated(boxes, scores, threshold)]


def mask_inputs(seed, n=5, nm=32, h=20, w=28):
    """Prototypes, coefficients, boxes in pixels of a network input of 4h x 4w."""
    rng = np.random.RandomState(seed)
    protos = torch.tensor(rng.normal(0, 1, (nm, h, w)), dtype=torch.float32)
    coefficients = torch.tensor(rng.normal(0, 1, (n, nm)), dtype=torch.float32)
    low = rng.uniform(0, 2 * h, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(4, 2 * h, (n, 2))], 1)
    return protos, coefficients, torch.tensor(boxes, dtype=torch.float32)


def mask_record(api):
    """Cropping, masks at three sizes, overlap, outlines."""
    values = {}
    for seed in range(2):
        protos, coefficients, boxes = mask_inputs(seed)
        small = api.process_mask(protos, coefficients, boxes, (80, 112))
        large = api.process_mask(protos, coefficients, boxes, (80, 112), upsample=True)
        native = api.process_mask_native(protos, coefficients, boxes, (61, 90))
        scaled = api.scale_masks(protos[None, :4], (50, 90))
        rows = small.flatten(1).float()
        values[str(seed)] = {
            "crop": plain(api.crop_mask(protos[:5], boxes / 4).sum((1, 2))),
            "small": [int(x) for x in small.sum((1, 2))],
            "large": plain(large.float() @ torch.linspace(0, 1, 112)),
            "native": plain(native.float() @ torch.linspace(0, 1, 90)),
            "scaled": plain(scaled[0, :, ::7, ::11]),
            "iou": plain(api.mask_iou(rows, rows.flip(0))),
            "segments": [plain(segment) for segment in api.masks2segments(large)],
        }
    return values


def keypoint_record(api):
    """OKS with COCO's sigmas and with equal ones."""
    values = {}
    for seed, count in enumerate((17, 4)):
        rng = np.random.RandomState(seed)
        truth = torch.tensor(rng.uniform(0, 100, (3, count, 3)), dtype=torch.float32)
        truth[..., 2] = torch.tensor(rng.randint(0, 3, (3, count)))
        truth[2, :, 2] = 0
        found = truth[[1, 0, 2, 1]] + torch.tensor(rng.normal(0, 3, (4, count, 3)), dtype=torch.float32)
        area = torch.tensor(rng.uniform(500, 5000, 3), dtype=torch.float32)
        sigma = api.OKS_SIGMA if count == 17 else np.ones(count) / count
        values[str(count)] = plain(api.kpt_iou(truth, found, area, sigma))
    return values


def plain(values):
    """Numbers with 6 significant digits, as nested lists."""
    if hasattr(values, "detach"):
        values = values.detach().numpy()
    values = np.asarray(values, dtype=np.float64)
    return np.array([float(f"{x:.6g}") for x in values.flatten()]).reshape(values.shape).tolist()


def records(api):
    """All values; `api` has the functions under their official names."""
    return {"rotated": rotated_record(api), "masks": mask_record(api), "keypoints": keypoint_record(api)}


def main():
    """Writes the file."""
    from types import SimpleNamespace

    import ultralytics
    from ultralytics.utils import metrics, ops

    names = {**vars(ops), **vars(metrics)}
    made_by = {
        "ultralytics": ultralytics.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "command": "python tests/utils/golden/make_tasks.py",
    }
    text = json.dumps({"made_by": made_by, "values": records(SimpleNamespace(**names))}, separators=(",", ":"))
    Path(__file__).with_name("tasks.json").write_text(text + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
