"""Writes families.json: what the official package (8.3.0) computes for blocks, heads and networks of all families.

Run it with an interpreter that has ultralytics 8.3.0 instead of this project, from any folder:

    python make_families.py

8.3.0 builds every family with the class branch of YOLO11. `published` describes the same network with the class branch
of the published checkpoints (two 3×3 convolutions), made here by replacing the branch.
"""

import json
from pathlib import Path

import torch
from make_networks import fingerprint, image, keys_sha256, stir

SCALED = (
    *("yolov5", "yolov5-p6", "yolov6"),
    *(f"yolov8{part}" for part in ("", "-p2", "-p6", "-ghost", "-ghost-p2", "-ghost-p6")),
    *(f"yolov8{part}" for part in ("-seg", "-seg-p6", "-pose", "-pose-p6", "-obb", "-cls")),
    *(f"yolo11{part}" for part in ("", "-seg", "-pose", "-obb", "-cls")),
)
FIXED = (
    *("yolov3", "yolov3-spp", "yolov3-tiny", "yolov8n-cls-resnet50", "yolov8n-cls-resnet101"),
    *(f"yolov9{letter}" for letter in ("t", "s", "m", "c", "e", "c-seg", "e-seg")),
    *(f"yolov10{letter}" for letter in "nsmblx"),
)
NEW_BRANCH = ("yolo11", "yolov10")  # families that were published with the depthwise class branch
RUN = (  # networks whose outputs are compared
    *("yolov3-tiny", "yolov5n", "yolov6n", "yolov9t", "yolov10n", "yolov10s"),
    *(f"{family}{task}" for family in ("yolov8n", "yolo11n") for task in ("-seg", "-pose", "-obb", "-cls")),
)
SIZES = {"square": (1, 3, 64, 64), "rectangular": (2, 3, 64, 128)}
TRAIN_SIZES = {"square": (4, 3, 96, 96), "rectangular": (4, 3, 64, 128)}
MAP = (2, 8, 9, 7)
BLOCKS = (  # file, class, arguments, input shape
    ("conv", "Conv2", [8, 6, 3, 2], MAP),
    ("conv", "LightConv", [8, 6, 5], MAP),
    ("conv", "DWConvTranspose2d", [8, 12, 4, 2, 1], MAP),
    ("conv", "ConvTranspose", [8, 6], MAP),
    ("conv", "ConvTranspose", [8, 6, 3, 2, 1, False, False], MAP),
    ("conv", "Focus", [8, 6, 3], (2, 8, 10, 6)),
    ("conv", "RepConv", [8, 6], MAP),
    ("conv", "RepConv", [8, 8, 3, 1, 1, 2, 1, True, True], MAP),
    ("conv", "RepConv", [8, 12, 3, 2, 1, 4, 1, False], MAP),
    ("conv", "ChannelAttention", [8], MAP),
    ("conv", "SpatialAttention", [3], MAP),
    ("conv", "CBAM", [8], MAP),
    ("block", "BottleneckCSP", [8, 12, 2], MAP),
    ("block", "C3x", [8, 12, 2, False], MAP),
    ("block", "C3f", [8, 12, 2, True], MAP),
    ("block", "C3TR", [8, 16, 2], MAP),
    ("block", "RepC3", [8, 12, 2], MAP),
    ("block", "RepBottleneck", [8, 8], MAP),
    ("block", "RepCSP", [8, 12, 2], MAP),
    ("block", "RepNCSPELAN4", [8, 12, 8, 6, 2], MAP),
    ("block", "ELAN1", [8, 12, 8, 6], MAP),
    ("block", "AConv", [8, 12], MAP),
    ("block", "ADown", [8, 12], MAP),
    ("block", "SPPELAN", [8, 12, 6], MAP),
    ("block", "CBLinear", [8, [4, 6], 3], MAP),
    ("block", "RepVGGDW", [8], MAP),
    ("block", "CIB", [8, 8], MAP),
    ("block", "CIB", [8, 8, False, 1.0, True], MAP),
    ("block", "C2fCIB", [8, 12, 2, True, True], MAP),
    ("block", "SCDown", [8, 12, 3, 2], MAP),
    ("block", "ResNetBlock", [8, 4, 2], MAP),
    ("block", "ResNetBlock", [16, 4], (2, 16, 9, 7)),
    ("block", "ResNetLayer", [8, 6, 1, True], MAP),
    ("block", "ResNetLayer", [8, 4, 2, False, 3], MAP),
    ("block", "HGStem", [8, 6, 12], (2, 8, 12, 8)),
    ("block", "HGBlock", [8, 4, 12, 3, 2, True], MAP),
    ("block", "HGBlock", [8, 4, 8, 5, 2, False, True], MAP),
    ("block", "Proto", [8, 6, 4], MAP),
    ("transformer", "TransformerEncoderLayer", [8, 16, 2], (2, 11, 8)),
    ("transformer", "AIFI", [8, 16, 2], (2, 8, 6, 6)),  # 8.3.0 mixes up the locations of maps that are not square
    ("transformer", "TransformerLayer", [8, 2], (11, 2, 8)),
    ("transformer", "TransformerBlock", [8, 12, 3, 2], MAP),
    ("transformer", "MLPBlock", [8, 16], (2, 11, 8)),
    ("transformer", "MLP", [8, 16, 4, 3], (2, 11, 8)),
    ("transformer", "LayerNorm2d", [8], MAP),
)
LEVELS = {"square": ((8, 8), (4, 4)), "rectangular": ((6, 10), (3, 5))}  # rows and columns of two pyramid levels
CHANNELS = (16, 24)
HEADS = (  # class, arguments before the channels of the levels
    ("Detect", [5]),
    ("Segment", [5, 6, 12]),
    ("Pose", [5, [4, 3]]),
    ("Pose", [1, [5, 2]]),
    ("OBB", [5, 1]),
    ("v10Detect", [5]),
)
FUSE = ((8, 9, 7), (12, 5, 4), (6, 17, 14))  # channels, rows, columns of the inputs of CBFuse


