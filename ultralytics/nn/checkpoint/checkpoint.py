"""Network <-> file: checkpoints are written whole or not at all, and read without running anything that they contain.

Layout of a .pt file (the one of 8.3.0; a dict in a torch zip archive):
    epoch            int, 0-based index of the finished epoch; -1 once training is over
    best_fitness     float | None
    model, ema       the averaged network as a half-precision module: `ema` while training goes on, `model` afterwards
    updates          int | None, steps of the moving average
    optimizer        state_dict | None
    train_args       dict, every setting of the run
    train_metrics    dict, metrics and validation losses of the epoch, and `fitness`
    train_results    dict of lists, the columns of results.csv
    date, version, license, docs
and two keys of our own, which other readers ignore:
    float32          state_dict of that network in full precision: what is loaded here, so that a file validates to the
                     figures that training printed
    resume           what an interrupted run needs to go on as if nothing had happened; None once training is over

Reading (see unpickle.py) runs nothing from the file: the network is built anew by `parse_model` from the description
that the file holds, and takes over the weights. Files of the kind .safetensors hold the same without a pickle.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ultralytics.nn.checkpoint import safetensors_file
from ultralytics.nn.checkpoint.unpickle import CheckpointError, PickledObject, read_safely
from ultralytics.nn.model_file import ModelFileError
from ultralytics.nn.parser import is_known_module
from ultralytics.nn.tasks import MODEL_CLASSES, BaseModel
from ultralytics.utils import LOGGER, IterableSimpleNamespace
from ultralytics.utils.files import atomic_write
from ultralytics.utils.torch_utils import unwrap
from ultralytics.version import __version__

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "copy_checkpoint",
    "load_checkpoint",
    "read_safely",
    "save_checkpoint",
    "strip_checkpoint",
]

LICENSE = "AGPL-3.0-or-later"
DOCS = "README.md and docs/ of this distribution"
INTERFACE = (8, 3, 0)  # the version of ultralytics whose networks this distribution has
MAX_DESCRIPTION = 100_000  # values in the description of a network, or in the settings of its training
MAX_MODULES = 20_000  # in a recorded network; the largest official one has some 1000
MAX_NAME = 1_000  # characters of a weight's name
_HISTORY = ("train_metrics", "train_results")
# what records raise that are not what they should be
_BROKEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_WHAT = {  # networks that a file may hold and that this version has not, in words
    "SegmentationModel": "a segmentation network",
    "PoseModel": "a network for pose estimation",
    "OBBModel": "a network for oriented boxes",
    "ClassificationModel": "a classification network",
    "RTDETRDetectionModel": "an RT-DETR network",
    "WorldModel": "a YOLO-World network",
    "YOLOEModel": "a YOLOE network",
    "YOLOv10DetectionModel": "a YOLOv10 network",
}


@dataclass
class Checkpoint:
    """A checkpoint in memory: the network in float32 and evaluation mode, and the rest of the file."""

    path: Path
    network: BaseModel
    train_args: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)  # the other keys of the file

    @property
    def can_resume(self) -> bool:
        """True while the run that wrote the file had epochs left."""
        return self.content.get("resume") is not None


def save_checkpoint(path: str | Path, network: nn.Module, *, finished: bool, **content: Any) -> None:
    """Write a checkpoint; after a crash at any moment the file is the old one or the new one.

    Args:
        path: target; its folder exists. The suffix .safetensors gives a file without pickle (finished networks only).
        network: the (averaged) network; copied, not changed.
        finished: True for the file of an ended training, which holds the network as `model` instead of `ema`.
        content: further keys of the layout above.
    """
    plain: Any = unwrap(network)
    if Path(path).suffix == safetensors_file.SUFFIX:
        return _save_description(path, plain, finished, content)
    half = _portable(plain).half()
    record: dict[str, Any] = {
        "epoch": -1,
        "best_fitness": None,
        "model": half if finished else None,
        "ema": None if finished else half,
        "updates": None,
        "optimizer": None,
        "train_args": {},
        "train_metrics": {},
        "train_results": {},
        "date": datetime.now().isoformat(),
        "version": __version__,
        "license": LICENSE,
        "docs": DOCS,
        "float32": {key: value.detach().cpu() for key, value in plain.state_dict().items()},
        "resume": None,
    }
    unknown = content.keys() - record.keys()
    if unknown:
        raise KeyError(f"a checkpoint has no key {sorted(unknown)}")
    with _written_whole(path) as file:
        torch.save(record | content, file)
    return None


def copy_checkpoint(source: str | Path, target: str | Path) -> None:
    """The same checkpoint under another name, as safely as `save_checkpoint` writes it."""
    with Path(source).open("rb") as old, _written_whole(target) as new:
        shutil.copyfileobj(old, new)


@contextmanager
def _written_whole(path: str | Path) -> Iterator[IO[bytes]]:
    try:
        with atomic_write(path) as file:
            yield file
    except (OSError, RuntimeError) as e:  # torch's writer turns a full disk into a RuntimeError about positions
        raise OSError(f"{path} could not be written: {e}. Is the disk full? A file that was there is untouched.") from e


def strip_checkpoint(path: str | Path, **updates: Any) -> None:
    """Turn the file of a running training into the file of an ended one: network and history, no optimiser."""
    old = load_checkpoint(path)
    keep = {key: old.content.get(key) for key in (*_HISTORY, "date")}
    save_checkpoint(path, old.network, finished=True, train_args=old.train_args, **{**keep, **updates})


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this distribution or of 8.0 to 8.3 and build its network.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, asks for code to be run, or holds something else than a known network.
    """
    path = Path(path)
    try:
        found, content = _read(path)
        network = _build(found)
    except CheckpointError:
        raise
    except _BROKEN as e:
        raise CheckpointError(f"{path} is damaged, its network cannot be built: {e}") from e
    train_args = content.get("train_args")
    train_args = dict(train_args) if isinstance(train_args, dict) else {}
    _check_size(path, train_args)
    network.named = bool(train_args.get("data"))  # training gives a network the names of its data
    known = {"ema", "model", "float32", "train_args", "network", "yaml", "names", "format"}
    rest = {k: v for k, v in content.items() if k not in known}
    return Checkpoint(path, network, train_args, rest)


