"""What a checkpoint says about its network: class, model file, weights, names; the same for every file format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ultralytics.nn.checkpoint.activation import recorded_activation
from ultralytics.nn.checkpoint.pickled_types import CheckpointError, PickledObject
from ultralytics.tasks import TASKS, task_of_model_class

INTERFACE = (8, 3, 0)  # the version of ultralytics whose networks this package has
MAX_DESCRIPTION = 100_000  # values in the description of a network, or in the settings of its training
MAX_MODULES = 20_000  # in a recorded network; the largest official one has about 1000
MAX_NAME = 1_000  # characters of a weight's name
_OTHER_NETWORKS = {  # network classes of ultralytics outside the table of tasks
    "RTDETRDetectionModel": "an RT-DETR network",
    "WorldModel": "a YOLO-World network",
    "YOLOEModel": "a YOLOE network",
    "YOLOv10DetectionModel": "a YOLOv10 network",
}


@dataclass
class NetworkDescription:
    """The description of the network in a file.

    Attributes:
        path: of the file.
        model_class: class name of the network.
        content: of its model file.
        state: its weights.
        names: class names as recorded; anything.
        version: version of ultralytics that wrote the file, "" if it is not recorded.
        layer_classes: dotted class names of the layers by number, as far as they are recorded.
        batch_norm: by name of a batch normalization its recorded (epsilon, momentum); anything. Those that are not
            recorded have the settings of the network's class.
        tree: the recorded network, None in a file without one.
        is_own: whether this package wrote the file.
    """

    path: Path
    model_class: str
    content: dict[str, Any]
    state: dict[str, Tensor]
    names: object
    version: str
    layer_classes: dict[int, str]
    batch_norm: dict[str, object] = field(default_factory=dict)
    tree: PickledObject | None = None
    is_own: bool = False

    @classmethod
    def from_pickle(cls, path: Path, content: dict[Any, Any]) -> NetworkDescription:
        """Of the content of a .pt file.

        Raises:
            CheckpointError: it holds no network that this version has.
        """
        node = content.get("ema") or content.get("model")
        if not isinstance(node, PickledObject):
            raise CheckpointError(f"{path} holds no network under 'ema' or 'model', but {_summary(content)}")
        name = node.path.rpartition(".")[2]
        if name not in _model_classes():
            raise CheckpointError(f"{path} holds {_describe(name, node.path)}; this version reads {_known()}")
        recorded = vars(node)
        structure, float32 = recorded.get("yaml"), content.get("float32")
        check_size(path, structure, content.get("version"))
        if not isinstance(structure, dict):
            raise CheckpointError(f"{path}: the network has no description of its layers ('yaml')")
        is_own = isinstance(float32, dict)
        state = float32 if isinstance(float32, dict) else tree_state_dict(node)
        structure = deepcopy(structure)
        if not structure.get("activation") and (activation := recorded_activation(node)):
            structure["activation"] = activation
        version, layers, norms = str(content.get("version") or ""), _layer_classes(node), _batch_norm(node)
        return cls(path, name, structure, state, recorded.get("names"), version, layers, norms, node, is_own)

    @classmethod
    def from_safetensors(cls, path: Path, state: dict[str, Tensor], content: dict[str, Any]) -> NetworkDescription:
        """Of the content of a .safetensors file.

        Raises:
            CheckpointError: it holds no network that this version has.
        """
        name, structure = content.get("network"), content.get("yaml")
        if name not in _model_classes() or not isinstance(structure, dict):
            raise CheckpointError(f"{path} describes a network of class {name!s:.60}; this version reads {_known()}")
        norms = content.get("batch_norm")
        norms = norms if isinstance(norms, dict) else {}
        return cls(path, name, structure, state, content.get("names"), str(content.get("version")), {}, norms)

    @property
    def version_note(self) -> str:
        """For errors: that a later version of ultralytics wrote the file; otherwise ""."""
        numbers = tuple(int(x) for x in re.findall(r"\d+", self.version.partition("+")[0])[:3])
        if numbers <= INTERFACE:
            return ""
        interface = ".".join(map(str, INTERFACE))
        return f" The file was written by ultralytics {self.version}; this package has the networks of {interface}."


def check_size(path: Path, *values: object) -> None:
    """Refuse nested lists whose full size is far beyond any network's: a small file can refer to a list many times.

    Raises:
        CheckpointError: there are more than MAX_DESCRIPTION values.
    """
    todo = list(values)
    for _ in range(MAX_DESCRIPTION):
        if not todo:
            return
        value = todo.pop()
        if isinstance(value, dict):
            todo += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            todo += value
        if len(todo) > MAX_DESCRIPTION:
            break
    raise CheckpointError(f"{path}: its description has more than {MAX_DESCRIPTION} values; refused")


def _model_classes() -> list[str]:
    return [task.model_class for task in TASKS.values()]


def _known() -> str:
    return ", ".join(_model_classes())


def _describe(name: str, dotted: str) -> str:
    task = task_of_model_class(name)
    description = task.description if task else _OTHER_NETWORKS.get(name)
    return f"{description} ({dotted})" if description else f"a {dotted}"


def _summary(content: dict[Any, Any]) -> str:
    inner = content.get("ema") or content.get("model")
    content = inner if isinstance(inner, dict) else content
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return "a bare state_dict: build the network from its model file, then torch.load and load_state_dict"
    return f"the keys {', '.join(map(str, content))}"


def tree_state_dict(network: PickledObject) -> dict[str, Tensor]:
    """state_dict of a recorded module, from the three private tables of nn.Module."""
    state: dict[str, Tensor] = {}
    for prefix, node in _named_modules(network):
        attributes = vars(node)
        skip = attributes.get("_non_persistent_buffers_set", set())
        for table in ("_parameters", "_buffers"):
            for name, tensor in attributes.get(table, {}).items():
                if isinstance(tensor, Tensor) and name not in skip:
                    state[prefix + name] = tensor.detach()
    return state


def _batch_norm(network: PickledObject) -> dict[str, object]:
    """(epsilon, momentum) of every recorded batch normalization by name."""
    return {
        prefix.rstrip("."): (vars(node).get("eps"), vars(node).get("momentum"))
        for prefix, node in _named_modules(network)
        if node.path.endswith(".BatchNorm2d")
    }


def _named_modules(network: PickledObject) -> Iterator[tuple[str, PickledObject]]:
    """A recorded module and all modules inside it, with the prefix of the names of their tensors."""
    todo = [("", network)]
    for _ in range(MAX_MODULES):
        prefix, node = todo.pop()
        yield prefix, node
        children = vars(node).get("_modules", {}).items()
        todo += [(f"{prefix}{name}.", child) for name, child in children if isinstance(child, PickledObject)]
        if not todo:
            return
        if len(prefix) > MAX_NAME or len(todo) > MAX_MODULES:
            break
    raise ValueError(f"it has more than {MAX_MODULES} modules, or a module that contains itself; refused")


def _layer_classes(node: PickledObject) -> dict[int, str]:
    layers = vars(node).get("_modules", {}).get("model")
    table = vars(layers).get("_modules", {}) if isinstance(layers, PickledObject) else {}
    classes = {}
    for name, layer in table.items():
        if not isinstance(layer, PickledObject):
            continue
        # a repeated row is a Sequential of equal modules
        children = vars(layer).get("_modules", {}) if layer.path.endswith(".Sequential") else {}
        inner = next((child for child in children.values() if isinstance(child, PickledObject)), layer)
        classes[int(name)] = inner.path
    return classes
