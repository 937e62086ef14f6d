"""The standard blocks, under the names that model files and official checkpoints use."""

from ultralytics.nn.modules.block import (
    C1,
    C2,
    C2PSA,
    C3,
    DFL,
    PSA,
    SPP,
    SPPF,
    Attention,
    Bottleneck,
    C2f,
    C2fPSA,
    C3Ghost,
    C3k,
    C3k2,
    GhostBottleneck,
    PSABlock,
)
from ultralytics.nn.modules.conv import Concat, Conv, DWConv, GhostConv
from ultralytics.nn.modules.head import Detect

__all__ = [
    "C1",
    "C2",
    "C2PSA",
    "C3",
    "DFL",
    "PSA",
    "SPP",
    "SPPF",
    "Attention",
    "Bottleneck",
    "C2f",
    "C2fPSA",
    "C3Ghost",
    "C3k",
    "C3k2",
    "Concat",
    "Conv",
    "DWConv",
    "Detect",
    "GhostBottleneck",
    "GhostConv",
    "PSABlock",
]