def file_names():
    """Model files, each scale of a file that has several under a name of its own."""
    names = []
    for file in SCALED:
        family, dash, part = file.partition("-")
        names += [f"{family}{letter}{dash}{part}" for letter in "nsmlx"]
    return [*names, *FIXED]


def tensors(output):
    """All tensors of nested lists, tuples and dicts, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in tensors(part)]


def structure(layers):
    """Sizes and names of a network's layers."""
    return {
        "parameters": sum(p.numel() for p in layers.parameters()),
        "modules": len(list(layers.modules())),
        "keys_sha256": keys_sha256(layers),
    }


def levels(name):
    """Inputs of a head: two maps."""
    return [image((2, c, *size)) for c, size in zip(CHANNELS, LEVELS[name], strict=True)]


def fuse_inputs():
    """Inputs of a CBFuse with idx [1, 0]: two lists of maps and the map that they are added to."""
    (c1, *s1), (c2, *s2), (c, *s) = FUSE
    first, second = image((2, c1, *s1)), image((2, c2, *s2))
    return [first.split((2, 6), 1), second.split((6, 6), 1), image((2, c, *s))]


@torch.no_grad()
def head_outputs(head):
    """Fingerprints of all outputs of a head, training and evaluation, square and rectangular."""
    stir(head)
    head.stride = torch.tensor([8.0, 16.0])
    found = {}
    for training in (False, True):
        for name in LEVELS:
            state = {key: value.clone() for key, value in head.state_dict().items()}
            outputs = tensors(head.train(training)(levels(name)))
            found[f"{'train' if training else 'eval'} {name}"] = [fingerprint(y) for y in outputs]
            head.load_state_dict(state)
    return found


@torch.no_grad()
def network_outputs(model):
    """Fingerprints of all outputs of a network, square and rectangular: evaluation in float32, training in float64.

    Batch statistics over a few values multiply rounding errors, so float32 would need a wide tolerance in training.
    """
    found = {}
    for mode, sizes, dtype in (("eval", SIZES, torch.float32), ("train", TRAIN_SIZES, torch.float64)):
        model.train(mode == "train").to(dtype)
        state = {key: value.clone() for key, value in model.state_dict().items()}
        for name, shape in sizes.items():
            found[f"{mode} {name}"] = [fingerprint(y) for y in tensors(model(image(shape).to(dtype)))]
            model.load_state_dict(state)
    return found


