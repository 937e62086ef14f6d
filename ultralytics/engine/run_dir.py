"""Folder of a training run: settings, history and results.csv; every file is replaced whole."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ultralytics.utils.files import atomic_write, missing_parents, remove_empty_dirs, yaml_save

CSV_WIDTH = 23  # characters per column: the fixed columns of 8.3.0, which are readable as they are


class RunDir:
    """The run's folder and its history, one row per epoch.

    Attributes:
        save_dir: the run's folder.
        weights: folder of the checkpoints.
        last, best: paths of last.pt and best.pt.
        csv: path of results.csv.
        history: column name -> values, one per epoch; the columns of results.csv.
    """

    def __init__(
        self, save_dir: Path, history: Mapping[str, list[float]] | None = None, new_parents: Sequence[Path] = ()
    ) -> None:
        """Name the files of a run.

        Args:
            save_dir: the run's folder.
            history: of a run that continues.
            new_parents: folders above it that were made with it, innermost first; `discard` removes them too.
        """
        self.save_dir = save_dir
        self.weights = save_dir / "weights"
        self.last, self.best = self.weights / "last.pt", self.weights / "best.pt"
        self.csv = save_dir / "results.csv"
        self.history: dict[str, list[float]] = {key: list(values) for key, values in (history or {}).items()}
        self._new_parents = list(new_parents)
        self._created: list[Path] = []  # folders that did not exist or were empty, innermost first

    def start(self, settings: Mapping[str, object]) -> None:
        """Make the folder and write args.yaml."""
        is_new = not self.save_dir.exists() or not any(self.save_dir.iterdir())
        parents = self._new_parents or missing_parents(self.save_dir)
        self._created = [self.weights, self.save_dir, *parents] if is_new else []
        self.weights.mkdir(parents=True, exist_ok=True)
        for unfinished in self.weights.glob(".*.tmp"):  # left by a killed run, beside the complete files
            unfinished.unlink()
        yaml_save(self.save_dir / "args.yaml", settings)

    def discard(self) -> None:
        """Remove what `start` made, if the run did not begin; files of an earlier run are kept."""
        if not self._created:
            return
        for file in (self.save_dir / "args.yaml", *self.save_dir.glob("labels*.jpg")):
            file.unlink(missing_ok=True)
        remove_empty_dirs(self._created)
        self._created = []

    def add(self, row: Mapping[str, float]) -> None:
        """Append one epoch and rewrite results.csv."""
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        text = io.StringIO()
        text.write(",".join(f"{name:>{CSV_WIDTH}}" for name in self.history) + "\n")
        for values in zip(*self.history.values(), strict=True):
            text.write(",".join(f"{value:{CSV_WIDTH}.5g}" for value in values) + "\n")
        with atomic_write(self.csv) as file:
            file.write(text.getvalue().encode())

    @property
    def epochs(self) -> int:
        """Epochs recorded so far."""
        return len(next(iter(self.history.values()), []))
