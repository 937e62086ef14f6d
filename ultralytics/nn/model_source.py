"""Model files as they are on disk: their content, the file they are based on, and the line of every row and edit.

model_edits.py applies the edits of such a file to its base, model_file.py is what the rest of the package calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ultralytics.cfg import MODELS_DIR, find_model_files
from ultralytics.utils.files import yaml_load

EDIT_KEYS = ("base", "replace", "insert")


class ModelFileError(ValueError):
    """A model file cannot be turned into a network; the text names file, layer and row, and what would be right."""


@dataclass(frozen=True)
class ModelSource:
    """A model file before its edits are applied.

    Attributes:
        name: the file, for messages.
        content: what the file holds; a variant made by a rule has the `base` that its name says.
        folder: where a file that `base` names is searched first; None for a dict.
        lines: line of every row and edit by the id of its list or mapping in `content`; empty for a dict.
    """

    name: str
    content: Mapping[str, Any]
    folder: Path | None = None
    lines: Mapping[int, int] = field(default_factory=dict)

    def at(self, part: object = None) -> str:
        """`file:line` of a row or an edit, the file alone where the line is not known."""
        line = self.lines.get(id(part))
        return f"{self.name}:{line}" if line else self.name


def read_source(name: str | Path, folder: Path | None = None) -> ModelSource:
    """The model file of a name.

    Args:
        name: as `find_model_files` takes it.
        folder: where a relative name is searched before that; a folder of the package means the package's own files, so
            that its files mean the same in every current folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not YAML.
    """
    path, base = _beside(name, folder) if folder else None, None
    if path is None:
        path, base = find_model_files(name)
    content = yaml_load(path)
    lines = _lines(path, content)
    if base is None:
        return ModelSource(str(name), content, path.parent, lines)
    return ModelSource(f"{path.parent.name}/{path.name}", {"base": base, **content}, None, lines)


def _beside(name: str | Path, folder: Path) -> Path | None:
    if MODELS_DIR in folder.parents:
        return next(MODELS_DIR.rglob(Path(name).name), None)
    return folder / name if (folder / name).is_file() else None


def _lines(path: Path, content: Mapping[str, Any]) -> dict[int, int]:
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return {}  # in another encoding, or with characters that yaml_load removes: messages do without lines
    if not isinstance(root, yaml.MappingNode):
        return {}
    lines: dict[int, int] = {}
    for key, node in root.value:
        parts = content.get(key.value)
        if isinstance(node, yaml.SequenceNode) and isinstance(parts, list) and len(parts) == len(node.value):
            lines |= {id(part): item.start_mark.line + 1 for part, item in zip(parts, node.value, strict=True)}
    return lines
