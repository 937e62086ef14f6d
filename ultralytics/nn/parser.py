"""From a model file to layers: finds the file, reads its rows, builds one module a row.

A row is [from, repeats, module, args]. `from` is the number of the layer that feeds it (-1: the one before) or a list
of such numbers; repeats are scaled by the model's depth, channels by its width.
Which module a name means, and how a row feeds it, stands in two tables: `_STANDARD` below and the registry of
`ultralytics.nn.Addmodules`. Other names of the form nn.X are classes of torch.nn.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ultralytics.cfg import find_model_yaml
from ultralytics.nn import modules, registry
from ultralytics.utils import LOGGER
from ultralytics.utils.files import yaml_load
from ultralytics.utils.ops import make_divisible
from ultralytics.utils.suggest import closest

WIDTH_STEP = 8  # scaled channel counts are multiples of this
MAX_REPEATS = 1000  # of a row; more is a slip of the pen, or a hostile checkpoint that fills the memory with layers
_WITH_SCALE = re.compile(r"yolo[v]?\d+([nslmx])")
_VARIABLES = ("nc", "kpt_shape")  # what an argument may name instead of a value

# Class -> the call that a row becomes. Words as in Addmodules, and for heads: ch, the channels of all inputs, and
# legacy, whether the network has the class branch of YOLOv8.
_FEEDS = {
    "c1, c2, *args": "Conv DWConv GhostConv Bottleneck GhostBottleneck SPP SPPF PSA",
    "c1, c2, n, *args": "C1 C2 C2f C2PSA C2fPSA C3 C3Ghost C3k C3k2",
    "*args": "Concat",
    "*args, ch, legacy": "Detect",
}
_STANDARD = {
    name: registry.Entry(name, getattr(modules, name), tuple(feed.split(", ")))
    for feed, names in _FEEDS.items()
    for name in names.split()
} | {
    "nn.ConvTranspose2d": registry.Entry("nn.ConvTranspose2d", nn.ConvTranspose2d, ("c1", "c2", "*args")),
    "nn.BatchNorm2d": registry.Entry("nn.BatchNorm2d", nn.BatchNorm2d, ("c1",)),
}
_YOLO11_BLOCKS = {"C3k2", "C2PSA", "C2fPSA", "PSA"}  # a network with one of them has the depthwise class branch
_C3K_SCALES = "mlx"  # YOLO11 of these sizes has C3k in every C3k2, whatever the row says


class ModelFileError(ValueError):
    """A model file cannot be turned into a network; the text names file, layer and row, and what would be right."""


@dataclass(frozen=True)
class _Scale:
    """What a size letter stands for."""

    letter: str = ""
    depth: float = 1.0
    width: float = 1.0
    max_channels: float = float("inf")

    def repeats(self, n: int) -> int:
        return max(round(n * self.depth), 1) if n > 1 else n

    def channels(self, c2: int) -> int:
        return make_divisible(min(c2, self.max_channels) * self.width, WIDTH_STEP)


def guess_model_scale(model_path: str | Path) -> str:
    """Size letter in a file name such as yolo11s-seg.yaml, or an empty text."""
    found = _WITH_SCALE.search(Path(model_path).stem)
    return found[1] if found else ""


def yaml_model_load(path: str | Path) -> dict[str, Any]:
    """Content of a model file, with the size letter of its name as `scale` and the name as given as `yaml_file`.

    A local file of that name comes first, then the package's own; yolo11s.yaml is yolo11.yaml with scale s.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not YAML.
    """
    d = yaml_load(find_model_yaml(path))
    d["scale"] = guess_model_scale(path) or d.get("scale", "")
    d["yaml_file"] = str(path)
    return d


def parse_model(d: Mapping[str, Any], ch: int, verbose: bool = True) -> tuple[nn.Sequential, list[int]]:
    """Build the layers of a model file's content.

    Args:
        d: content as `yaml_model_load` gives it; not changed.
        ch: channels of the input image.
        verbose: log a line for each layer.

    Returns:
        The layers, each with `i` (number), `f` (from), `type` (class path) and `np` (parameter count), and the sorted
        numbers of the layers whose output a later layer needs.

    Raises:
        ModelFileError: a row or a key is wrong.
    """
    rows, scale = _rows(d), _scale(d)
    legacy = bool(d.get("legacy", not any(module in _YOLO11_BLOCKS for _, _, module, _ in rows)))
    channels: list[int] = [ch]
    layers: list[nn.Module] = []
    save: set[int] = set()
    if verbose:
        LOGGER.info(f"\n{'':>3}{'from':>20}{'n':>3}{'params':>10}  {'module':<45}{'arguments':<30}")
    for i, (f, repeats, module, args) in enumerate(rows):
        sources = [f] if isinstance(f, int) else f
        _check_sources(d, i, sources)
        n = scale.repeats(repeats)
        if n > MAX_REPEATS:
            raise row_error(d, i, f"{n} repeats are more than any network has; at most {MAX_REPEATS} are built")
        row = _Row(d, i, module, n, args, [channels[x] for x in sources])
        layer, c2, call = row.build(scale, legacy)
        layer.i, layer.f, layer.np = i, f, sum(p.numel() for p in layer.parameters())
        layers.append(layer)
        save.update(x % i for x in sources if x != -1)
        channels = [*channels, c2] if i else [c2]  # from here on channels[x] belongs to layer x
        if verbose:
            LOGGER.info(f"{i:>3}{f!s:>20}{row.n:>3}{layer.np:>10}  {layer.type:<45}{call!s:<30}")
    return nn.Sequential(*layers), sorted(save)


def read_activation(d: Mapping[str, Any]) -> nn.Module | None:
    """The module that `activation: nn.LeakyReLU(0.1)` names, None without such a line; nothing of it is executed.

    Raises:
        ModelFileError: it is not `Name` or `Name(literal, key=literal)` of a torch.nn class, with or without 'nn.'.
    """
    text = d.get("activation")
    if not text:
        return None
    wanted = "write a class of torch.nn such as nn.ReLU() or nn.LeakyReLU(0.1)"
    try:
        call = ast.parse(str(text).strip(), mode="eval").body
        positional, named = [], {}
        if isinstance(call, ast.Call):
            positional = [ast.literal_eval(value) for value in call.args]
            named = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
            call = call.func
    except (SyntaxError, ValueError) as e:
        raise ModelFileError(f"{_name(d)}: activation '{text}' cannot be read; {wanted}") from e
    name = ast.unparse(call).removeprefix("torch.").removeprefix("nn.")
    cls = getattr(nn, name, None)
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        near = next(iter(closest(name, nn.modules.activation.__all__)), None)
        hint = f"did you mean nn.{near}()?" if near else wanted
        raise ModelFileError(f"{_name(d)}: activation: torch.nn has no '{name}'; {hint}")
    try:
        return cls(*positional, **named)
    except TypeError as e:
        raise ModelFileError(f"{_name(d)}: activation '{text}' does not fit: {e}") from e


def row_error(d: Mapping[str, Any], i: int, problem: str) -> ModelFileError:
    """The error that says what is wrong with row `i`, and where it stands."""
    rows = list(d["backbone"]) + list(d["head"])
    name = _name(d)
    line = _line_of_row(name, i, len(rows))
    return ModelFileError(f"{name}{f':{line}' if line else ''}: layer {i} {rows[i]}: {problem}")


def known_names() -> list[str]:
    """Names that a row may use, apart from those of torch.nn."""
    return [*_STANDARD, *registry.registered()]


# ---- one row ---------------------------------------------------------------------------------------------------------


@dataclass
class _Row:
    """A row on its way to a module; `n` is scaled, `inputs` are the channels of its sources."""

    d: Mapping[str, Any]
    i: int
    name: str
    n: int
    args: list[Any]
    inputs: list[int]

    def build(self, scale: _Scale, legacy: bool) -> tuple[Any, int, list[Any]]:
        """The module, its output channels, and the arguments its class was called with."""
        entry, (args, options) = self._entry(), self._arguments()
        if self.name == "C3k2" and scale.letter and scale.letter in _C3K_SCALES:
            args[1:2] = [True]
        c1: int | list[int] = self.inputs[0] if len(self.inputs) == 1 else self.inputs
        if isinstance(c1, list) and "c1" in entry.feed and self.name in _STANDARD:
            raise self._error(f"{self.name} takes one input; join several with a Concat row before it")
        c2 = self._out_channels(entry, scale, c1, args)
        values = {"c1": c1, "c2": c2, "n": self.n, "ch": self.inputs, "legacy": legacy}
        rest = args[1:] if entry.scales_width else args
        reads_rest = entry.takes_args or hasattr(entry.cls, "out_channels") or self.name in _STANDARD
        if rest and not reads_rest:  # no error: such files, and checkpoints made from them, run elsewhere
            LOGGER.warning(str(self._error(f"{self.name} takes no such arguments, {rest} is ignored; leave it out")))
        copies: list[Any] = []
        calls: list[list[Any]] = []
        for _ in range(1 if entry.takes_repeats else self.n):
            calls.append([x for word in entry.feed for x in (rest if word == "*args" else [values[word]])])
            copies.append(self._instance(entry, calls[-1], options))
            values["c1"] = c2  # a further copy reads what the one before it gives
        layer: Any = copies[0] if len(copies) == 1 else nn.Sequential(*copies)
        layer.type = f"{entry.cls.__module__}.{entry.cls.__qualname__}"
        if entry.feed == ("*args",) and isinstance(getattr(copies[-1], "out_channels", None), int):
            c2 = copies[-1].out_channels  # nn.Conv2d and its like say so themselves
        return layer, c2, [*calls[0], options] if options else calls[0]

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """The row's arguments by place, and those by name: a mapping at the end, such as {offset_lr: 0.1}."""
        places, names = self.args, {}
        if places and isinstance(places[-1], Mapping):
            *places, names = places
            if self.name in _STANDARD or self.name.startswith("nn."):
                raise self._error(f"{self.name} takes its arguments by place; by name, {names}, only added modules do")
            if not all(isinstance(name, str) for name in names):
                raise self._error(f"arguments by name are written {{name: value}}, such as {{bias: True}}, not {names}")
        return [self._value(a) for a in places], {name: self._value(a) for name, a in names.items()}

    def _entry(self) -> registry.Entry:
        if self.name in _STANDARD:
            return _STANDARD[self.name]
        if self.name.startswith("nn."):
            return self._torch_entry()
        found = registry.lookup(self.name)
        if found:
            return found
        near = next(iter(closest(self.name, known_names(), 0.5)), None)
        hint = f"did you mean {near}? " if near else ""
        raise self._error(
            f"there is no module '{self.name}'; {hint}A module of your own joins by @register(\"c1, c2, *args\") above "
            "its class (from ultralytics import register), in a script that runs before the model is built"
        )

    def _torch_entry(self) -> registry.Entry:
        cls = getattr(nn, self.name[3:], None)
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            near = next(iter(closest(self.name[3:], [x for x in dir(nn) if x[0].isupper()])), None)
            hint = f"did you mean nn.{near}?" if near else "see the list of classes in PyTorch's documentation"
            raise self._error(f"torch.nn has no module '{self.name[3:]}'; {hint}")
        return registry.Entry(self.name, cls, ("*args",))

    def _value(self, arg: Any) -> Any:
        # a text is one of the file's variables, else a Python literal ('None', '(3, 3)'), else itself ('nearest')
        if not isinstance(arg, str):
            return arg
        if arg in _VARIABLES:
            if self.d.get(arg) is None:
                raise self._error(f"the row uses {arg}, but the file does not set it; add a line `{arg}: …` at the top")
            return self.d[arg]
        try:
            return ast.literal_eval(arg)
        except (ValueError, SyntaxError):
            return arg

    def _out_channels(self, entry: registry.Entry, scale: _Scale, c1: int | list[int], args: list[Any]) -> int:
        if entry.scales_width:
            if not args or isinstance(args[0], bool) or not isinstance(args[0], int) or args[0] < 1:
                raise self._error(f"{self.name} needs the number of its output channels first, such as [256, …]")
            return scale.channels(args[0])
        tells = getattr(entry.cls, "out_channels", None)
        if callable(tells):
            return tells(c1, args)
        return c1 if isinstance(c1, int) else c1[0]

    def _instance(self, entry: registry.Entry, call: list[Any], options: Mapping[str, Any]) -> nn.Module:
        name = entry.cls.__name__
        try:
            return entry.cls(*call, **options)
        except Exception as e:  # whatever a constructor raises, the user needs to know the row
            written = ", ".join([*map(repr, call), *(f"{key}={value!r}" for key, value in options.items())])
            several = len(self.inputs) > 1 and "c1" in entry.feed
            join = "If it takes one input, join several with a Concat row before it. " if several else ""
            raise self._error(
                f"{name}({written}) fails: {e or type(e).__name__}. {join}"
                f"The class takes {inspect.signature(entry.cls)}, a row gives it ({', '.join(entry.feed)})"
            ) from e

    def _error(self, problem: str) -> ModelFileError:
        return row_error(self.d, self.i, problem)


