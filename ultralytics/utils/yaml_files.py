"""The YAML functions of `ultralytics.utils` with the signatures of 8.3.0; files.py does the work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultralytics.utils import LOGGER, files


def yaml_load(file: str | Path = "data.yaml", append_filename: bool = False) -> dict[Any, Any]:
    """Content of a YAML file; with `append_filename` its path is added as `yaml_file`.

    Raises:
        FileNotFoundError, YamlError: as `files.yaml_load`.
    """
    data = files.yaml_load(file)
    return data | {"yaml_file": str(file)} if append_filename else data


def yaml_save(file: str | Path = "data.yaml", data: Mapping[str, object] | None = None, header: str = "") -> None:
    """Write a mapping as YAML after the text `header`; missing folders are made."""
    files.yaml_save(file, data or {}, header)


def yaml_print(yaml_file: str | Path | Mapping[str, object]) -> None:
    """Log a mapping, or the content of a YAML file, as YAML."""
    is_file = isinstance(yaml_file, (str, Path))
    content = files.yaml_load(yaml_file) if isinstance(yaml_file, (str, Path)) else yaml_file
    LOGGER.info(f"{f'{yaml_file}' if is_file else 'mapping'}:\n\n{files.yaml_text(content)}")
