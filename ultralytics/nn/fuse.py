"""Changes to the layers of a built network: settings, activation, merging of normalizations into convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

from ultralytics.nn.modules.block import RepVGGDW
from ultralytics.nn.modules.conv import Conv, Conv2, ConvTranspose, RepConv
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import copy_module

N = TypeVar("N", bound=nn.Module)

BN_EPS, BN_MOMENTUM = 1e-3, 0.03  # of every network of the family but classification; see `BaseModel.batch_norm`
_UNFUSED = "_unfused"  # attribute of a fused layer: its children before they were merged, by name
_MERGED = (Conv2, RepConv, RepVGGDW)  # their branches are merged
_FUSABLE = (Conv, ConvTranspose, *_MERGED)
# their backward pass needs the result only; SiLU is not among them, because autograd copies its input first
_IN_PLACE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU)


def initialize_weights(model: nn.Module, eps: float = BN_EPS, momentum: float = BN_MOMENTUM) -> None:
    """Set epsilon and momentum of batch normalizations; make activations work in place where that saves memory."""
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eps, m.momentum = eps, momentum
        elif isinstance(m, _IN_PLACE):
            m.inplace = True


def set_activation(model: nn.Module, activation: nn.Module) -> None:
    """Set `activation` (one shared instance) in every Conv of `model` that has the default one."""
    for m in model.modules():
        if isinstance(m, Conv) and m.act is Conv.default_act:
            m.act = activation


def fuse_layers(model: nn.Module, keep: bool = True) -> None:
    """Merge branches and normalizations into convolutions, in place; the network is then for inference only.

    Args:
        model: the layers.
        keep: remember the layers before merging, so that `unfused_copy` can restore them exactly.
    """
    in_place = nn.SiLU(inplace=True)  # 5 to 10 % faster on a CPU; no gradient needs its input any more
    for m in model.modules():  # a branch is merged before the iteration reaches the layers inside it
        before = dict(m._modules)
        if keep and isinstance(m, _MERGED) and is_unmerged(m):  # merging changes the layers of the branches
            before = {name: deepcopy(child) for name, child in before.items()}
        if isinstance(m, RepVGGDW) and is_unmerged(m):
            m.fuse()
        elif isinstance(m, RepConv | Conv2) and is_unmerged(m):
            m.fuse_convs()
        elif isinstance(m, ConvTranspose) and isinstance(m.bn, nn.BatchNorm2d):
            m.conv_transpose = fuse_deconv_and_bn(m.conv_transpose, m.bn)
            m.bn = nn.Identity()
        if isinstance(m, Conv) and hasattr(m, "bn"):
            if type(m.act) is nn.SiLU:
                m.act = in_place
            m.conv = fuse_conv_and_bn(m.conv, m.bn)
            del m.bn
            vars(m)["forward"] = m.forward_fuse  # of this instance only
        if keep and m._modules != before and _UNFUSED not in vars(m) and isinstance(m, _FUSABLE):
            vars(m)[_UNFUSED] = before


def is_unmerged(m: nn.Module) -> bool:
    """Whether a layer with branches still has them."""
    return m._modules.get("cv2" if isinstance(m, Conv2) else "conv1") is not None


def forget_unfused(model: nn.Module) -> None:
    """Drop what `fuse_layers` remembered, in place."""
    for m in model.modules():
        vars(m).pop(_UNFUSED, None)


def unfused_copy(model: N) -> N:
    """A copy of a network with normalizations of their own, which can be trained.

    Layers that `fuse` has merged are restored. Where it is not known what they were, as in the file of a fused network,
    or where the merged weights were changed since, a convolution gets a new normalization that computes the same in
    evaluation mode; a warning says so.

    Raises:
        ValueError: a layer with merged branches cannot be restored.
    """
    network = copy_module(model)
    new = 0
    for m in list(network.modules()):
        before = vars(m).pop(_UNFUSED, None)
        if before is not None and _gives(m, before):
            _restore(m, before)
        elif isinstance(m, _MERGED) and not is_unmerged(m):
            raise ValueError(f"the branches of a {type(m).__name__} were merged and cannot be separated again")
        elif isinstance(m, Conv) and not hasattr(m, "bn"):
            m.conv, m.bn = _without_bias(m.conv)
            vars(m).pop("forward", None)
            new += 1
    if new:
        LOGGER.warning(
            f"the network is fused: {new} convolutions get new normalizations. It computes the same as before, but "
            "training it starts worse than from the file of the network before fuse()"
        )
    return network.requires_grad_(True)


def _restore(m: nn.Module, before: Mapping[str, nn.Module | None]) -> None:
    like = next(m.parameters())
    vars(m).pop("forward", None)
    m._modules.clear()
    for name, child in before.items():
        m.add_module(name, None if child is None else child.to(like.device, like.dtype).train(m.training))


def _gives(m: nn.Module, before: Mapping[str, nn.Module | None]) -> bool:
    """Whether merging the layers `before` gives the present weights: nobody changed them since."""
    again = deepcopy(m)
    _restore(again, {name: deepcopy(child) for name, child in before.items()})
    fuse_layers(again, keep=False)
    present, merged = m.state_dict(), again.state_dict()
    return present.keys() == merged.keys() and all(
        torch.allclose(present[key].float(), merged[key].float(), rtol=1e-2, atol=1e-5) for key in present
    )


@torch.no_grad()
def _without_bias(conv: nn.Conv2d) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution without bias, and a normalization after it that adds the bias in evaluation mode."""
    bn = nn.BatchNorm2d(conv.out_channels, eps=BN_EPS, momentum=BN_MOMENTUM).to(conv.weight.device, conv.weight.dtype)
    bn.weight.fill_((1 + BN_EPS) ** 0.5)
    if conv.bias is not None:
        bn.bias.copy_(conv.bias)
        conv.bias = None
    return conv, bn.train(conv.training)


