"""The version of this distribution; setup.py reads the line below, so it stays a plain assignment."""

from __future__ import annotations

__version__ = "8.3.0+addmodules.1"
