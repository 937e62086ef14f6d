"""Compares a tree of modules with the one that a model file gives, and rebuilds it without calling constructors.

The tree is that of a network in memory, or the one that a checkpoint records (records of class instances, with the
same attributes). Only classes from an allow-list are made: those of torch.nn, of this package, registered ones, and
those of the network from the model file. They get tensors and plain values, nothing else; methods are never replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from ultralytics.nn.registry import lookup

MAX_MODULES, MAX_DEPTH = 20_000, 100  # the largest official network has about 1000 modules, 10 levels deep
MAX_LISTED = 5  # differences in a message
# attributes without effect on what a layer computes
_NO_EFFECT = {
    "training", "inplace", "type", "np", "export", "format", "dynamic", "shape", "anchors", "strides", "forward",
    "_unfused", "total_ops", "total_params",
}  # fmt: skip
_TABLES = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
_OF_TORCH = set(vars(nn.Module())) - _TABLES
_PLAIN = (bool, int, float, str, type(None))


class ModuleTreeError(ValueError):
    """A tree cannot be rebuilt: a class is not allowed, an attribute is not plain, or the tree has no end."""


def differences(tree: object, network: nn.Module, leaves_only: bool = False) -> list[str]:
    """How `tree` differs from `network`, one text each, such as "model.3.conv.dilation is (2, 2), not (1, 1)".

    Args:
        tree: a module, or the record of one.
        network: what the model file gives; not changed.
        leaves_only: compare only layers of torch.nn: other programs have other attributes in their blocks.
    """
    walk = _Walk(network, change=False, leaves_only=leaves_only)
    walk.visit(tree, network, "")
    return walk.found


def restore(tree: object, network: nn.Module, leaves_only: bool = False) -> list[str]:
    """Change `network` to what `tree` is, without the values of tensors of equal shape; returns the differences.

    Raises:
        ModuleTreeError: the tree cannot be rebuilt.
    """
    walk = _Walk(network, change=True, leaves_only=leaves_only)
    walk.visit(tree, network, "")
    return walk.found


def summary(found: list[str]) -> str:
    """The first differences and the number of the others, for a message."""
    more = f" and {len(found) - MAX_LISTED} more differences" if len(found) > MAX_LISTED else ""
    return "; ".join(found[:MAX_LISTED]) + more


class _Walk:
    """One pass over a tree beside the network of the model file."""

    def __init__(self, network: nn.Module, *, change: bool, leaves_only: bool) -> None:
        self.found: list[str] = []
        self._change, self._leaves_only = change, leaves_only
        self._classes = {type(m).__name__: type(m) for m in network.modules()}
        self._count = 0

    def visit(self, node: Any, built: nn.Module | None, path: str) -> nn.Module | None:
        """The module that belongs at `path`: `built`, changed if need be, or a new one."""
        self._count += 1
        if self._count > MAX_MODULES or path.count(".") > MAX_DEPTH:
            raise ModuleTreeError(f"more than {MAX_MODULES} modules, or a module that contains itself; refused")
        name = _dotted(node).rpartition(".")[2]
        if built is None or type(built).__name__ != name:
            if self._leaves_only and not _both_of_torch(node, built):
                return built
            before = "nothing" if built is None else type(built).__name__
            self.found.append(f"{path} is {name}, not {before}")
            return self._new(node, built, path) if self._change else built
        is_network = not path
        if not is_network and (not self._leaves_only or _both_of_torch(node, built)):
            self._attributes(node, built, path)
        self._tensors(node, built, path)
        self._children(node, built, path)
        return built

    def _attributes(self, node: Any, built: nn.Module, path: str) -> None:
        own = vars(built)
        for key, value in vars(node).items():
            if (
                not _is_setting(type(built), key)
                or not _is_plain(value)
                or f"{key}_orig" in _table(node, "_parameters")
            ):
                continue
            if key not in own and self._leaves_only:
                continue
            if key in own and (not _is_plain(own[key]) or _equal(own[key], value)):
                continue
            self.found.append(f"{path}.{key} is {_shown(value)}, not {_shown(own.get(key))}")
            if self._change:
                own[key] = _like(value, own.get(key))

    def _tensors(self, node: Any, built: nn.Module, path: str) -> None:
        before, after = _shapes(built), _shapes(node)
        if self._leaves_only or before == after:
            return
        changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        prefix = f"{path}." if path else ""
        self.found += [f"{prefix}{key} is {_size(after.get(key))}, not {_size(before.get(key))}" for key in changed]
        if self._change:
            _set_tensors(built, node)

    def _children(self, node: Any, built: nn.Module, path: str) -> None:
        children = _table(node, "_modules")
        if not self._leaves_only and list(children) != list(built._modules):
            self.found.append(f"{path or 'the network'} has the layers {', '.join(map(str, children))}")
        prefix = f"{path}." if path else ""
        visited = {
            key: None if child is None else self.visit(child, built._modules.get(key), f"{prefix}{key}")
            for key, child in children.items()
            if not self._leaves_only or built._modules.get(key) is not None
        }
        if not self._change:
            return
        if self._leaves_only:
            visited = {key: visited.get(key, child) for key, child in built._modules.items()}
        if list(visited.items()) != list(built._modules.items()):
            built._modules.clear()
            built._modules.update(visited)

    def _new(self, node: Any, wrapped: nn.Module | None, path: str) -> nn.Module:
        """A module of the class of `node`, made without its constructor."""
        cls = self._allowed_class(_dotted(node), path)
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        for key, value in vars(node).items():
            if not _is_setting(cls, key) and key not in ("inplace", "type", "np"):
                continue
            if not _is_plain(value):
                raise ModuleTreeError(f"{path}.{key} of a {cls.__name__} is neither a number, a text nor a tensor")
            vars(module)[key] = value.detach() if isinstance(value, Tensor) else value
        _set_tensors(module, node)
        for key, child in _table(node, "_modules").items():
            # a layer that was wrapped in another one has its counterpart in the layer from the model file
            inner = (
                wrapped if child is not None and _dotted(child).rpartition(".")[2] == type(wrapped).__name__ else None
            )
            module._modules[key] = None if child is None else self._silent_visit(child, inner, f"{path}.{key}")
        return module

    def _silent_visit(self, node: Any, built: nn.Module | None, path: str) -> nn.Module | None:
        """As `visit`; what is inside a new module is not listed one by one."""
        known = len(self.found)
        module = self.visit(node, built, path)
        del self.found[known:]
        return module

    def _allowed_class(self, dotted: str, path: str) -> type[nn.Module]:
        module, _, name = dotted.rpartition(".")
        candidates: list[object] = [self._classes.get(name)]
        if module.startswith("torch.nn.modules"):
            candidates.insert(0, getattr(nn, name, None))
        elif module.startswith("ultralytics.nn."):
            candidates.append(getattr(sys.modules.get(module), name, None))
        entry = lookup(name)
        candidates.append(entry.cls if entry else None)
        for cls in candidates:
            if isinstance(cls, type) and issubclass(cls, nn.Module) and cls.__name__ == name:
                return cls
        raise ModuleTreeError(f"{path} is a {dotted}, a module that is neither part of torch.nn nor registered here")


def _dotted(node: Any) -> str:
    """Dotted class name of a module, or of the class that a record stands for."""
    if isinstance(node, nn.Module):
        return f"{type(node).__module__}.{type(node).__qualname__}"
    return str(getattr(node, "path", type(node).__name__))


def _table(node: Any, name: str) -> Mapping[str, Any]:
    table = vars(node).get(name)
    return table if isinstance(table, dict) and all(isinstance(key, str) for key in table) else {}


def _both_of_torch(node: Any, built: nn.Module | None) -> bool:
    return built is not None and all(_dotted(x).startswith("torch.nn.modules") for x in (node, built))


def _is_setting(cls: type, key: object) -> bool:
    """Whether an attribute may be set: it is no table of torch, no method, and has an effect."""
    if not isinstance(key, str) or key in _NO_EFFECT or key in _OF_TORCH or key in _TABLES or key.startswith("__"):
        return False
    inherited = getattr(cls, key, None)
    return not (callable(inherited) or isinstance(inherited, property))


def _is_plain(value: object, depth: int = 0) -> bool:
    if isinstance(value, Tensor):
        return depth == 0
    if type(value) in (list, tuple, set, torch.Size) and depth < 4:
        items: Iterable[object] = value  # type: ignore[assignment]
        return all(_is_plain(item, depth + 1) for item in items)
    if type(value) is dict and depth < 4:
        return all(_is_plain(part, depth + 1) for item in value.items() for part in item)
    return isinstance(value, _PLAIN)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        both = isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape
        return both and torch.equal(a.detach().cpu().float(), b.detach().cpu().float())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return list(a) == list(b)
    return bool(a == b)


def _like(value: Any, before: Any) -> Any:
    """The value in the container type of the one before; lists are copied."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, list | tuple):
        return (
            tuple(value)
            if isinstance(before, tuple)
            else list(value)
            if isinstance(before, list)
            else type(value)(value)
        )
    return value


