"""The table of modes: what the package can do with a model, and which options each mode requires."""

from __future__ import annotations

from dataclasses import dataclass

from ultralytics.utils.suggest import did_you_mean


@dataclass(frozen=True)
class Mode:
    """One row of the table.

    Attributes:
        name: what users write as `mode=`, and the name of the method of YOLO.
        summary: its line in the help text.
        requires: options without which the mode cannot start.
    """

    name: str
    summary: str
    requires: tuple[str, ...]


MODES: dict[str, Mode] = {
    mode.name: mode
    for mode in (
        Mode("train", "train a model on labeled images", ("model", "data")),
        Mode("val", "validate a trained model", ("model",)),
        Mode("predict", "run a trained model on images", ("model", "source")),
    )
}
# modes of 8.3.0 that have no row yet: they are values of the option mode=, so that the error can say they are missing
OFFICIAL_MODES = ("train", "val", "predict", "export", "track", "benchmark")


def get_mode(name: str) -> Mode:
    """The row of a mode.

    Raises:
        ValueError: this version has no such mode.
    """
    if name not in MODES:
        hint = "" if name in OFFICIAL_MODES else did_you_mean(name, MODES)
        raise ValueError(f"the mode '{name}' is not part of this version; available: {', '.join(MODES)}{hint}")
    return MODES[name]
