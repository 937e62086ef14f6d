"""Inputs of both packages: networks, weights, images. The official side imports it as well, so it needs only torch.

Weights and images are defined in tests/nn/golden/make_networks.py, which other golden files use as well.
"""

import hashlib
import importlib.util
import platform
from pathlib import Path

import numpy as np
import torch

_SOURCE = Path(__file__).resolve().parents[1] / "nn" / "golden" / "make_networks.py"


def load(path):
    """The module of a script that is not in a package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_MODULE = load(_SOURCE)
stir, image = _MODULE.stir, _MODULE.image

SCALES = [f"{family}{letter}" for family in ("yolov8", "yolo11") for letter in "nsmlx"]
SHAPES = {"square": (1, 3, 64, 64), "rectangular": (2, 3, 64, 96)}
# normalization over four values (a 2x2 map) amplifies rounding errors; these maps are large enough for float32
TRAIN_SHAPES = {"square": (4, 3, 96, 96), "rectangular": (4, 3, 64, 128)}
DTYPES = {"float64": torch.float64, "float32": torch.float32}
NUM_SAMPLES = 24


def keys(model):
    """Hash of names, shapes and dtypes of all tensors, in their order."""
    lines = [f"{k}:{list(v.shape)}:{v.dtype}" for k, v in model.state_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def fingerprint(tensor):
    """Shape, mean absolute value, a sum weighted by position, and evenly spaced samples, to 12 digits."""
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
    """Name -> tensor: evaluation and training outputs for every shape, and evaluation outputs after fusing.

    `fuse` works in place: the network cannot be used again.
    """
    stir(model).to(dtype)
    results = {}
    for name, shape in SHAPES.items():
        x = image(shape).to(dtype)
        model.eval()
        results[f"eval {name}"] = model(x)[0]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    for name, shape in TRAIN_SHAPES.items():
        model.train()
        for i, level in enumerate(model(image(shape).to(dtype))):
            results[f"train {name} {i}"] = level
        model.load_state_dict(state)  # a pass in training mode updates the running statistics
    model.eval()
    fuse(model.float())  # 8.3.0 fuses in float32 only
    model.to(dtype)
    for name, shape in SHAPES.items():
        results[f"fused {name}"] = model(image(shape).to(dtype))[0]
    return results


def describe(model, fuse):
    """Golden values of a network."""
    values = {
        "keys": keys(model),
        "tensors": len(model.state_dict()),
        "parameters": sum(p.numel() for p in model.parameters()),
        "stride": model.stride.tolist(),
    }
    for name, dtype in DTYPES.items():  # float64 first: the weights are equal in both, and representable in float32
        tensors = outputs(model if name == "float32" else _copy(model), dtype, fuse)
        values[name] = {key: fingerprint(value) for key, value in tensors.items()}
    return values


def _copy(model):
    from copy import deepcopy

    return deepcopy(model)


def made_by(command):
    """Command and versions that wrote a golden file."""
    import ultralytics

    return {
        "command": command,
        "ultralytics": ultralytics.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
