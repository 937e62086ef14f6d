"""Label files of predictions, made from the components of a result; no image is needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ultralytics.engine.results.base import BaseTensor, LabelLine, Names
from ultralytics.utils.files import atomic_write


def label_lines(components: Iterable[BaseTensor | None], names: Names = (), save_conf: bool = False) -> list[str]:
    """Lines of a label file, one per instance.

    Boxes give `class cx cy w h`, oriented boxes `class x1 y1 x2 y2 x3 y3 x4 y4`; masks replace the box by their
    outline, keypoints add `x y confidence` each; then come the confidence with `save_conf` and the track id.
    Probabilities give `probability name` for each of the top five classes. Coordinates are fractions of the image's
    width and height.

    Args:
        components: of one image; boxes before the masks or keypoints that belong to them.
        names: class names; only probabilities need them.
        save_conf: write the confidence of each instance.
    """
    lines: list[LabelLine] = []
    for component in components:
        if component is not None:
            component.add_to_lines(lines, names)
    return [line.text(save_conf) for line in lines]


def write_label_file(path: str | Path, lines: Sequence[str]) -> str:
    """Write a label file, replacing an older one; without lines there is no file, and an older one is removed.

    Returns:
        The path.
    """
    path = Path(path)
    if lines:
        with atomic_write(path, "w", durable=False) as file:
            file.write("".join(f"{line}\n" for line in lines))
    else:
        path.unlink(missing_ok=True)
    return str(path)