def _read(path: Path) -> tuple[_Found, dict[str, Any]]:
    """What a file says of its network, and all that it holds."""
    if path.suffix == safetensors_file.SUFFIX:
        state, content = safetensors_file.read(path)
        return _Found.described(path, state, content), content
    content = read_safely(path)
    if not isinstance(content, dict):
        content = {"model": content}
    return _Found.pickled(path, content), content


def _save_description(path: str | Path, network: Any, finished: bool, content: dict[str, Any]) -> None:
    if not finished:
        raise ValueError(f"{path}: a training that goes on is kept in a .pt file; .safetensors holds finished networks")
    kept = {key: content.get(key, {}) for key in ("train_args", *_HISTORY)}
    described = {
        "network": type(network).__name__,
        "yaml": network.yaml,
        "names": network.names,
        "version": __version__,
        "date": content.get("date") or datetime.now().isoformat(),
        "license": LICENSE,
    }
    safetensors_file.write(path, network.state_dict(), described | kept)


def _portable(network: nn.Module) -> nn.Module:
    """Copy of a network on the CPU without loss object and settings object, so that every reader can unpickle it."""
    criterion = network.__dict__.pop("criterion", None)  # not copied: it holds the assigner's buffers
    try:
        copy: Any = deepcopy(network).cpu().eval()
    finally:
        if criterion is not None:
            network.criterion = criterion
    copy.criterion = None
    settings = getattr(copy, "args", None)
    if isinstance(settings, IterableSimpleNamespace):
        copy.args = dict(settings)
    for parameter in copy.parameters():
        parameter.requires_grad_(False)
    return copy


# ---------------------------------------------------------------------------------------- from a file to a network