def is_fused(model: nn.Module) -> bool:
    """Whether no convolution layer of `model` has a normalization of its own."""
    return not any(
        (isinstance(m, Conv) and hasattr(m, "bn"))
        or (isinstance(m, ConvTranspose) and isinstance(m.bn, nn.BatchNorm2d))
        for m in model.modules()
    )


@torch.no_grad()
def fuse_conv_and_bn(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution with bias that computes `conv` followed by `bn` in evaluation mode, without gradients.

    Args:
        conv: any dtype and memory format, which the result keeps.
        bn: with statistics and affine parameters.
    """
    assert bn.running_var is not None and bn.running_mean is not None, "a Conv's normalization has statistics"
    weight = conv.weight
    scale = bn.weight.float() / torch.sqrt(bn.running_var.float() + bn.eps)
    conv_bias = torch.zeros_like(bn.running_mean) if conv.bias is None else conv.bias
    bias = bn.bias.float() + (conv_bias.float() - bn.running_mean.float()) * scale
    merged = (weight.float() * scale[:, None, None, None]).to(weight.dtype)
    fused = _with_bias(conv)
    fused.weight = nn.Parameter(merged.contiguous(memory_format=_memory_format(weight)), requires_grad=False)
    fused.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)
    return fused.train(conv.training)


def _with_bias(conv: nn.Conv2d) -> nn.Conv2d:
    """A convolution of the same shape with bias; on the meta device, because its values are replaced."""
    return nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        _pair(conv.kernel_size),
        _pair(conv.stride),
        conv.padding if isinstance(conv.padding, str) else _pair(conv.padding),
        _pair(conv.dilation),
        conv.groups,
        bias=True,
        padding_mode=conv.padding_mode,
        device="meta",
    ).requires_grad_(False)


@torch.no_grad()
def fuse_deconv_and_bn(deconv: nn.ConvTranspose2d, bn: nn.BatchNorm2d) -> nn.ConvTranspose2d:
    """One transposed convolution with bias that computes what `deconv` and then `bn` compute in eval mode."""
    assert bn.running_mean is not None and bn.running_var is not None, "BatchNorm2d keeps running statistics"
    fused = deepcopy(deconv).requires_grad_(False)
    scale = bn.weight.float() / torch.sqrt(bn.running_var.float() + bn.eps)
    before = torch.zeros_like(scale) if deconv.bias is None else deconv.bias.float()
    grouped = deconv.weight.float().unflatten(0, (deconv.groups, -1))  # (groups, c1 / groups, c2 / groups, k, k)
    weight = (grouped * scale.reshape(deconv.groups, 1, -1, 1, 1)).flatten(0, 1)
    fused.weight = nn.Parameter(weight.to(deconv.weight.dtype), requires_grad=False)
    bias = bn.bias.float() + (before - bn.running_mean.float()) * scale
    fused.bias = nn.Parameter(bias.to(deconv.weight.dtype), requires_grad=False)
    return fused


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return values[0], values[1]


def _memory_format(weight: torch.Tensor) -> torch.memory_format:
    return torch.contiguous_format if weight.is_contiguous() else torch.channels_last
