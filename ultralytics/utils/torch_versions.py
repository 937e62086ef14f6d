"""Whether torch and torchvision are at least a version, under the names of 8.3.0; a dependency here makes all true."""

from __future__ import annotations

TORCH_1_9 = TORCH_1_10 = TORCH_1_13 = TORCH_2_0 = TORCH_2_4 = True  # pyproject.toml requires torch 2.4
TORCHVISION_0_10 = TORCHVISION_0_11 = TORCHVISION_0_13 = TORCHVISION_0_18 = True  # and torchvision 0.19
