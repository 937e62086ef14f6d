"""Finds the file that a user means by the name of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from ultralytics.utils.settings import settings

SUFFIXES = (".pt", ".pth", ".safetensors")


def find_checkpoint(name: str | Path) -> Path:
    """The checkpoint of this name, with .pt added if it has no suffix, there or in the settings' weights folder.

    Raises:
        FileNotFoundError: it is in neither folder; the message says how to get it.
        ValueError: the name has the suffix of another file type.
    """
    path = with_suffix(name)
    candidates = [path, Path(settings["weights_dir"]).expanduser() / path.name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if Path(name).expanduser().is_dir():
        raise FileNotFoundError(f"'{name}' is a folder; give a checkpoint, such as {Path(name, 'weights', 'best.pt')}")
    searched = " and ".join(str(p.absolute()) for p in candidates)
    example = f"{path.stem}.yaml" if path.stem.startswith("yolo") else "yolo11n.yaml"
    raise FileNotFoundError(
        f"there is no checkpoint '{name}' (searched {searched}). Nothing is downloaded: train one, for example with "
        f"YOLO('{example}'), or get the file and give its path."
    )


def with_suffix(name: str | Path) -> Path:
    """The name of a checkpoint, with .pt if it has no suffix.

    Raises:
        ValueError: it has the suffix of another file type.
    """
    path = Path(name).expanduser()
    if not path.suffix and path.name:
        return path.with_suffix(".pt")
    if path.suffix.lower() in (".yaml", ".yml"):
        raise ValueError(f"'{name}' describes a network and holds no weights; give a checkpoint (.pt, .safetensors)")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"'{name}' is not a model: give a model file (.yaml) or a checkpoint (.pt, .safetensors)")
    return path
