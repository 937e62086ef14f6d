"""Model files: finds and reads them, checks their rows and scales, and makes error messages that name the row.

A model file has a list of rows [from, repeats, module, args] under `backbone` and another under `head`; see
docs/reference. parser.py builds the layers.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from ultralytics.nn.model_edits import Expanded, expand
from ultralytics.nn.model_source import EDIT_KEYS, ModelFileError, ModelSource, read_source
from ultralytics.utils import LOGGER
from ultralytics.utils.ops import make_divisible
from ultralytics.utils.suggest import closest

WIDTH_STEP = 8  # scaled channel counts are multiples of this
_SCALE_IN_NAME = re.compile(r"yolo[v]?\d+([nslmx])")


class Row(NamedTuple):
    """One row of a model file, checked for types only."""

    sources: int | list[int]  # `from`: layer number or numbers; -1 is the layer before
    repeats: int
    module: str
    args: list[Any]


@dataclass(frozen=True)
class Scale:
    """What a size letter stands for: factors on the rows' repeats and channels."""

    letter: str = ""
    depth: float = 1.0
    width: float = 1.0
    max_channels: float = float("inf")

    def repeats(self, n: int) -> int:
        """Scaled repeats of a row, at least 1."""
        return max(round(n * self.depth), 1) if n > 1 else n

    def channels(self, c: int) -> int:
        """Scaled channel count, a multiple of WIDTH_STEP."""
        return make_divisible(min(c, self.max_channels) * self.width, WIDTH_STEP)


def guess_model_scale(model_path: str | Path) -> str:
    """Size letter in a file name such as yolo11s-seg.yaml, or an empty text."""
    match = _SCALE_IN_NAME.search(Path(model_path).stem)
    return match[1] if match else ""


def yaml_model_load(path: str | Path) -> dict[str, Any]:
    """Content of a model file, with the size letter of its name as `scale` and the name as given as `yaml_file`.

    A local file of that name is preferred to one of the package; yolo11s.yaml is yolo11.yaml with scale s. Edits of the
    file (see model_edits.py) are applied: the content has the rows of `base` with the changes, and no edits.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: the edits of the file cannot be made.
        ValueError: the file is not YAML.
    """
    expanded = expand(read_source(path))
    return _complete(expanded, guess_model_scale(path)) | {"yaml_file": str(path)}