@dataclass
class _Found:
    """What a file says of its network, whatever its kind."""

    path: Path
    kind: str  # class name
    structure: dict[str, Any]
    state: dict[str, Tensor]
    names: Any
    version: str
    classes: dict[int, str]  # dotted class names of the layers by number, as far as the file tells

    @classmethod
    def pickled(cls, path: Path, content: dict[Any, Any]) -> _Found:
        """Of the contents of a .pt file."""
        node = content.get("ema") or content.get("model")
        if not isinstance(node, PickledObject):
            raise CheckpointError(f"{path} holds no network under 'ema' or 'model', but {_summary(content)}")
        kind = node.path.rpartition(".")[2]
        if kind not in MODEL_CLASSES:
            what = f"{_WHAT[kind]} ({node.path})" if kind in _WHAT else f"a {node.path}"
            raise CheckpointError(f"{path} holds {what}; this version reads {', '.join(MODEL_CLASSES)}")
        recorded = vars(node)
        structure, float32 = recorded.get("yaml"), content.get("float32")
        _check_size(path, structure, content.get("version"))
        if not isinstance(structure, dict):
            raise CheckpointError(f"{path}: the network carries no description of its layers ('yaml')")
        state = float32 if isinstance(float32, dict) else _tensors(node)
        version = str(content.get("version") or "")
        return cls(path, kind, deepcopy(structure), state, recorded.get("names"), version, _classes(node))

    @classmethod
    def described(cls, path: Path, state: dict[str, Tensor], text: dict[str, Any]) -> _Found:
        """Of the contents of a .safetensors file."""
        kind, structure = text.get("network"), text.get("yaml")
        if kind not in MODEL_CLASSES or not isinstance(structure, dict):
            raise CheckpointError(
                f"{path} describes a network of the kind {kind!s:.60}; this version reads {', '.join(MODEL_CLASSES)}"
            )
        return cls(path, kind, structure, state, text.get("names"), str(text.get("version")), {})

    def remark(self) -> str:
        """For errors: that a version wrote the file which knows more than this one."""
        numbers = tuple(int(x) for x in re.findall(r"\d+", self.version.partition("+")[0])[:3])
        if numbers <= INTERFACE:
            return ""
        here = ".".join(map(str, INTERFACE))
        return f" The file was written by ultralytics {self.version}; this distribution has the networks of {here}."


def _summary(content: dict[Any, Any]) -> str:
    inner = content.get("ema") or content.get("model")
    content = inner if isinstance(inner, dict) else content
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return "a bare state_dict: build the network from its model file, then torch.load and load_state_dict"
    return f"the keys {', '.join(map(str, content))}"


def _tensors(network: PickledObject) -> dict[str, Tensor]:
    """state_dict of a recorded module: what nn.Module keeps in its three private tables."""
    found: dict[str, Tensor] = {}
    todo = [("", network)]
    for _ in range(MAX_MODULES):
        prefix, node = todo.pop()
        own = vars(node)
        skip = own.get("_non_persistent_buffers_set", set())
        for table in ("_parameters", "_buffers"):
            for name, tensor in own.get(table, {}).items():
                if isinstance(tensor, Tensor) and name not in skip:
                    found[prefix + name] = tensor.detach()
        todo += [
            (f"{prefix}{k}.", child) for k, child in own.get("_modules", {}).items() if isinstance(child, PickledObject)
        ]
        if not todo:
            return found
        if len(prefix) > MAX_NAME or len(todo) > MAX_MODULES:
            break
    raise ValueError("it has more modules than any, or one that holds itself; refused")


def _check_size(path: Path, *values: Any) -> None:
    """Lists that hold the same list twice, and so on, stand in a small file for more than any memory holds."""
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


