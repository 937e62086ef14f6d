"""What both packages are given: networks, weights, images, detections. Imported by the official side too: torch only.

The recipes for weights and images stand in tests/nn/golden/make_networks.py, which older golden files come from.
"""

import hashlib
import importlib.util
import platform
from pathlib import Path

import numpy as np
import torch

_SOURCE = Path(__file__).resolve().parents[1] / "nn" / "golden" / "make_networks.py"
_SPEC = importlib.util.spec_from_file_location("make_networks", _SOURCE)
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
stir, image = _MODULE.stir, _MODULE.image

SCALES = [f"{family}{letter}" for family in ("yolov8", "yolo11") for letter in "nsmlx"]
SHAPES = {"square": (1, 3, 64, 64), "rectangular": (2, 3, 64, 96)}
# normalisation over four numbers, as on a 2x2 map, multiplies rounding errors; these maps are large enough for float32
TRAIN_SHAPES = {"square": (4, 3, 96, 96), "rectangular": (4, 3, 64, 128)}
DTYPES = {"float64": torch.float64, "float32": torch.float32}
NUM_SAMPLES = 24


def keys(model):
    """One number for names, shapes and dtypes of all tensors, in their order."""
    lines = [f"{k}:{list(v.shape)}:{v.dtype}" for k, v in model.state_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def fingerprint(tensor):
    """Shape, mean size, a sum weighted by position, and values at even distances, with all digits of a double."""
    flat = tensor.detach().double().flatten()
    weights = torch.cos(torch.arange(len(flat), dtype=torch.float64) * 0.37)
    return {
        "shape": list(tensor.shape),
        "mean_abs": float(f"{flat.abs().mean().item():.12g}"),
        "weighted": float(f"{(flat @ weights).item() / len(flat):.12g}"),
        "samples": [float(f"{v:.12g}") for v in flat[:: max(len(flat) // NUM_SAMPLES, 1)].tolist()],
    }


@torch.no_grad()
def outputs(model, dtype, fuse):
    """Name -> tensor: evaluation and training outputs for every shape, and evaluation after merging normalisations.

    `fuse` merges in place: the network is used up afterwards.
    """
    stir(model).to(dtype)
    found = {}
    for name, shape in SHAPES.items():
        x = image(shape).to(dtype)
        model.eval()
        found[f"eval {name}"] = model(x)[0]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    for name, shape in TRAIN_SHAPES.items():
        model.train()
        for i, level in enumerate(model(image(shape).to(dtype))):
            found[f"train {name} {i}"] = level
        model.load_state_dict(state)  # a pass in training mode moves the statistics
    model.eval()
    fuse(model.float())  # 8.3.0 merges in float32 only
    model.to(dtype)
    for name, shape in SHAPES.items():
        found[f"fused {name}"] = model(image(shape).to(dtype))[0]
    return found


def describe(model, fuse):
    """Golden figures of a network."""
    found = {
        "keys": keys(model),
        "tensors": len(model.state_dict()),
        "parameters": sum(p.numel() for p in model.parameters()),
        "stride": model.stride.tolist(),
    }
    for name, dtype in DTYPES.items():  # float64 first: the weights are the same in both, and small enough for float32
        made = outputs(model if name == "float32" else _copy(model), dtype, fuse)
        found[name] = {key: fingerprint(value) for key, value in made.items()}
    return found


def _copy(model):
    from copy import deepcopy

    return deepcopy(model)


def made_by(command):
    """The versions that wrote a golden file."""
    import ultralytics

    return {
        "command": command,
        "ultralytics": ultralytics.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
