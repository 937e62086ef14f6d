"""The progress bar `TQDM` of 8.3.0: tqdm with its bar format, hidden if the package is not verbose."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from ultralytics.utils import is_verbose
from ultralytics.utils.console import TQDM_BAR_FORMAT


class TQDM(tqdm):
    """A tqdm bar; its arguments are those of tqdm."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["disable"] = not is_verbose() or kwargs.get("disable", False)
        kwargs.setdefault("bar_format", TQDM_BAR_FORMAT)
        super().__init__(*args, **kwargs)
