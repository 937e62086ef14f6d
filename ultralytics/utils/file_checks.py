"""Checks of file names and searches for files with the signatures of 8.3.0. Nothing is ever downloaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ultralytics.utils import LOGGER, ROOT
from ultralytics.utils.addresses import is_url
from ultralytics.utils.files import find_file

_U_NAME = re.compile(r"(.*yolov5[nsmlx]6?|yolov3(?:-tiny|-spp)?)(\.pt)")  # official checkpoints with the present head


class SuffixError(ValueError, AssertionError):
    """A file name has another suffix than required; 8.3.0 raises AssertionError."""


def is_ascii(s: object) -> bool:
    """Whether the text of an object consists of ASCII characters only."""
    return str(s).isascii()


def check_suffix(
    file: str | Path | Sequence[str | Path] = "yolov8n.pt", suffix: str | Sequence[str] = ".pt", msg: str = ""
) -> None:
    """Check that file names end in one of the suffixes; names without any suffix pass.

    Raises:
        SuffixError: names the file and the suffixes.
    """
    suffixes = [one for one in ([suffix] if isinstance(suffix, str) else suffix) if one]
    for name in [file] if isinstance(file, (str, Path)) else file:
        ending = Path(str(name)).suffix.lower().strip()
        if suffixes and ending and ending not in suffixes:
            raise SuffixError(f"{msg}{name}: the suffix must be {' or '.join(suffixes)}, not {ending}")


def check_yolov5u_filename(file: str, verbose: bool = True) -> str:
    """The name of a YOLOv3 or YOLOv5 checkpoint with the present head: yolov5n.pt gives yolov5nu.pt."""
    match = _U_NAME.fullmatch(str(file))
    if match is None:
        return file
    name = f"{match[1]}u{match[2]}"
    if verbose:
        LOGGER.info(f"{file} is the checkpoint of another repository; using {name}")
    return name


def check_model_file_from_stem(model: str = "yolov8n") -> str | Path:
    """`model` with .pt if it is the name of an official checkpoint without its suffix, else as given."""
    is_official = re.fullmatch(r"(yolov?\d+[a-z]?\d?u?|yolov\d-[a-z0-9]+)(-(seg|cls|pose|obb))?", str(model))
    return Path(model).with_suffix(".pt") if is_official else model


def check_file(
    file: str | Path,
    suffix: str | Sequence[str] = "",
    download: bool = True,
    download_dir: str | Path = ".",
    hard: bool = True,
) -> str:
    """Path of a file as given, or of the package's file of that name.

    Args:
        file: path or name; an address is an error, because nothing is downloaded.
        suffix: required suffixes; see `check_suffix`.
        download, download_dir: of 8.3.0; without effect.
        hard: raise if there is no such file; else the result is an empty text.

    Raises:
        FileNotFoundError: there is no such file, or it is an address.
        SuffixError: another suffix than required.
    """
    check_suffix(file, suffix)
    text = check_yolov5u_filename(str(file).strip(), verbose=False)
    if not text:
        return ""
    if is_url(text):
        if hard:
            raise FileNotFoundError(f"{text} is an address, and nothing is downloaded; download the file first")
        return ""
    try:
        return str(find_file(text, [ROOT / "cfg"]))
    except FileNotFoundError:
        if hard:
            raise
        return ""


def check_yaml(file: str | Path, suffix: str | Sequence[str] = (".yaml", ".yml"), hard: bool = True) -> str:
    """Path of a YAML file as given, or of the package's file of that name; see `check_file`."""
    return check_file(file, suffix, hard=hard)


def check_is_path_safe(basedir: str | Path, path: str | Path) -> bool:
    """Whether `path`, which exists, lies inside the folder `basedir`."""
    base, target = Path(basedir).resolve(), Path(path).resolve()
    return target.is_file() and base in target.parents
