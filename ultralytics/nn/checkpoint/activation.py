"""The activation that the modules in a .pt file have, where the model file in it does not name one.

In 8.3.0 the `activation` of a model file stays the default of the whole process, so a network built after a YOLOv6 has
ReLU although its own model file does not say so.
"""

from __future__ import annotations

import inspect

from torch import nn

from ultralytics.nn.checkpoint.pickled_types import PickledObject

MAX_MODULES_SEARCHED = 20_000  # the largest official network has about 1000
_TORCH = "torch.nn.modules.activation."
_DEFAULT = "SiLU"


def recorded_activation(network: PickledObject) -> str | None:
    """The `activation` line of a model file, such as nn.ReLU(), for a recorded network.

    Args:
        network: the record.

    Returns:
        None if the convolution blocks have the default one, or not all the same: a single layer was edited then.
    """
    lines: set[str | None] = set()
    todo = [network]
    for _ in range(MAX_MODULES_SEARCHED):
        if not todo:
            return lines.pop() if len(lines) == 1 else None
        node = todo.pop()
        children = vars(node).get("_modules")
        if not isinstance(children, dict):
            continue
        act = children.get("act") if node.path.endswith("conv.Conv") else None
        if isinstance(act, PickledObject) and act.path.startswith(_TORCH):  # torch's Identity is not
            name = act.path.removeprefix(_TORCH)
            lines.add(None if name == _DEFAULT else _line(name, act))
        todo += [child for child in reversed(children.values()) if isinstance(child, PickledObject)]
    return None


def _line(name: str, record: PickledObject) -> str | None:
    cls = getattr(nn, name, None)
    if not isinstance(cls, type):
        return None
    values = {}
    for parameter in inspect.signature(cls).parameters.values():
        value = vars(record).get(parameter.name)
        # `inplace` is no property of the function; it is chosen when a network is built
        if type(value) in (bool, int, float) and value != parameter.default and parameter.name != "inplace":
            values[parameter.name] = value
    return f"nn.{name}({', '.join(f'{key}={value!r}' for key, value in values.items())})"
