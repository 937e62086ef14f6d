"""The version of this distribution, and its two parts: the compatible interface and the number of our release."""

from __future__ import annotations

FULL_VERSION = "8.3.0+addmodules.1"  # of the distribution; pyproject.toml reads this line without importing the package
# scripts for 8.3.0 split the version at its dots and convert the parts to numbers, so it has no local part
__version__, __build__ = FULL_VERSION.split("+")
