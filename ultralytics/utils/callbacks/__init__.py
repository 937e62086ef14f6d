"""The official path of the default callbacks, which engine/official_callbacks.py defines."""

from __future__ import annotations

from ultralytics.utils.official_names import official_names

__getattr__ = official_names(__name__)