def _shapes(node: Any) -> dict[str, tuple[int, ...]]:
    """Sizes of the parameters and persistent buffers by name."""
    skip = vars(node).get("_non_persistent_buffers_set") or ()
    tensors = {**_table(node, "_parameters"), **_table(node, "_buffers")}
    return {k: tuple(t.shape) for k, t in tensors.items() if isinstance(t, Tensor) and k not in skip}


def _set_tensors(module: nn.Module, node: Any) -> None:
    """Give `module` parameters and buffers of the shapes and values of `node`."""
    skip = {name for name in vars(node).get("_non_persistent_buffers_set") or () if isinstance(name, str)}
    module._parameters.clear()
    for name, tensor in _table(node, "_parameters").items():
        value = tensor.detach().clone() if isinstance(tensor, Tensor) else None
        module._parameters[name] = None if value is None else nn.Parameter(_full(value))
        vars(module).pop(name, None)
    for name, tensor in _table(node, "_buffers").items():
        module._buffers[name] = _full(tensor.detach().clone()) if isinstance(tensor, Tensor) else None
        vars(module).pop(name, None)
    missing = set(module._buffers) - set(_table(node, "_buffers")) - module._non_persistent_buffers_set
    for name in missing:
        del module._buffers[name]
    module._non_persistent_buffers_set |= skip
    _apply_masks(module)


def _full(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _apply_masks(module: nn.Module) -> None:
    """Restore what torch.nn.utils.prune does before every forward of a layer with `weight_orig` and `weight_mask`."""
    for name in [key.removesuffix("_mask") for key in module._buffers if key.endswith("_mask")]:
        weight, mask = module._parameters.get(f"{name}_orig"), module._buffers[f"{name}_mask"]
        if weight is None or mask is None or weight.shape != mask.shape:
            continue
        del module._parameters[f"{name}_orig"], module._buffers[f"{name}_mask"]
        vars(module).pop(name, None)
        module.register_parameter(name, weight)
        prune.custom_from_mask(module, name, mask)


def _size(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "×".join(map(str, shape)) or "a number"


def _shown(value: object) -> str:
    text = f"a tensor {_size(tuple(value.shape))}" if isinstance(value, Tensor) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
