"""metrics.json: everything that a run measured, and with what, in a form that programs read.

docs/reference/metrics-json.md describes the fields; it is kept in step with `MetricsFile`.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, TypedDict, cast

import numpy as np
import torch
from torch import nn

from ultralytics.engine.evaluator import ClassResult, EvalResult
from ultralytics.engine.fingerprint import SplitFacts
from ultralytics.engine.protocols import Settings
from ultralytics.utils.files import atomic_write
from ultralytics.utils.printable import printable_values
from ultralytics.utils.torch_utils import unwrap
from ultralytics.version import __version__

FILE_NAME = "metrics.json"
SCHEMA_VERSION = 1


class MetricsFileError(ValueError):
    """A metrics.json cannot be read."""


class ClassFigures(TypedDict):
    """Figures of one class."""

    index: int
    name: str
    images: int
    instances: int
    metrics: dict[str, float | None]


class DataFacts(TypedDict):
    """The data of the run."""

    file: str | None
    names: dict[str, str]
    splits: dict[str, SplitFacts]


class TrainingFacts(TypedDict):
    """The course of a training."""

    epochs: int
    start_epoch: int
    best_epoch: int
    stopped_early: bool


class MetricsFile(TypedDict):
    """Content of metrics.json."""

    schema_version: int
    mode: Literal["train", "val"]
    task: str
    model: str
    architecture: str | None
    parameters: int
    seed: int
    versions: dict[str, str]
    device: dict[str, str]
    finished: str
    duration_s: float
    data: DataFacts
    images: int
    instances: int
    metrics: dict[str, float | None]
    per_class: list[ClassFigures]
    coco: dict[str, float | None]
    speed_ms: dict[str, float]
    training: TrainingFacts | None
    settings: dict[str, object]


def metrics_content(
    result: EvalResult,
    *,
    mode: Literal["train", "val"],
    args: Settings,
    network: nn.Module,
    device: torch.device,
    data: DataFacts,
    seconds: float,
    training: TrainingFacts | None = None,
) -> MetricsFile:
    """Content of the file for one run.

    Args:
        result: of the best weights on the validation split.
        mode: what the run did.
        args: its settings.
        network: the one that was evaluated.
        device: that it ran on.
        data: names and splits.
        seconds: duration of the run.
        training: epochs; None for a validation.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "mode": mode,
        "task": args.task,
        "model": Path(str(args.model)).name if args.model else type(unwrap(network)).__name__,
        "architecture": _architecture(network),
        "parameters": sum(p.numel() for p in network.parameters()),
        "seed": args.seed,
        "versions": versions(),
        "device": {"type": device.type, "name": device_name(device)},
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "duration_s": round(seconds, 3),
        "data": data,
        "images": result.images,
        "instances": result.instances,
        "metrics": _finite(result.metrics),
        "per_class": [_class_figures(c) for c in result.per_class],
        "coco": _finite(result.coco),
        "speed_ms": {stage: round(ms, 4) for stage, ms in result.speed.items()},
        "training": training,
        "settings": dict(args),
    }


def data_facts(file: str | Path | None, names: Mapping[int, str], splits: dict[str, SplitFacts]) -> DataFacts:
    """The data of a run: name of the dataset file, class names, and what is known about each split."""
    texts = {str(index): name for index, name in names.items()}
    return {"file": Path(str(file)).name if file else None, "names": texts, "splits": splits}


def write_metrics(folder: Path, content: MetricsFile) -> Path:
    """Write metrics.json into `folder`, whole or not at all, and return its path."""
    path = folder / FILE_NAME
    text = json.dumps(printable_values(content), ensure_ascii=False, indent=2, allow_nan=False, default=str)
    with atomic_write(path) as file:
        file.write(f"{text}\n".encode())
    return path


def read_metrics(path: str | Path) -> MetricsFile:
    """Content of a metrics.json.

    Args:
        path: the file, or the folder of a run.

    Raises:
        FileNotFoundError: there is none; a run writes it when it is finished.
        MetricsFileError: it is damaged, or of a newer version of this package.
    """
    file = Path(path)
    if file.is_dir():
        file = file / FILE_NAME
    if not file.is_file():
        raise FileNotFoundError(f"there is no '{file}'; a run writes it when it is finished")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as e:
        raise MetricsFileError(f"{file}: expected JSON: {e}") from e
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or not MetricsFile.__required_keys__ <= content.keys():
        raise MetricsFileError(f"{file}: keys of a metrics file are missing; run the training or validation again")
    if version > SCHEMA_VERSION:
        raise MetricsFileError(
            f"{file}: schema version {version} is newer than {SCHEMA_VERSION}, which ultralytics {__version__} reads; "
            "update the package"
        )
    return cast(MetricsFile, content)


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    return {
        "ultralytics": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def device_name(device: torch.device) -> str:
    """Name of the GPU, or of the processor's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.machine()


def _architecture(network: nn.Module) -> str | None:
    """Name of the model file that the network was built from, where it is known."""
    description = getattr(unwrap(network), "yaml", None)
    file = description.get("yaml_file") if isinstance(description, dict) else None
    return Path(str(file)).name if file else None


def _class_figures(c: ClassResult) -> ClassFigures:
    return {
        "index": c.index,
        "name": c.name,
        "images": c.images,
        "instances": c.instances,
        "metrics": _finite(c.metrics),
    }


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: what is undefined becomes null."""
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
