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
NUM_SAMPLES = 16
BLOCKS = (  # class, arguments, input shape
    ("Conv", [6, 8, 3, 2], (2, 6, 9, 7)),
    ("Conv", [6, 8, [3, 5], 1, None, 2, 2, False], (2, 6, 9, 7)),
    ("DWConv", [6, 9, 5, 1, 2], (2, 6, 9, 7)),
    ("GhostConv", [6, 8, 3, 2], (2, 6, 9, 7)),
    ("GhostBottleneck", [8, 8], (2, 8, 9, 7)),
    ("GhostBottleneck", [8, 12, 3, 2], (2, 8, 9, 7)),
    ("Bottleneck", [8, 8, True, 2, [1, 3], 0.5], (2, 8, 9, 7)),
    ("Bottleneck", [8, 10], (2, 8, 9, 7)),
    ("C1", [8, 12, 2], (2, 8, 9, 7)),
    ("C2", [8, 12, 2], (2, 8, 9, 7)),
    ("C2f", [8, 12, 2, True], (2, 8, 9, 7)),
    ("C3", [8, 12, 2], (2, 8, 9, 7)),
    ("C3Ghost", [8, 16, 2], (2, 8, 9, 7)),
    ("C3k", [8, 12, 2, False, 1, 0.5, 5], (2, 8, 9, 7)),
    ("C3k2", [8, 16, 2, True], (2, 8, 9, 7)),
    ("C3k2", [8, 16, 2, False, 0.25], (2, 8, 9, 7)),
    ("SPP", [8, 12], (2, 8, 9, 7)),
    ("SPPF", [8, 12, 3], (2, 8, 9, 7)),
    ("Attention", [16, 2], (2, 16, 5, 4)),
    ("PSABlock", [16, 0.5, 2, False], (2, 16, 5, 4)),
    ("PSA", [256, 256], (1, 256, 5, 4)),
    ("C2PSA", [256, 256, 2], (1, 256, 5, 4)),
    ("C2fPSA", [256, 256, 2], (1, 256, 5, 4)),
    ("DFL", [16], (2, 64, 21)),
)


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
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * (1.6 / fan_in) ** 0.5)
    return model.eval()


def image(shape):
    """A picture of waves in 0..1; three dimensions give its first column."""
    four = (*shape, 1)[:4]
    b, c, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in four), indexing="ij")
    waves = torch.sin(0.9 * b + 1.7 * c + 0.23 * y + 0.31 * x + 0.002 * x * y)
    return (0.5 + 0.5 * waves).reshape(shape)


def fingerprint(tensor):
    """Mean size and values at even distances."""
    flat = tensor.detach().double().flatten()
    step = max(len(flat) // NUM_SAMPLES, 1)
    return {
        "shape": list(tensor.shape),
        "mean_abs": flat.abs().mean().item(),
        "samples": [float(f"{v:.7g}") for v in flat[::step].tolist()],
    }


def keys_sha256(model):
    """One number for the names and shapes of all tensors."""
    lines = "\n".join(f"{key}:{list(tensor.shape)}" for key, tensor in sorted(model.state_dict().items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def describe_block(block, shape):
    """Structure, first weights and output of a block that was built under seed 0."""
    found = {
        "keys_sha256": keys_sha256(block),
        "start_sum": sum(p.double().sum().item() for p in block.parameters()),
    }
    with torch.no_grad():
        return found | {"output": fingerprint(stir(block)(image(shape)))}


def describe(model):
    """Structure and outputs of a network that was built under seed 0."""
    state = model.state_dict()
    found = {
        "tensors": len(state),
        "keys_sha256": keys_sha256(model),
        "parameters": sum(p.numel() for p in model.parameters()),
        "modules": len(list(model.modules())),
        "save": list(model.save),
        "stride": model.stride.tolist(),
        "start_sum": sum(p.double().sum().item() for p in model.parameters()),
        "types_sha256": hashlib.sha256("\n".join(m.type for m in model.model).encode()).hexdigest(),
    }
    with torch.no_grad():
        model.eval()
        found["start_output"] = fingerprint(model(image(SIZES["square"]))[0])
        stir(model)
        for name, shape in SIZES.items():
            y, maps = model(image(shape))
            found[name] = {"y": fingerprint(y), "maps": [fingerprint(m) for m in maps]}
        found["augment"] = fingerprint(model(image((1, 3, 128, 192)), augment=True)[0])
        found["embed"] = fingerprint(
            torch.stack(model.predict(image(SIZES["rectangular"]), embed=[4, len(model.model) - 2]))
        )
    return found


if __name__ == "__main__":
    from ultralytics.nn.modules import block, conv
    from ultralytics.nn.tasks import DetectionModel

    golden = {"blocks": []}
    for name, args, shape in BLOCKS:
        torch.manual_seed(0)
        cls = getattr(block, name, None) or getattr(conv, name)
        golden["blocks"].append(describe_block(cls(*args), shape))
    for name in NAMES:
        torch.manual_seed(0)
        golden[name] = describe(DetectionModel(f"{name}.yaml", verbose=False))
    target = Path(__file__).with_name("networks.json")
    target.write_text(
        json.dumps(golden, indent=None, separators=(", ", ": ")).replace("}, ", "},\n") + "\n", encoding="utf-8"
    )
