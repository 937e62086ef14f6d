"""What a run leaves behind while it goes on: settings, history, results.csv; every file is replaced whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ultralytics.utils.files import atomic_write, yaml_save


class RunDir:
    """The run's folder and its history, one row an epoch.

    Attributes:
        save_dir: the run's folder.
        history: column name -> values, one an epoch; the columns of results.csv.
    """

    def __init__(self, save_dir: Path, history: dict[str, list[float]] | None = None) -> None:
        self.save_dir = save_dir
        self.weights = save_dir / "weights"
        self.last, self.best = self.weights / "last.pt", self.weights / "best.pt"
        self.csv = save_dir / "results.csv"
        self.history: dict[str, list[float]] = {key: list(values) for key, values in (history or {}).items()}

    def start(self, settings: dict[str, Any]) -> None:
        """Make the folder and write args.yaml."""
        self.weights.mkdir(parents=True, exist_ok=True)
        for half_written in self.weights.glob(".*.tmp"):  # a killed run leaves at most one, beside the whole files
            half_written.unlink()
        yaml_save(self.save_dir / "args.yaml", settings)

    def add(self, row: dict[str, float]) -> None:
        """Append one epoch and rewrite results.csv."""
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        text = io.StringIO()
        # the fixed columns of 8.3.0: 23 characters, right aligned, so that a person can read the file as it is
        text.write(",".join(f"{name:>23}" for name in self.history) + "\n")
        for values in zip(*self.history.values(), strict=True):
            text.write(",".join(f"{value:23.5g}" for value in values) + "\n")
        with atomic_write(self.csv) as file:
            file.write(text.getvalue().encode())

    @property
    def epochs(self) -> int:
        """Epochs recorded so far."""
        return len(next(iter(self.history.values()), []))
