"""Data, from the user's folder to batches: dataset_config, images, labels -> dataset with augment -> loader."""

from __future__ import annotations

from ultralytics.utils.official_names import official_names

__getattr__ = official_names(__name__)
