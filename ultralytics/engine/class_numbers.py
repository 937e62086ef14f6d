"""Class numbers that must fit each other: those of the option `classes`, and those of the data and of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ultralytics.utils import LOGGER

MAX_LISTED = 5  # classes in a message


def check_class_filter(classes: int | Sequence[int] | None, names: Mapping[int, str], source: str) -> None:
    """Check the option `classes`.

    Args:
        classes: the option.
        names: class names by number.
        source: what has these classes, for the error.

    Raises:
        ValueError: a number is not among them.
    """
    chosen = [] if classes is None else [classes] if isinstance(classes, int) else classes
    unknown = [number for number in chosen if number not in names]
    if unknown:
        raise ValueError(
            f"classes={classes}: {source} has no class {', '.join(map(str, unknown))}, only 0 to {len(names) - 1}"
            f" ({_listed(names)})"
        )


def class_mapping(data: Mapping[int, str], network: Mapping[int, str], source: str) -> list[int] | None:
    """Number in the network of every class of the data; None where the numbers are already the same.

    Classes are matched by name if the network has all names of the data. Otherwise the numbers are kept, with a
    warning: names may be translated or corrected.

    Args:
        data: class names of the data by number.
        network: class names of the network by number.
        source: name of the dataset file, for the messages.
    """
    unnamed = all(name == f"class_{i}" for i, name in data.items())  # the file has only a number of classes
    wanted = {i: _normalized(name) for i, name in data.items()}
    numbers = {_normalized(name): i for i, name in network.items()}
    if unnamed or all(numbers.get(name) == i for i, name in wanted.items()):
        return None
    is_unique = len(numbers) == len(network) and len(set(wanted.values())) == len(wanted)
    moved = {i: name for i, name in data.items() if numbers.get(wanted[i]) != i}
    if is_unique and all(name in numbers for name in wanted.values()):
        LOGGER.warning(
            f"{source} numbers the classes differently from the network, so they are matched by name: "
            + "; ".join(
                f"'{name}' is {i} in the data, {numbers[wanted[i]]} in the network" for i, name in _first(moved)
            )
        )
        return [numbers[wanted[i]] for i in sorted(wanted)]
    LOGGER.warning(
        f"{source} names the classes differently from the network, and they are compared by number: "
        + "; ".join(f"{i} is '{name}' in the data, '{network.get(i)}' in the network" for i, name in _first(moved))
    )
    return None


def _normalized(name: str) -> str:
    return str(name).strip().casefold()


def _first(names: Mapping[int, str]) -> list[tuple[int, str]]:
    return list(names.items())[:MAX_LISTED]


def _listed(names: Mapping[int, str]) -> str:
    more = ", …" if len(names) > MAX_LISTED else ""
    return ", ".join(name for _, name in _first(names)) + more
