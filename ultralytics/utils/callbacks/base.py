"""As `ultralytics.utils.callbacks`: the path of the default callbacks that scripts of 8.3.0 name in full."""

from __future__ import annotations

from ultralytics.utils.official_names import official_names

__getattr__ = official_names(__name__)
