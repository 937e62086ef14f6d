"""Builds a network from the description in a checkpoint; the description may be hostile."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ultralytics.nn import module_tree
from ultralytics.nn.base import BaseModel
from ultralytics.nn.checkpoint.description import NetworkDescription, check_size, tree_state_dict
from ultralytics.nn.checkpoint.pickled_types import CheckpointError
from ultralytics.nn.fuse import fuse_layers
from ultralytics.nn.model_file import ModelFileError
from ultralytics.nn.parser import is_known_module
from ultralytics.tasks import task_of_model_class
from ultralytics.utils import LOGGER
from ultralytics.version import FULL_VERSION

# class branch of YOLOv8 as published, and of YOLO11
_CLASS_BRANCH = re.compile(r"model\.\d+\.cv3\.0\.0\.(0\.)?conv\.weight")
_LEGACY_CLASS_BRANCH = re.compile(r"model\.\d+\.cv3\.0\.0\.conv\.weight")
# a head may build a branch and then replace it, and a fused network has no normalizations
PARAMETER_FACTOR, PARAMETER_MARGIN = 4, 1_000_000


def rebuild_network(description: NetworkDescription) -> tuple[BaseModel, list[str]]:
    """The described network with its weights, in float32 and evaluation mode, and how it differs from its model file.

    Raises:
        CheckpointError: a module is unknown, or weights and description do not fit each other.
    """
    path, content, state = description.path, description.content, description.state
    check_size(path, content, description.names)
    _check_modules(description)
    _check_storage(description)
    task = task_of_model_class(description.model_class)
    assert task is not None, "descriptions of other classes are refused"
    if any(_CLASS_BRANCH.fullmatch(key) for key in state):  # the keys tell which branch it is, not the model file
        content["legacy"] = any(_LEGACY_CLASS_BRANCH.fullmatch(key) for key in state)
    try:
        with _parameter_limit(PARAMETER_FACTOR * sum(v.numel() for v in state.values()) + PARAMETER_MARGIN):
            network: BaseModel = task.load("model")(content, ch=int(content.get("ch", 3)), verbose=False)
        if _is_fused(state):
            fuse_layers(network, keep=False)  # its weights are replaced below
        if not description.is_own:  # in files of other programs these settings are no edits
            _set_batch_norm(description, network)
        edits = _restore_tree(description, network)
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except (ModelFileError, MemoryError, RuntimeError, ValueError) as e:
        problem = f"{path}: the weights do not fit the network that the file describes: {e}"
        raise CheckpointError(problem + description.version_note) from e
    _set_batch_norm(description, network)
    network.names = _class_names(description, network)
    return network.eval(), edits


def _restore_tree(description: NetworkDescription, network: BaseModel) -> list[str]:
    """Change a network to the recorded one where that was edited after it was built; returns what was edited."""
    tree, path = description.tree, description.path
    if tree is None:
        return []
    shapes = [{k: v.shape for k, v in state.items()} for state in (network.state_dict(), description.state)]
    fits = shapes[0] == shapes[1]
    if not fits and description.version_note:  # a later version has other layers under the same names
        return []
    leaves_only = fits and not description.is_own  # other programs have other attributes in their blocks
    try:
        edits = module_tree.differences(tree, network, leaves_only)
        if edits:
            _check_shared_storage(path, tree_state_dict(tree))
            module_tree.restore(tree, network, leaves_only)
            if _is_list_of_int(save := vars(tree).get("save")):
                network.save = list(save)
    except module_tree.ModuleTreeError as e:
        if not fits or (description.is_own and description.version == FULL_VERSION):
            raise
        LOGGER.warning(f"{path}: the network is built from its model file only, because it cannot be restored: {e}")
        return []
    if edits:
        LOGGER.warning(f"{path}: the network was edited and is restored as it was: {module_tree.summary(edits)}")
    return edits


def _check_shared_storage(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse many tensors over the same numbers: each would become a copy of its own."""
    storages = {v.untyped_storage().data_ptr(): v.untyped_storage().nbytes() for v in state.values()}
    needed = sum(v.numel() * v.element_size() for v in state.values())
    if needed > PARAMETER_FACTOR * sum(storages.values()) + PARAMETER_MARGIN:
        raise CheckpointError(f"{path}: its tensors are together far larger than the file; refused")