def _check_sources(d: Mapping[str, Any], i: int, sources: Sequence[int]) -> None:
    for x in sources:
        if x >= i or x < -max(i, 1):
            known = f"-1 or 0 … {i - 1}" if i else "-1 (the image)"
            raise row_error(d, i, f"`from` {x} is not a layer before this one; here it can be {known}")


# ---- the file as a whole ---------------------------------------------------------------------------------------------


def _rows(d: Mapping[str, Any]) -> list[tuple[Any, int, str, list[Any]]]:
    name = _name(d)
    for part in ("backbone", "head"):
        if not isinstance(d.get(part), list):
            raise ModelFileError(
                f"{name}: `{part}:` must be a list of rows [from, repeats, module, args], found {d.get(part)!r:.60}"
            )
    rows = d["backbone"] + d["head"]
    if not rows:
        raise ModelFileError(f"{name}: backbone and head have no rows")
    for i, row in enumerate(rows):
        if not (isinstance(row, (list, tuple)) and len(row) == 4):
            raise row_error(d, i, "a row has four parts: [from, repeats, module, args]")
        f, n, module, args = row
        sources = f if isinstance(f, list) else [f]
        if not sources or not all(isinstance(x, int) and not isinstance(x, bool) for x in sources):
            raise row_error(d, i, f"`from` is a layer number or a list of them, found {f!r}")
        if not isinstance(n, int) or n < 1:
            raise row_error(d, i, f"`repeats` is a whole number from 1 on, found {n!r}")
        if not isinstance(module, str) or not isinstance(args, (list, tuple)):
            raise row_error(d, i, "the third part is a module's name, the fourth a list of arguments, [] for none")
    return [(f, n, module, list(args)) for f, n, module, args in rows]