def main():
    from ultralytics.nn.modules import block, conv, head, transformer

    files = {"block": block, "conv": conv, "transformer": transformer}
    golden = {"blocks": [], "heads": [], "structure": {}, "outputs": {}}
    for file, name, args, shape in BLOCKS:
        torch.manual_seed(0)
        module = getattr(files[file], name)(*args)
        start_sum = sum(p.double().sum().item() for p in module.parameters())
        with torch.no_grad():
            outputs = [fingerprint(y) for y in tensors(stir(module)(image(shape)))]
        golden["blocks"].append({"keys_sha256": keys_sha256(module), "start_sum": start_sum, "outputs": outputs})
    golden["fuse"] = fingerprint(block.CBFuse([1, 0])(fuse_inputs()))
    for name, args in HEADS:
        torch.manual_seed(0)
        module = getattr(head, name)(*args, CHANNELS)
        start_sum = sum(p.double().sum().item() for p in module.parameters())
        described = {"keys_sha256": keys_sha256(module), "start_sum": start_sum}
        golden["heads"].append(described | {"outputs": head_outputs(module)})
    torch.manual_seed(0)
    classify = head.Classify(8, 5)
    golden["classify"] = {"keys_sha256": keys_sha256(classify), "outputs": []}
    with torch.no_grad():
        stir(classify)
        golden["classify"]["outputs"] = [
            fingerprint(y) for training in (False, True) for y in tensors(classify.train(training)(image(MAP)))
        ]
    for name in file_names():
        golden["structure"][name] = official_structure(name)
        print(name, golden["structure"][name]["parameters"], flush=True)
    for name in RUN:
        torch.manual_seed(0)
        model = build(name)
        stir(model)
        described = {"stride": model.stride.tolist(), "save": list(model.save)}
        golden["outputs"][name] = described | network_outputs(model)
    text = json.dumps(golden, indent=None, separators=(", ", ": ")).replace("}, ", "},\n")
    Path(__file__).with_name("families.json").write_text(text + "\n", encoding="utf-8")


def build(name):
    """A network of the official package."""
    from ultralytics.nn import tasks
    from ultralytics.nn.modules import Conv

    classes = {
        "detect": tasks.DetectionModel,
        "segment": tasks.SegmentationModel,
        "pose": tasks.PoseModel,
        "obb": tasks.OBBModel,
        "classify": tasks.ClassificationModel,
    }
    content = tasks.yaml_model_load(f"{name}.yaml")
    activation = Conv.default_act
    try:
        return classes[tasks.guess_model_task(content)](content, verbose=False)
    finally:
        Conv.default_act = activation  # 8.3.0 keeps a file's `activation` for all networks that follow


def official_structure(name):
    """Structure of an official network, with the class branch of 8.3.0 and with the published one."""
    from ultralytics.nn import tasks
    from ultralytics.nn.modules import Conv

    activation = Conv.default_act
    with torch.device("meta"):  # no memory: only names and shapes matter
        layers, _ = tasks.parse_model(tasks.yaml_model_load(f"{name}.yaml"), 3, verbose=False)
        built = structure(layers)
        head = layers[-1]
        if hasattr(head, "cv3") and not name.startswith(NEW_BRANCH):
            use_published_branch(head)
            built["published"] = structure(layers)
    Conv.default_act = activation  # 8.3.0 keeps a file's `activation` for all networks that follow
    return built


def use_published_branch(head):
    """Replace the class branch by that of checkpoints published before 8.3.0."""
    from ultralytics.nn.modules import Conv

    inputs = [branch[0].conv.in_channels for branch in head.cv2]
    hidden = max(inputs[0], min(head.nc, 100))
    head.cv3 = torch.nn.ModuleList(
        torch.nn.Sequential(Conv(c, hidden, 3), Conv(hidden, hidden, 3), torch.nn.Conv2d(hidden, head.nc, 1))
        for c in inputs
    )


if __name__ == "__main__":
    main()
