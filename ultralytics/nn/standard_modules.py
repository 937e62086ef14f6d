"""Registers the standard blocks that do not register themselves yet; a `@register` above a class replaces its line."""

from __future__ import annotations

from ultralytics.nn import modules
from ultralytics.nn.registry import register

_SIGNATURES = {
    "c1, c2, *args": "Conv DWConv GhostConv Bottleneck GhostBottleneck SPP SPPF PSA",
    "c1, c2, n, *args": "C1 C2 C2f C2PSA C2fPSA C3 C3Ghost C3k C3k2",
    "*args": "Concat",
    "*args, ch, legacy": "Detect",
}
for _signature, _names in _SIGNATURES.items():
    for _name in _names.split():
        register(_signature)(getattr(modules, _name))