def _is_list_of_int(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(i) is int for i in value)


def _set_batch_norm(description: NetworkDescription, network: BaseModel) -> None:
    """Epsilon and momentum as recorded: classification networks of different origin have different ones."""
    modules = dict(network.named_modules())
    for name, values in description.batch_norm.items():
        module = modules.get(name)
        if not isinstance(module, nn.BatchNorm2d):
            continue  # of a branch that fusing has merged
        eps, momentum = values if isinstance(values, (tuple, list)) and len(values) == 2 else (None, None)
        if not (_is_share(eps) and eps > 0 and (momentum is None or _is_share(momentum))):
            raise CheckpointError(
                f"{description.path}: the batch normalization {name} has the epsilon and momentum {values!s:.60}; "
                "expected numbers in 0..1"
            )
        module.eps, module.momentum = eps, momentum


def _is_share(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and 0 <= value <= 1


def _is_fused(state: Mapping[str, Tensor]) -> bool:
    """Whether no convolution block has a normalization of its own."""
    blocks = [key.removesuffix(".bn.weight") for key in state if key.endswith(".bn.weight")]
    # torch.nn.utils.prune splits a weight into two
    return not any(f"{block}.conv.{name}" in state for block in blocks for name in ("weight", "weight_orig"))


def _check_storage(description: NetworkDescription) -> None:
    # stride 0 could make a file of a few bytes ask for terabytes
    for name, tensor in description.state.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{description.path}: the tensor {name} is larger than what the file holds; refused")


def _class_names(description: NetworkDescription, network: BaseModel) -> dict[int, str]:
    """A name for every class of the network; its number where the file has none."""
    recorded = dict(enumerate(description.names)) if isinstance(description.names, list) else description.names
    if not isinstance(recorded, Mapping):
        return network.names
    names = {int(k): str(v) for k, v in recorded.items()}
    numbers = range(getattr(network.model[-1], "nc", None) or network.yaml.get("nc") or len(names))
    if names.keys() != set(numbers):
        LOGGER.warning(
            f"{description.path} names {len(names)} classes, its network has {len(numbers)}; "
            "missing names are replaced by numbers"
        )
    return {i: names.get(i, str(i)) for i in numbers}


def _check_modules(description: NetworkDescription) -> None:
    """Every module that a row names must be known here."""
    content, path = description.content, description.path
    for i, row in enumerate([*content.get("backbone", []), *content.get("head", [])]):
        name = row[2] if isinstance(row, (list, tuple)) and len(row) == 4 else None
        if not isinstance(name, str) or is_known_module(name):
            continue
        dotted = description.layer_classes.get(i, "")
        module, _, cls = dotted.rpartition(".")
        if module.startswith("ultralytics."):
            problem = f"layer {i} is a {name} ({dotted}), which this version does not have."
            raise CheckpointError(f"{path}: {problem}{description.version_note}")
        where = f" (class {cls} of {module})" if module else ""
        first = f"import {module}" if module not in ("", "__main__") else "run the script that defines it"
        raise CheckpointError(
            f"{path}: layer {i} is a {name}{where}, a module that is not registered here. Before loading, {first}"
            f'; its class needs @register("c1, c2, *args") (from ultralytics import register).'
        )


@contextmanager
def _parameter_limit(limit: int) -> Iterator[None]:
    """Stop building a network with more than `limit` parameters before they take memory.

    PyTorch calls the hook when a parameter is registered, and a layer initializes its parameters after that.
    """
    thread, total = threading.get_ident(), 0

    def count(_module: nn.Module, _name: str, parameter: Tensor | None) -> None:
        nonlocal total
        if parameter is not None and threading.get_ident() == thread:
            total += parameter.numel()
            if total > limit:
                raise CheckpointError("the description asks for far more weights than the file holds; refused")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
