"""Training of a network that was edited after it was built: it is trained as it is, not built anew."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ultralytics.nn import module_tree
from ultralytics.nn.base import BaseModel
from ultralytics.nn.fuse import unfused_copy
from ultralytics.nn.transfer.channel_mapping import has_class_names
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import max_stride


def keep_edits(network: BaseModel, rebuilt: nn.Module, names: Mapping[int, str], pretrained: object) -> nn.Module:
    """The network that is trained: `rebuilt`, or a copy of `network` if that differs from its model file.

    Args:
        network: the user's; not changed.
        rebuilt: made from the same model file for the classes of the data, with all weights that are given.
        names: classes of the data.
        pretrained: the option: False for new weights, or the file that the weights come from.

    Raises:
        ValueError: the edits exclude new weights, or a head for other classes.
    """
    plain = unfused_copy(network) if network.is_fused() else network
    reference: nn.Module = rebuilt
    same_head = getattr(rebuilt, "yaml", None) == network.yaml
    if not same_head or type(rebuilt) is not type(network):
        with torch.random.fork_rng(devices=[]):  # its random weights are not used
            reference = network.new_like()
    edits = module_tree.differences(plain, reference)
    if not edits or not isinstance(rebuilt, BaseModel):
        return rebuilt
    listed = module_tree.summary(edits)
    if pretrained is False:
        raise ValueError(
            f"pretrained=False builds the network anew, without the edits that it has ({listed}); leave it out to "
            "train the network as it is"
        )
    LOGGER.info(f"The network was edited after it was built, and is trained as it is: {listed}")
    trained = unfused_copy(network)
    if isinstance(pretrained, str):
        trained.load(rebuilt)
    if (has_class_names(network) and dict(network.names) != dict(names)) or not same_head:
        _replace_head(trained, rebuilt, edits, names)
    return trained


def _replace_head(trained: BaseModel, rebuilt: BaseModel, edits: list[str], names: Mapping[int, str]) -> None:
    """Give an edited network the head for other classes."""
    last = len(rebuilt.model) - 1
    own = [edit for edit in edits if edit.startswith(f"model.{last}.")]
    trained.model[-1] = rebuilt.model[-1]
    trained.yaml = dict(rebuilt.yaml)
    reason = f"its head was edited ({module_tree.summary(own)})" if own else _problem(trained)
    if reason:
        raise ValueError(
            f"the network was edited and cannot be trained on the {len(names)} classes of the data: {reason}. Edit a "
            "network that was trained on these classes, or built for them with nc in its model file"
        )


def _problem(network: BaseModel) -> str:
    side = 2 * max_stride(network)
    parameter = next(network.parameters())
    image = torch.zeros(1, int(network.yaml.get("ch", 3)), side, side, device=parameter.device)
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(image)
    except RuntimeError as e:
        return f"a new head does not fit its layers: {str(e).splitlines()[0]}"
    finally:
        network.train(training)
    return ""
