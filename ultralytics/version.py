"""The version of this distribution; setup.py reads the assignment below as text."""

from __future__ import annotations

__version__ = "8.3.0+addmodules.1"
