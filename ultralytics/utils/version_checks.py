"""Checks of installed versions with the signatures of 8.3.0. Nothing is ever installed: a message gives the command."""

from __future__ import annotations

import importlib.metadata
import operator
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from ultralytics.utils import LOGGER, ROOT

_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_BOUND = re.compile(r"\s*(==|!=|>=|<=|~=|>|<)?\s*([^\s,]+)\s*")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*([^;#]*)")


def parse_version(version: str = "0.0.0") -> tuple[int, ...]:
    """The first three numbers of a version: 2.0.1+cpu gives (2, 0, 1)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def check_version(
    current: str = "0.0.0",
    required: str = "0.0.0",
    name: str = "version",
    hard: bool = False,
    verbose: bool = False,
    msg: str = "",
) -> bool:
    """Whether a version fulfills all bounds of `required`.

    Args:
        current: a version, or the name of an installed package.
        required: comma-separated bounds such as ">=1.8,<2.0"; a version without an operator is a lower bound.
        name: what has the version, for messages.
        hard: raise if it does not fulfill them.
        verbose: warn if it does not fulfill them.
        msg: added to the message.

    Raises:
        ModuleNotFoundError: with `hard`, `current` is no installed package, or the version does not fulfill `required`.
    """
    if not current:
        LOGGER.warning("check_version: the version of %s is empty", name)
        return True
    if not current[0].isdigit():
        try:
            name, current = current, importlib.metadata.version(current)
        except importlib.metadata.PackageNotFoundError as e:
            if hard:
                raise ModuleNotFoundError(f"the package {current} is not installed; run: pip install {current}") from e
            return False
    bounds = [match for part in required.split(",") if (match := _BOUND.fullmatch(part))]
    if all(_fulfills(parse_version(current), match[1] or ">=", parse_version(match[2])) for match in bounds):
        return True
    problem = f"{name} {required} is required, but {name} {current} is installed{f': {msg}' if msg else ''}"
    if hard:
        raise ModuleNotFoundError(problem)
    if verbose:
        LOGGER.warning(problem)
    return False


def check_python(minimum: str = "3.8.0", hard: bool = True) -> bool:
    """Whether this Python has at least version `minimum`.

    Raises:
        ModuleNotFoundError: with `hard`, it has not.
    """
    return check_version(platform.python_version(), minimum, name="Python", hard=hard)


def check_torchvision() -> None:
    """Warn if the installed torchvision was not made for the installed torch, whose minor version it follows."""
    torch, vision = (parse_version(importlib.metadata.version(name)) for name in ("torch", "torchvision"))
    # torchvision 0.15 belongs to torch 2.0, and both have grown by one since
    if torch[0] == 2 and vision[:2] != (0, torch[1] + 15):
        LOGGER.warning(
            f"torchvision 0.{torch[1] + 15} belongs to torch {torch[0]}.{torch[1]}, but {vision} is installed"
        )


def parse_requirements(
    file_path: str | Path = ROOT.parent / "requirements.txt", package: str = ""
) -> list[tuple[str, str]]:
    """(name, bounds) of each line of a requirements file, or of what an installed package requires."""
    if package:
        lines = [line for line in importlib.metadata.requires(package) or [] if "extra ==" not in line]
    else:
        lines = Path(file_path).read_text(encoding="utf-8").splitlines()
    return [(match[1], match[2].strip()) for line in lines if (match := _REQUIREMENT.match(line))]


def check_requirements(
    requirements: str | Path | Sequence[str] = ROOT.parent / "requirements.txt",
    exclude: Sequence[str] = (),
    install: bool = True,
    cmds: str = "",
) -> bool:
    """Whether packages are installed in the required versions.

    Unlike 8.3.0 this never runs pip: with `install`, a warning gives the command.

    Args:
        requirements: requirements file, one requirement such as "numpy>=1.26", or several.
        exclude: names of packages of a file that need not be installed.
        install: warn about missing packages.
        cmds: options of pip, for the warning.
    """
    missing = [
        text for name, text in _requirements(requirements) if name not in exclude and not _is_installed(name, text)
    ]
    if missing and install:
        packages = " ".join(f'"{text}"' for text in missing)
        LOGGER.warning(f"missing packages: {', '.join(missing)}. Run: pip install {packages} {cmds}".rstrip())
    return not missing


def _requirements(requirements: str | Path | Sequence[str]) -> list[tuple[str, str]]:
    """(name, whole text) of each requirement."""
    if isinstance(requirements, Path):
        return [(name, name + bounds) for name, bounds in parse_requirements(requirements)]
    texts = [requirements] if isinstance(requirements, str) else list(requirements)
    # of an address only the name of its repository is known
    names = [text.rpartition("/")[2].removesuffix(".git") for text in texts]
    return [(match[1], name) for name in names if (match := _REQUIREMENT.match(name))]


def _is_installed(name: str, requirement: str) -> bool:
    match = _REQUIREMENT.match(requirement)
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return check_version(version, match[2].strip() if match else "", name=name)


def _fulfills(current: tuple[int, ...], comparison: str, bound: tuple[int, ...]) -> bool:
    if comparison == "~=":
        return current >= bound and current[: len(bound) - 1] == bound[:-1]
    return _COMPARE[comparison](current, bound)
