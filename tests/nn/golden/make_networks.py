"""Writes networks.json: what the official package (8.3.0) computes for the networks that tests/nn compares with.

Run it with an interpreter that has ultralytics 8.3.0 instead of this project, from any folder:

    python make_networks.py

8.3.0 builds YOLOv8 with the class branch of YOLO11, so the YOLOv8 rows here are those of `legacy: false`.
"""

import hashlib
import json
from pathlib import Path

import torch

NAMES = ("yolov8n", "yolo11n", "yolo11s", "yolov8n-p2", "yolov8n-p6", "yolov8n-ghost")
SIZES = {"square": (1, 3, 64, 64), "rectangular": (2, 3, 64, 128)}
NUM_SAMPLES = 24


def stir(model):
    """Give every tensor values with some spread: a fresh network's output hardly depends on the image."""
    generator = torch.Generator().manual_seed(7)
    for key, tensor in sorted(model.state_dict().items()):
        if key.endswith("running_var") or (key.endswith("weight") and tensor.ndim == 1):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.8 + 0.5)
        elif key.endswith(("running_mean", "bias")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
        elif key.endswith("weight") and "dfl" not in key:
            fan_in = tensor[0].numel()
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * (1.2 / fan_in) ** 0.5)
    return model.eval()


def image(shape):
    """A picture of waves in 0..1."""
    b, c, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij")
    return 0.5 + 0.5 * torch.sin(0.9 * b + 1.7 * c + 0.23 * y + 0.31 * x + 0.002 * x * y)


def fingerprint(tensor):
    """Mean size and values at even distances."""
    flat = tensor.detach().double().flatten()
    step = max(len(flat) // NUM_SAMPLES, 1)
    return {"shape": list(tensor.shape), "mean_abs": flat.abs().mean().item(), "samples": flat[::step].tolist()}


def describe(model):
    """Structure and outputs of a network that was built under seed 0."""
    state = model.state_dict()
    lines = "\n".join(f"{key}:{list(tensor.shape)}" for key, tensor in sorted(state.items()))
    found = {
        "tensors": len(state),
        "keys_sha256": hashlib.sha256(lines.encode()).hexdigest(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "modules": len(list(model.modules())),
        "save": list(model.save),
        "stride": model.stride.tolist(),
        "start_sum": sum(p.double().sum().item() for p in model.parameters()),
        "types": [m.type for m in model.model],
    }
    with torch.no_grad():
        model.eval()
        found["start_output"] = fingerprint(model(image(SIZES["square"]))[0])
        stir(model)
        for name, shape in SIZES.items():
            y, maps = model(image(shape))
            found[name] = {"y": fingerprint(y), "maps": [fingerprint(m) for m in maps]}
        found["augment"] = fingerprint(model(image((1, 3, 128, 192)), augment=True)[0])
        found["embed"] = fingerprint(torch.stack(model.predict(image(SIZES["rectangular"]), embed=[4, len(model.model) - 2])))
    return found


if __name__ == "__main__":
    from ultralytics.nn.tasks import DetectionModel

    golden = {}
    for name in NAMES:
        torch.manual_seed(0)
        golden[name] = describe(DetectionModel(f"{name}.yaml", verbose=False))
    target = Path(__file__).with_name("networks.json")
    target.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
