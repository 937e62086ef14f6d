"""Files in which the modules have an activation that the model file does not name, as 8.3.0 writes after a YOLOv6."""

from __future__ import annotations

import pytest
import torch
import yaml
from torch import nn

from ultralytics.nn.checkpoint import load_checkpoint, save_checkpoint
from ultralytics.nn.modules import Conv
from ultralytics.nn.tasks import DetectionModel


def activations(network: nn.Module) -> set[str]:
    return {str(m.act) for m in network.modules() if isinstance(m, Conv) and not isinstance(m.act, nn.Identity)}


@pytest.mark.parametrize(
    ("activation", "restored"),
    [
        ("nn.ReLU()", "nn.ReLU()"),
        ("nn.LeakyReLU(0.1)", "nn.LeakyReLU(negative_slope=0.1)"),
        ("nn.Hardswish()", "nn.Hardswish()"),
        ("nn.SiLU()", None),
        ("", None),
    ],
)
def test_the_activation_of_the_modules_is_restored(activation, restored, tiny_model_text, tmp_path):
    content = yaml.safe_load(tiny_model_text) | ({"activation": activation} if activation else {})
    torch.manual_seed(0)
    network = DetectionModel(content, verbose=False).eval()
    expected = activations(network)
    network.yaml.pop("activation", None)
    save_checkpoint(tmp_path / "a.pt", network, finished=True)
    loaded = load_checkpoint(tmp_path / "a.pt").network
    assert loaded.yaml.get("activation") == restored
    assert activations(loaded) == expected
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded(x)[0], network(x)[0])
    assert activations(loaded.new_like()) == expected  # as a training from this file builds it


def test_an_activation_that_the_model_file_names_is_kept(tiny_model_text, tmp_path):
    network = DetectionModel(yaml.safe_load(tiny_model_text) | {"activation": "nn.ReLU6()"}, verbose=False)
    save_checkpoint(tmp_path / "a.pt", network, finished=True)
    assert load_checkpoint(tmp_path / "a.pt").network.yaml["activation"] == "nn.ReLU6()"
