"""`python -m ultralytics ...` is the `yolo` command, for machines where its folder is not on the PATH."""

from __future__ import annotations

import sys

from ultralytics.cli import entrypoint

sys.exit(entrypoint())
