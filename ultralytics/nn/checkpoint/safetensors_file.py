"""Networks in .safetensors files: the weights in full precision, and a JSON description in the header.

The header's `metadata` has one key, `ultralytics`: a JSON object of
    format    1, increased when the meaning of a key changes
    network   class name of the network, such as DetectionModel
    yaml      content of its model file, as the network was built
    names     class names by number
    batch_norm  [epsilon, momentum] by name, of the normalizations that do not have those of the network's class
    version, date, license, train_args, train_metrics, train_results: as in a .pt file
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from ultralytics.nn.checkpoint.pickled_types import CheckpointError
from ultralytics.utils.files import atomic_write
from ultralytics.utils.printable import printable_values, unicode_path

SUFFIX = ".safetensors"
FORMAT = 1
_KEY = "ultralytics"


def write(path: str | Path, state: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write weights and description.

    Args:
        path: target; its folder exists.
        state: weights by name.
        description: the keys of the table above without `format`.
    """
    library = _library()
    text = json.dumps(printable_values({"format": FORMAT} | description), ensure_ascii=False, default=str)
    # copies: two keys that share memory are an error in this format
    data = library.torch.save({k: v.detach().cpu().clone().contiguous() for k, v in state.items()}, {_KEY: text})
    with atomic_write(path) as file:
        file.write(data)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights by name, and the description.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or has no description that this version reads.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    library = _library()
    try:
        with unicode_path(path) as readable, library.safe_open(readable, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (library.SafetensorError, OSError, ValueError) as e:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {e}") from e
    if text is None:
        raise CheckpointError(
            f"{path} holds weights only, without the description of a network that YOLO.save('x.safetensors') writes"
        )
    return state, _parsed(path, text)


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        description = json.loads(text)
    except ValueError as e:
        raise CheckpointError(f"{path}: the description of the network is not JSON: {e}") from e
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise CheckpointError(f"{path}: the description does not have the format {FORMAT}; a newer version wrote it")
    if isinstance(description.get("names"), dict):
        description["names"] = {int(k): str(v) for k, v in description["names"].items()}
    return description


def _library() -> ModuleType:
    try:
        import safetensors.torch  # an optional package, needed for such files only
    except ImportError as e:
        raise ImportError(".safetensors files need the package safetensors: pip install safetensors") from e
    return safetensors