def _classes(node: PickledObject) -> dict[int, str]:
    layers = vars(node).get("_modules", {}).get("model")
    table = vars(layers).get("_modules", {}) if isinstance(layers, PickledObject) else {}
    found = {}
    for name, layer in table.items():
        if not isinstance(layer, PickledObject):
            continue
        # a row with repeats is a Sequential of equal modules
        inner = vars(layer).get("_modules", {}) if layer.path.endswith(".Sequential") else {}
        found[int(name)] = next(iter(inner.values()), layer).path
    return found


@contextmanager
def _no_larger_than(limit: int) -> Iterator[None]:
    """Stop the building of a network whose description asks for more parameters than `limit`, before they take memory.

    Torch calls the hook when a parameter is registered, and a layer fills its parameters after that.
    """
    mine, total = threading.get_ident(), 0

    def count(_module: nn.Module, _name: str, parameter: Tensor | None) -> None:
        nonlocal total
        if parameter is not None and threading.get_ident() == mine:
            total += parameter.numel()
            if total > limit:
                raise CheckpointError("the description asks for far more weights than the file holds; refused")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _build(found: _Found) -> BaseModel:
    _check_size(found.path, found.structure, found.names)
    _check_modules(found)
    structure, state = found.structure, found.state
    # stride 0 could make a file of some bytes ask for terabytes
    grown = [k for k, v in state.items() if v.numel() * v.element_size() > v.untyped_storage().nbytes()]
    if grown:
        raise CheckpointError(f"{found.path}: the tensor {grown[0]} is larger than what the file holds; refused")
    if any(re.fullmatch(r"model\.\d+\.cv3\.0\.0\.(0\.)?conv\.weight", key) for key in state):
        # YOLOv8's published class branch, or the one of 8.3.0: the keys tell, whatever the description says
        structure["legacy"] = any(re.fullmatch(r"model\.\d+\.cv3\.0\.0\.conv\.weight", key) for key in state)
    try:
        # a head may build a branch that it then replaces, and a fused network lacks its normalisations
        with _no_larger_than(4 * sum(v.numel() for v in state.values()) + 1_000_000):
            network = MODEL_CLASSES[found.kind](structure, ch=int(structure.get("ch", 3)), verbose=False)
        if not any(key.endswith(".bn.weight") for key in state):
            network.fuse(verbose=False)
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except (ModelFileError, MemoryError, RuntimeError, ValueError) as e:
        problem = f"{found.path}: the weights do not fit the network that the file describes: {e}"
        raise CheckpointError(problem + found.remark()) from e
    network.names = _names(found, network)
    return network.eval()


def _names(found: _Found, network: Any) -> dict[int, str]:
    """A name for every class that the network has; its number where the file has none."""
    given = dict(enumerate(found.names)) if isinstance(found.names, list) else found.names
    if not isinstance(given, Mapping):
        return network.names
    names = {int(k): str(v) for k, v in given.items()}
    numbers = range(getattr(network.model[-1], "nc", len(names)))
    if names.keys() != set(numbers):
        LOGGER.warning(f"{found.path} names {len(names)} classes, its network has {len(numbers)}: numbers stand in")
    return {i: names.get(i, str(i)) for i in numbers}


def _check_modules(found: _Found) -> None:
    """Every module that a row names must be known here."""
    rows = [*found.structure.get("backbone", []), *found.structure.get("head", [])]
    for i, row in enumerate(rows):
        name = row[2] if isinstance(row, (list, tuple)) and len(row) == 4 else None
        if not isinstance(name, str) or is_known_module(name):
            continue
        dotted = found.classes.get(i, "")
        module, _, cls = dotted.rpartition(".")
        if module.startswith("ultralytics."):
            raise CheckpointError(
                f"{found.path}: layer {i} is a {name} ({dotted}), which this version does not have.{found.remark()}"
            )
        where = f" (class {cls} of {module})" if module else ""
        first = f"import {module}" if module not in ("", "__main__") else "run the script that defines it"
        raise CheckpointError(
            f"{found.path}: layer {i} is a {name}{where}, a module that is not registered here. Before loading, {first}"
            f'; above its class stands @register("c1, c2, *args") (from ultralytics import register).'
        )
