"""Code that users attach to the modules of a network: forward hooks, and methods replaced on one object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.utils import prune

_FORWARD = ("_forward_hooks", "_forward_pre_hooks")
# tables of torch that belong to hooks, by id of the hook
_HOOKS = (
    *_FORWARD, "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called",
    "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip


def changes_forward(m: nn.Module) -> bool:
    """Whether a module has forward hooks (beside those of torch.nn.utils.prune), or a method of its own."""
    attributes = vars(m)
    hooks = [hook for table in _FORWARD for hook in attributes[table].values()]
    if any(not isinstance(hook, prune.BasePruningMethod) for hook in hooks):
        return True
    return bool(_replaced_methods(m))


def remove_user_code(model: nn.Module) -> int:
    """Remove all hooks and replaced methods, in place; returns the number of modules that had any."""
    changed = 0
    for m in model.modules():
        replaced = _replaced_methods(m)
        for name in replaced:
            del vars(m)[name]
        count = len(replaced)
        for table in _HOOKS:
            hooks = vars(m).get(table, {})
            for key in [key for key, hook in hooks.items() if not isinstance(hook, prune.BasePruningMethod)]:
                del hooks[key]
                count += 1
        changed += bool(count)
    return changed


def _replaced_methods(m: nn.Module) -> list[str]:
    return [name for name, value in vars(m).items() if callable(value) and _is_replaced(m, name, value)]


def _is_replaced(m: nn.Module, name: str, value: Callable[..., Any]) -> bool:
    if isinstance(value, type | nn.Module) or not callable(getattr(type(m), name, None)):
        return False
    return value != getattr(m, "forward_fuse", None)  # fusing replaces forward by another method of the same object
