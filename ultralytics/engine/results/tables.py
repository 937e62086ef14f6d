"""Rows of a summary as text: JSON, CSV and XML without further packages, and a pandas table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ultralytics.engine.results.base import SummaryRow

if TYPE_CHECKING:
    import pandas as pd

EMPTY_COLUMNS = ("name", "class", "confidence", "x1", "y1", "x2", "y2")


def as_json(rows: Sequence[SummaryRow]) -> str:
    """The rows as JSON text."""
    return json.dumps(rows, indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[SummaryRow]) -> str:
    """The rows as CSV text: corners in columns `x1`, `y1`, ..., segments and keypoints as JSON text."""
    flat = [_flat(row) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]) if flat else EMPTY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def as_xml(rows: Sequence[SummaryRow]) -> str:
    """The rows as XML text: `<data>` with a `<row>` per instance; values of a box or list are elements inside."""
    root = ElementTree.Element("data")
    for index, row in enumerate(rows):
        element = ElementTree.SubElement(root, "row")
        ElementTree.SubElement(element, "index").text = str(index)
        for key, value in row.items():
            _add_element(element, key, value)
    ElementTree.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(root, encoding='unicode')}"


def as_dataframe(rows: Sequence[SummaryRow]) -> pd.DataFrame:
    """The rows as a pandas table.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas as pd  # not a dependency: only this function needs it
    except ImportError as e:
        raise ImportError("to_df() needs pandas: `pip install pandas`. summary() and to_csv() work without it.") from e
    return pd.DataFrame(rows)


def _flat(row: SummaryRow) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in row.items():
        if key == "box" and isinstance(value, dict):
            flat.update(value)
        else:
            flat[key] = json.dumps(value) if isinstance(value, dict) else value
    return flat


def _add_element(parent: ElementTree.Element, key: str, value: object) -> None:
    element = ElementTree.SubElement(parent, key)
    if isinstance(value, dict):
        for name, content in value.items():
            _add_element(element, name, content)
    elif isinstance(value, list):
        element.text = " ".join(str(v) for v in value)
    else:
        element.text = str(value)
