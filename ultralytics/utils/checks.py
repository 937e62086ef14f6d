"""What runs here: which copy of the package, which Python, torch and other packages, which GPU."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

from ultralytics.utils import ROOT
from ultralytics.version import __version__

_PACKAGES = ("numpy", "torch", "torchvision", "opencv-python", "pillow", "matplotlib", "pyyaml", "tqdm", "einops")
_SAME = {"opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")}


def running_copy() -> str:
    """One line: the version and the folder of the package that is running."""
    return f"ultralytics {__version__} from {ROOT}"


def copy_warning(beside: str | Path | None = None) -> str:
    """A warning if the tree in folder `beside` (by itself the current one) is not the copy that is running, else ""."""
    other = Path(beside or Path.cwd()).resolve() / "ultralytics"
    if not (other / "__init__.py").is_file() or other == ROOT:
        return ""
    return (
        f"the package in {other} is not the one that runs ({ROOT}): changes made there have no effect. "
        f'To run it from there: pip install -e "{other.parent}"'
    )


def system_report() -> str:
    """The report of `yolo checks`, a fact a line."""
    lines = [
        running_copy(),
        f"Python {platform.python_version()} at {sys.executable}, {platform.platform()}",
        *(f"{name} {_version(name) or 'is not installed'}" for name in _PACKAGES),
        *_devices(),
    ]
    installed = _version("ultralytics")
    if installed != __version__:
        found = f"version {installed}" if installed else "nothing"
        lines.append(f"note: pip has {found} installed under the name ultralytics, not this copy")
    if warning := copy_warning():
        lines.append(f"warning: {warning}")
    return "\n".join(lines)


def _version(name: str) -> str | None:
    for same in (name, *_SAME.get(name, ())):
        try:
            return importlib.metadata.version(same)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _devices() -> list[str]:
    try:
        import torch  # seconds, and only this report needs it

        from ultralytics.nn.ops import backends
    except ImportError as e:
        return [f"torch cannot be imported: {e}"]
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        lines = [f"GPU {n}: {gpu.name}, {gpu.total_memory / 2**30:.1f} GiB" for n, gpu in enumerate(gpus)]
        return [*lines, backends.report()]
    if torch.backends.mps.is_available():
        return ["GPU: Apple (device=mps)"]
    return [f"no GPU that torch {torch.__version__} can use; the CPU has {torch.get_num_threads()} threads"]