def expand_content(content: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of a model file's content, with its edits, if it has any, applied.

    Raises:
        FileNotFoundError: there is no file of the name of its `base`.
        ModelFileError: the edits cannot be made.
    """
    copied = deepcopy(dict(content))
    if not any(key in copied for key in EDIT_KEYS):
        return copied
    return _complete(expand(ModelSource(file_name(copied), copied)), "")


def _complete(expanded: Expanded, letter: str) -> dict[str, Any]:
    """The content with `scale`: the letter of the file's name, else its own, else that of the name of a base."""
    of_bases = next(filter(None, map(guess_model_scale, expanded.bases)), "")
    content = expanded.content
    return content | {"scale": letter or content.get("scale") or of_bases}


def read_rows(content: Mapping[str, Any]) -> list[Row]:
    """The rows of backbone and head, in order.

    Raises:
        ModelFileError: a list is missing, or a part of a row has the wrong type.
    """
    name = file_name(content)
    for part in ("backbone", "head"):
        value = content.get(part)
        if not isinstance(value, list):
            problem = f"`{part}:` must be a list of rows [from, repeats, module, args], found {value!r:.60}"
            raise ModelFileError(f"{name}: {problem}")
    rows = content["backbone"] + content["head"]
    if not rows:
        raise ModelFileError(f"{name}: backbone and head have no rows")
    return [_checked_row(content, i, row) for i, row in enumerate(rows)]


def read_scale(content: Mapping[str, Any]) -> Scale:
    """The factors of the file's `scale`; without `scales`, those of `depth_multiple` and `width_multiple`.

    Raises:
        ModelFileError: `scales` is not a mapping, or has no usable entry for the letter.
    """
    name, scales, letter = file_name(content), content.get("scales"), str(content.get("scale") or "")
    if not scales:
        return Scale(letter, float(content.get("depth_multiple", 1.0)), float(content.get("width_multiple", 1.0)))
    if not isinstance(scales, dict):
        raise ModelFileError(
            f"{name}: `scales:` must map letters to [depth, width, max_channels], found {scales!r:.60}"
        )
    if not letter:
        letter = next(iter(scales))
        if len(scales) > 1:
            LOGGER.warning(f"{name} names no scale; using '{letter}'. Write it into the name, as in yolo11s.yaml")
    if letter not in scales:
        raise ModelFileError(f"{name}: there is no scale '{letter}'; `scales:` has {', '.join(map(str, scales))}")
    numbers = scales[letter]
    if not (isinstance(numbers, list) and len(numbers) == 3 and all(isinstance(x, (int, float)) for x in numbers)):
        raise ModelFileError(f"{name}: scale '{letter}' must be [depth, width, max_channels], found {numbers!r}")
    return Scale(letter, *numbers)


def read_activation(content: Mapping[str, Any]) -> nn.Module | None:
    """The module that `activation: nn.LeakyReLU(0.1)` names, None without such a line; no code of it is executed.

    Raises:
        ModelFileError: it is not `Name` or `Name(literal, key=literal)` of a torch.nn class, with or without 'nn.'.
    """
    text = content.get("activation")
    if not text:
        return None
    expected, name = "write a class of torch.nn such as nn.ReLU() or nn.LeakyReLU(0.1)", file_name(content)
    try:
        call = ast.parse(str(text).strip(), mode="eval").body
        args, options = [], {}
        if isinstance(call, ast.Call):
            args = [ast.literal_eval(value) for value in call.args]
            options = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
            call = call.func
    except (SyntaxError, ValueError) as e:
        raise ModelFileError(f"{name}: activation '{text}' cannot be read; {expected}") from e
    class_name = ast.unparse(call).removeprefix("torch.").removeprefix("nn.")
    cls = getattr(nn, class_name, None)
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        nearest = next(iter(closest(class_name, nn.modules.activation.__all__)), None)
        hint = f"did you mean nn.{nearest}()?" if nearest else expected
        raise ModelFileError(f"{name}: activation: torch.nn has no '{class_name}'; {hint}")
    try:
        return cls(*args, **options)
    except TypeError as e:
        raise ModelFileError(f"{name}: activation '{text}' does not fit: {e}") from e


def row_error(content: Mapping[str, Any], i: int, problem: str) -> ModelFileError:
    """The error for row `i`: file, line if the file can be read again, layer number, the row, and the problem."""
    rows = list(content["backbone"]) + list(content["head"])
    name = file_name(content)
    origin = _origin(name, i, len(rows))
    where = origin if origin.startswith(name) else f"{name} ({origin})"
    return ModelFileError(f"{where}: layer {i} {rows[i]}: {problem}")


def file_name(content: Mapping[str, Any]) -> str:
    """The file that the content comes from, for error messages."""
    return content.get("yaml_file") or "model (given as a dict)"


def _checked_row(content: Mapping[str, Any], i: int, row: object) -> Row:
    if not (isinstance(row, (list, tuple)) and len(row) == 4):
        raise row_error(content, i, "a row has four parts: [from, repeats, module, args]")
    f, n, module, args = row
    sources = f if isinstance(f, list) else [f]
    if not sources or not all(isinstance(x, int) and not isinstance(x, bool) for x in sources):
        raise row_error(content, i, f"`from` must be a layer number or a list of them, found {f!r}")
    if not isinstance(n, int) or n < 1:
        raise row_error(content, i, f"`repeats` must be an integer of at least 1, found {n!r}")
    if not isinstance(module, str) or not isinstance(args, (list, tuple)):
        raise row_error(content, i, "the third part is a module's name, the fourth a list of arguments, [] for none")
    return Row(f, n, module, list(args))


def _origin(name: str, i: int, num_rows: int) -> str:
    """File and line that a row comes from, the file alone if it has changed or is gone."""
    # only for an error message, so reading the file a second time does not matter
    try:
        origins = expand(read_source(name)).origins
    except (OSError, ValueError):
        return name
    return origins[i] if len(origins) == num_rows else name
