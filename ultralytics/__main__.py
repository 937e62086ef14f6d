"""`python -m ultralytics ...` is the `yolo` command, for systems where the folder of `yolo` is not on the PATH."""

from __future__ import annotations

import sys

from ultralytics.cli import entrypoint

sys.exit(entrypoint())
