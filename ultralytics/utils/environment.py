"""Facts about the machine, the interpreter and the installation, each determined when it is asked for.

The names are those of `ultralytics.utils` of 8.3.0.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

from ultralytics.utils import ROOT

MACOS, LINUX, WINDOWS = (platform.system() == name for name in ("Darwin", "Linux", "Windows"))
ARM64 = platform.machine() in ("arm64", "aarch64")
PYTHON_VERSION = platform.python_version()
NUM_THREADS = min(8, max(1, (os.cpu_count() or 1) - 1))  # of helper pools; the formula of 8.3.0
ARGV = sys.argv or ["", ""]  # sys.argv is empty inside some embedded interpreters
ENVIRONMENT = platform.system()
_DNS_SERVERS = ("1.1.1.1", "8.8.8.8")
_TIMEOUT = 2.0  # seconds


def torchvision_version() -> str:
    """Version of the installed torchvision, without importing it."""
    return importlib.metadata.version("torchvision")


def is_ubuntu() -> bool:
    """Whether the operating system is Ubuntu."""
    return _os_release().get("ID") == "ubuntu"


def get_ubuntu_version() -> str | None:
    """Version of Ubuntu such as 22.04; None on other systems."""
    return _os_release().get("VERSION_ID") if is_ubuntu() else None


def is_colab() -> bool:
    """Whether the process runs in Google Colab."""
    return "COLAB_RELEASE_TAG" in os.environ or "COLAB_BACKEND_VERSION" in os.environ


def is_kaggle() -> bool:
    """Whether the process runs in a Kaggle notebook."""
    return os.environ.get("PWD") == "/kaggle/working" and "KAGGLE_URL_BASE" in os.environ


def is_jupyter() -> bool:
    """Whether the process runs in a hosted notebook, as 8.3.0 defines it: Colab or Kaggle."""
    return is_colab() or is_kaggle()


def is_docker() -> bool:
    """Whether the process runs in a Docker container."""
    return Path("/.dockerenv").exists() or "docker" in _text("/proc/self/cgroup")


def read_device_model() -> str:
    """Model of a board computer from its device tree; empty on other machines."""
    return _text("/proc/device-tree/model").strip("\x00")


def is_raspberrypi() -> bool:
    """Whether the machine is a Raspberry Pi."""
    return "Raspberry Pi" in read_device_model()


def is_jetson() -> bool:
    """Whether the machine is an NVIDIA Jetson."""
    return "NVIDIA" in read_device_model()


@cache
def is_online() -> bool:
    """Whether a public DNS server can be reached; False without a try if YOLO_OFFLINE is "true"."""
    if os.environ.get("YOLO_OFFLINE", "").lower() == "true":
        return False
    for server in _DNS_SERVERS:
        try:
            socket.create_connection((server, 53), _TIMEOUT).close()
        except OSError:
            continue
        return True
    return False


def is_pip_package(filepath: str = "ultralytics") -> bool:
    """Whether the module of this name is installed in site-packages, not run from a source tree."""
    spec = importlib.util.find_spec(filepath)
    return bool(spec and spec.origin and {"site-packages", "dist-packages"} & set(Path(spec.origin).parts))


def is_dir_writeable(dir_path: str | Path) -> bool:
    """Whether files can be written to a folder."""
    return os.access(str(dir_path), os.W_OK)


def is_pytest_running() -> bool:
    """Whether pytest runs this process."""
    return "PYTEST_CURRENT_TEST" in os.environ or "pytest" in sys.modules


def is_github_action_running() -> bool:
    """Whether the process runs in a GitHub Actions workflow."""
    return "GITHUB_ACTIONS" in os.environ and "GITHUB_WORKFLOW" in os.environ


def get_git_dir() -> Path | None:
    """Root of the git repository that contains the package; None if there is none."""
    return next((folder for folder in ROOT.parents if (folder / ".git").exists()), None)


def is_git_dir() -> bool:
    """Whether the package is run from a git repository."""
    return get_git_dir() is not None


def get_git_origin_url() -> str | None:
    """Address of the remote `origin`; None without a repository or remote."""
    return _git("config", "--get", "remote.origin.url")


def get_git_branch() -> str | None:
    """Name of the current branch; None without a repository."""
    return _git("rev-parse", "--abbrev-ref", "HEAD")


def _git(*words: str) -> str | None:
    folder = get_git_dir()
    if folder is None:
        return None
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _os_release() -> dict[str, str]:
    return dict(re.findall(r'(?m)^(\w+)="?([^"\n]*)"?$', _text("/etc/os-release")))


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
