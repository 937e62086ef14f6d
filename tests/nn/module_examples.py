"""Every registered module ready to be called, for the tests that sweep over all of them.

A module is built through the parser from the example row in its `usage`, with CHANNELS channels in and out. What has no
such row, because it takes something other than maps, is in BY_HAND.
"""

import math
from dataclasses import dataclass

import torch
import yaml

from ultralytics.nn.modules import Detect
from ultralytics.nn.parser import parse_model
from ultralytics.nn.registry import registered

CHANNELS = 8
HEAD_LEVELS = 1  # of the three in a head's example, which differ only in size


@dataclass(frozen=True)
class Call:
    """How a class is called, and the channels and number of dimensions (B, C, ...) of what it then takes."""

    arguments: tuple
    channels: int = CHANNELS
    dimensions: int = 4


BY_HAND = {"deformable_LKA_Attention3d": Call((3,), channels=3, dimensions=5)}
# rows beside the examples, for options that those do not set
MORE_ROWS = {
    "AKConv, options": [-1, 1, "AKConv", [CHANNELS, 5, 2, {"shape": "cross", "offset_lr": 0.1}]],
    "ACmix, options": [-1, 1, "ACmix", [5, 2, 3, 2, 2]],
}


def class_names():
    """Registered names, one a class: an alias is the same module."""
    return list({entry.cls: name for name, entry in reversed(registered().items())}.values())[::-1]


def example_row(name):
    """The model-file row that builds `name`, or None if BY_HAND knows how.

    Raises:
        ValueError: neither its `usage` nor this file says how it is built.
    """
    if name in MORE_ROWS:
        return MORE_ROWS[name]
    if name in BY_HAND:
        return None
    usage = registered()[name].usage
    row = yaml.safe_load(usage.partition("#")[0]) if usage.startswith("[") else None
    if not (isinstance(row, list) and len(row) == 4):
        raise ValueError(
            f"nothing says how the registered '{name}' is built, so it cannot be tested. Give its @register an example "
            f'row, usage="[-1, 1, {name}, [256]]", or, if it does not take maps (B, C, H, W), add it to BY_HAND in '
            "tests/nn/registry.py"
        )
    sources = row[0][:HEAD_LEVELS] if "ch" in registered()[name].signature else row[0]
    return [sources, row[1], name, row[3]]


class Example:
    """One module in evaluation mode, away from its start, with inputs of any size."""

    def __init__(self, name):
        torch.manual_seed(0)
        row, call = example_row(name), BY_HAND.get(name, Call(()))
        self.channels, self.volumes = call.channels, call.dimensions == 5
        self.levels = 0  # of a list of maps; 0: one map
        if row is None:
            self.module = registered()[name].cls(*call.arguments)
        else:
            self.levels = len(row[0]) if isinstance(row[0], list) else 0
            self.module = _layer(row)
        _leave_the_start(self.module)
        self.module.eval()
        if isinstance(self.module, Detect):
            self.module.training = True  # only this flag: raw maps, without decoding, which test_head.py tests

    def inputs(self, height, width, batch=2, seed=1):
        """What the module takes: a map, a volume of a few slices, or a list of maps, each half as large as the last."""
        torch.manual_seed(seed)
        if self.volumes:
            return torch.randn(batch, self.channels, 1 + height % 3, height, width)
        sizes = [(math.ceil(height / 2**i), math.ceil(width / 2**i)) for i in range(max(self.levels, 1))]
        maps = [torch.randn(batch, self.channels, *size) for size in sizes]
        return maps if self.levels else maps[0]


def each(function, x):
    """`function` of a tensor or of every tensor in a list."""
    return [function(t) for t in x] if isinstance(x, list) else function(x)


def listed(x):
    """A tensor or a list as a list."""
    return x if isinstance(x, list) else [x]


def _layer(row):
    """The module of one row; the rows before it only hand CHANNELS channels on."""
    sources = row[0] if isinstance(row[0], list) else [row[0]]
    content = {
        "nc": 3,
        "scale": "n",
        "scales": {"n": [0.34, 1.0, CHANNELS]},  # three repeats become one, any width CHANNELS
        "backbone": [[-1, 1, "nn.Identity", []] for _ in sources],
        "head": [[list(range(len(sources))) if isinstance(row[0], list) else -1, *row[1:]]],
    }
    return parse_model(content, CHANNELS, verbose=False)[0][-1]


@torch.no_grad()
def _leave_the_start(m):
    # many modules begin as something simpler: offsets of 0, silent branches, statistics of 0 and 1
    for p in m.parameters():
        if p.requires_grad:  # not Detect's fixed numbers
            p.add_(torch.randn_like(p) * 0.3 / (p[0].numel() if p.dim() > 1 else 4) ** 0.5)
    for name, b in m.named_buffers():
        if name.endswith("running_mean"):
            b.normal_(0, 0.2)
        if name.endswith("running_var"):
            b.uniform_(0.5, 2)