def _name(d: Mapping[str, Any]) -> str:
    return d.get("yaml_file") or "model (given as a dict)"


def _scale(d: Mapping[str, Any]) -> _Scale:
    name, scales, letter = _name(d), d.get("scales"), str(d.get("scale") or "")
    if not scales:
        return _Scale(letter, float(d.get("depth_multiple", 1.0)), float(d.get("width_multiple", 1.0)))
    if not isinstance(scales, dict):
        raise ModelFileError(
            f"{name}: `scales:` must map letters to [depth, width, max_channels], found {scales!r:.60}"
        )
    if not letter:
        letter = next(iter(scales))
        if len(scales) > 1:
            LOGGER.warning(f"{name} names no scale; '{letter}' is taken. Write it into the name, as in yolo11s.yaml")
    if letter not in scales:
        raise ModelFileError(f"{name}: there is no scale '{letter}'; `scales:` has {', '.join(map(str, scales))}")
    numbers = scales[letter]
    if not (isinstance(numbers, list) and len(numbers) == 3 and all(isinstance(x, (int, float)) for x in numbers)):
        raise ModelFileError(f"{name}: scale '{letter}' must be [depth, width, max_channels], found {numbers!r}")
    return _Scale(letter, *numbers)


def _line_of_row(name: str, i: int, num_rows: int) -> int | None:
    # only on the way to an error message, so reading the file a second time does not matter
    import yaml

    try:
        root = yaml.compose(find_model_yaml(name).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return None  # a dict, or a file that has changed or gone since
    nodes = {key.value: value for key, value in root.value} if isinstance(root, yaml.MappingNode) else {}
    parts = [nodes[part].value for part in ("backbone", "head") if isinstance(nodes.get(part), yaml.SequenceNode)]
    lines = [row.start_mark.line + 1 for part in parts for row in part]
    return lines[i] if len(lines) == num_rows else None
