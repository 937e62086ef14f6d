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

Reading rebuilds tensors, containers, numbers and texts. Every class instance in the file becomes an inert record of its
attributes, from which the network is built anew by `parse_model`; any function outside the lists below is refused.
"""

from __future__ import annotations

import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

import ultralytics
from ultralytics.nn.tasks import MODEL_CLASSES, BaseModel
from ultralytics.utils import IterableSimpleNamespace
from ultralytics.utils.files import atomic_write
from ultralytics.utils.torch_utils import unwrap

LICENSE = "AGPL-3.0-or-later"
DOCS = "README.md and docs/ of this distribution"


class CheckpointError(ValueError):
    """A checkpoint cannot be read: what was found in it and what would be right."""


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
        path: target; its folder exists.
        network: the (averaged) network; copied, not changed.
        finished: True for the file of an ended training, which holds the network as `model` instead of `ema`.
        content: further keys of the layout above.
    """
    plain = unwrap(network)
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
        "version": ultralytics.__version__,
        "license": LICENSE,
        "docs": DOCS,
        "float32": {key: value.detach().cpu() for key, value in plain.state_dict().items()},
        "resume": None,
    }
    unknown = content.keys() - record.keys()
    if unknown:
        raise KeyError(f"a checkpoint has no key {sorted(unknown)}")
    with atomic_write(path) as file:
        torch.save(record | content, file)


def strip_checkpoint(path: str | Path, **updates: Any) -> None:
    """Turn the file of a running training into the file of an ended one: network and history, no optimiser."""
    old = load_checkpoint(path)
    keep = {key: old.content.get(key) for key in ("train_metrics", "train_results", "date")}
    save_checkpoint(path, old.network, finished=True, train_args=old.train_args, **{**keep, **updates})


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this distribution or of 8.0 to 8.3 and build its network.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, asks for code to be run, or holds something else than a known network.
    """
    path = Path(path)
    content = read_safely(path)
    if not isinstance(content, dict):
        content = {"model": content}
    node = content.get("ema") or content.get("model")
    if not isinstance(node, Inert):
        raise CheckpointError(
            f"{path} holds no network under 'ema' or 'model' (its keys: {', '.join(map(str, content))})"
        )
    network = _rebuild(node, content.get("float32"), path)
    train_args = content.get("train_args")
    rest = {k: v for k, v in content.items() if k not in ("ema", "model", "float32", "train_args")}
    return Checkpoint(path, network, dict(train_args) if isinstance(train_args, dict) else {}, rest)


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


# ------------------------------------------------------------------------------------------------- safe reading


class Inert:
    """What stands for a class instance in a file: its dotted name and its attributes; it can do nothing."""

    path = ""

    def __new__(cls, *args: object) -> Inert:
        if args:  # only functions and exotic classes are called with arguments
            raise CheckpointError(f"the file asks to call {cls.path}, which is refused: a checkpoint must not run code")
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update(part)


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise CheckpointError(f"the file asks for the codec '{encoding}', which is refused")
    return text.encode("latin1")


def _path_text(*parts: str) -> str:
    return "/".join(parts).replace("//", "/")


def _numpy(name: str) -> Any:
    import numpy as np

    # numpy 1 and 2 keep the same function at different paths
    return np.dtype if name == "dtype" else np.float64(0).__reduce__()[0]


_REAL = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "slice"): slice,
    ("__builtin__", "set"): set,
    ("_codecs", "encode"): _latin1,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda data, requires_grad, hooks, state: data,
}
_NUMPY = {("numpy", "dtype"), ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")}
_PATHS = {"PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"}


class _SafeUnpickler(pickle.Unpickler):
    """Rebuilds data and inert records only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _REAL:
            return _REAL[module, name]
        if (module, name) in _NUMPY:
            return _numpy(name)
        if module in ("pathlib", "pathlib._local") and name in _PATHS:
            return _path_text
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        top = module.partition(".")[0]
        standard = top in sys.stdlib_module_names and top != "__main__"
        if standard or (top == "torch" and not module.startswith("torch.nn.modules")):
            raise CheckpointError(f"the file names {module}.{name}, which is refused: a checkpoint must not run code")
        if top == "models":
            raise CheckpointError(
                f"the file names {module}.{name}: it is a YOLOv5 checkpoint. This distribution reads checkpoints of "
                "YOLOv8 and YOLO11; export the YOLOv5 weights again with a version that writes those."
            )
        return type(name, (Inert,), {"path": f"{module}.{name}"})


def read_safely(path: str | Path) -> Any:
    """Contents of a torch archive: tensors on the CPU, containers, plain values and `Inert` records.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is not a whole torch archive, or names something that could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is not a whole torch checkpoint (cut off while copying?); get the file again")
    with zipfile.ZipFile(path) as archive:
        packed = [i.filename for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED]
    if packed:  # torch never compresses; a small file could otherwise unpack to any size
        raise CheckpointError(f"{path} holds compressed parts such as {packed[0]}, which torch does not write; refused")
    reader = SimpleNamespace(Unpickler=_SafeUnpickler, __name__=__name__)
    try:
        return torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    except CheckpointError as e:
        raise CheckpointError(f"{path}: {e}") from None
    except (RuntimeError, EOFError, KeyError, AttributeError, TypeError, pickle.UnpicklingError) as e:
        raise CheckpointError(f"{path} cannot be read as a torch checkpoint: {e}") from e


def _tensors(node: Inert, prefix: str = "") -> dict[str, Tensor]:
    """state_dict of a recorded module: what nn.Module keeps in its three private tables."""
    own = vars(node)
    found: dict[str, Tensor] = {}
    skip = own.get("_non_persistent_buffers_set", set())
    for table in ("_parameters", "_buffers"):
        for name, tensor in own.get(table, {}).items():
            if isinstance(tensor, Tensor) and name not in skip:
                found[prefix + name] = tensor.detach()
    for name, child in own.get("_modules", {}).items():
        if isinstance(child, Inert):
            found |= _tensors(child, f"{prefix}{name}.")
    return found


def _rebuild(node: Inert, float32: dict[str, Tensor] | None, path: Path) -> BaseModel:
    kind = node.path.rpartition(".")[2]
    if kind not in MODEL_CLASSES:
        raise CheckpointError(f"{path} holds a {node.path}; this version reads {', '.join(MODEL_CLASSES)}")
    recorded = vars(node)
    structure = recorded.get("yaml")
    if not isinstance(structure, dict):
        raise CheckpointError(f"{path}: the network carries no description of its layers ('yaml')")
    state = _tensors(node)
    structure = deepcopy(structure)
    if any(re.fullmatch(r"model\.\d+\.cv3\.0\.0\.(0\.)?conv\.weight", key) for key in state):
        # YOLOv8's published class branch, or the one of 8.3.0: the keys tell, whatever the description says
        structure["legacy"] = any(re.fullmatch(r"model\.\d+\.cv3\.0\.0\.conv\.weight", key) for key in state)
    network = MODEL_CLASSES[kind](structure, ch=int(structure.get("ch", 3)), verbose=False)
    state = {key: value.float() if value.is_floating_point() else value for key, value in (float32 or state).items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as e:
        raise CheckpointError(f"{path}: the weights do not fit the network that the file describes: {e}") from e
    if isinstance(recorded.get("names"), dict):
        network.names = {int(k): str(v) for k, v in recorded["names"].items()}
    elif isinstance(recorded.get("names"), list):
        network.names = dict(enumerate(map(str, recorded["names"])))
    return network.eval()
