"""The report of `yolo checks`: the running copy of the package, Python, torch and other packages, GPUs.

The checks of 8.3.0 that can be imported from here are in version_checks.py, file_checks.py and system_checks.py.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

from ultralytics.utils import ROOT
from ultralytics.utils.official_names import official_names
from ultralytics.version import FULL_VERSION

_PACKAGES = ("numpy", "torch", "torchvision", "opencv-python", "pillow", "matplotlib", "pyyaml", "tqdm", "einops")
# distributions that provide the same module under another name
_ALTERNATIVES = {"opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")}

__getattr__ = official_names(__name__)


def running_copy() -> str:
    """One line: version and folder of the running package."""
    return f"ultralytics {FULL_VERSION} from {ROOT}"


def copy_warning(folder: str | Path | None = None) -> str:
    """A warning if `folder` (default: the current one) contains a copy of the package that is not running, else ""."""
    other = Path(folder or Path.cwd()).resolve() / "ultralytics"
    if not (other / "__init__.py").is_file() or other == ROOT:
        return ""
    return (
        f"the package in {other} is not the running one ({ROOT}): changes made there have no effect. "
        f'To run it from there: pip install -e "{other.parent}"'
    )


def system_report() -> str:
    """Versions, paths and devices, one fact per line."""
    lines = [
        running_copy(),
        f"Python {platform.python_version()} at {sys.executable}, {platform.platform()}",
        *(f"{name} {_version(name) or 'is not installed'}" for name in _PACKAGES),
        *_devices(),
    ]
    installed = _version("ultralytics")
    if installed != FULL_VERSION:
        status = f"version {installed} of ultralytics, not this copy" if installed else "no package ultralytics"
        lines.append(f"note: pip has installed {status}")
    if warning := copy_warning():
        lines.append(f"warning: {warning}")
    return "\n".join(lines)


def _version(name: str) -> str | None:
    for distribution in (name, *_ALTERNATIVES.get(name, ())):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _devices() -> list[str]:
    try:
        import torch  # takes seconds, and only this report needs it
    except ImportError as e:
        return [f"torch cannot be imported: {e}"]
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return [f"GPU {index}: {gpu.name}, {gpu.total_memory / 2**30:.1f} GiB" for index, gpu in enumerate(gpus)]
    if torch.backends.mps.is_available():
        return ["GPU: Apple (device=mps)"]
    return [f"no GPU that torch {torch.__version__} can use; {torch.get_num_threads()} CPU threads"]
