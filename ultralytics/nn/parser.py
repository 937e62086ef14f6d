"""Builds the layers of a network from the rows of a model file.

A row is [from, repeats, module, args]. `from` is the number of the layer whose output it reads (-1: the layer before)
or a list of such numbers; repeats are scaled by the model's depth, channels by its width. The registry says which
module a name means and how a row calls its constructor; other names of the form nn.X are classes of torch.nn.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ultralytics.nn import registry
from ultralytics.nn.model_file import ModelFileError, Scale, read_rows, read_scale, row_error
from ultralytics.utils import LOGGER
from ultralytics.utils.suggest import closest

MAX_REPEATS = 1000  # of a row; a typing error, or a hostile checkpoint, must not fill the memory with layers
_VARIABLES = ("nc", "kpt_shape")  # texts in a row's arguments that stand for a value of the file
_TORCH_SIGNATURES = {"ConvTranspose2d": ("c1", "c2", "*args"), "BatchNorm2d": ("c1",)}  # others: arguments as written
_YOLO11_BLOCKS = {"C3k2", "C2PSA", "C2fPSA", "PSA"}  # a network with one of them has the depthwise class branch
_C3K_SCALES = "mlx"  # YOLO11 of these sizes has C3k in every C3k2, whatever the row says

Channels = int | list[int]  # of one output, or of each of several


def parse_model(d: Mapping[str, Any], ch: int, verbose: bool = True) -> tuple[nn.Sequential, list[int]]:
    """Build the layers of a model file's content.

    Args:
        d: content as `yaml_model_load` returns it; not changed.
        ch: channels of the input image.
        verbose: log a line for each layer.

    Returns:
        The layers, each with `i` (number), `f` (from), `type` (class path) and `np` (parameter count), and the sorted
        numbers of the layers whose output a later layer needs.

    Raises:
        ModelFileError: a row or a key is wrong.
    """
    rows, scale = read_rows(d), read_scale(d)
    legacy = bool(d.get("legacy", not any(row.module in _YOLO11_BLOCKS for row in rows)))
    channels: list[Any] = [ch]
    layers: list[nn.Module] = []
    save: set[int] = set()
    if verbose:
        LOGGER.info(f"\n{'':>3}{'from':>20}{'n':>3}{'params':>10}  {'module':<45}{'arguments':<30}")
    for i, (f, repeats, module, args) in enumerate(rows):
        sources = [f] if isinstance(f, int) else f
        _check_sources(d, i, sources)
        n = scale.repeats(repeats)
        if n > MAX_REPEATS:
            raise row_error(d, i, f"repeats={n} exceeds {MAX_REPEATS}")
        builder = _RowBuilder(d, i, module, n, args, [channels[x] for x in sources], scale, legacy)
        layer, c2, call = builder.build()
        num_parameters = sum(p.numel() for p in layer.parameters())
        vars(layer).update(i=i, f=f, np=num_parameters)
        layers.append(layer)
        save.update(x % i for x in sources if x != -1)
        channels = [*channels, c2] if i else [c2]  # from here on channels[x] belongs to layer x
        if verbose:
            LOGGER.info(f"{i:>3}{f!s:>20}{n:>3}{num_parameters:>10}  {layer.type!s:<45}{call!s:<30}")
    return nn.Sequential(*layers), sorted(save)


def is_known_module(name: str) -> bool:
    """Whether a row of a model file may name this module here."""
    return registry.lookup(name) is not None or name.startswith("nn.")


@dataclass
class _RowBuilder:
    """Turns one row into a module."""

    content: Mapping[str, Any]
    i: int
    name: str
    n: int  # scaled
    args: list[Any]
    inputs: list[Any]  # channels of each source
    scale: Scale
    legacy: bool

    def build(self) -> tuple[nn.Module, Channels, list[Any]]:
        """The module, its output channels, and the arguments that its constructor was called with, for the log."""
        entry, (args, options) = self._entry(), self._arguments()
        if self.name == "C3k2" and self.scale.letter and self.scale.letter in _C3K_SCALES:
            args[1:2] = [True]
        for x in entry.scaled_args:
            if x < len(args):
                args[x] = self.scale.channels(args[x])
        c1: Channels = self.inputs[0] if len(self.inputs) == 1 else self.inputs
        if isinstance(c1, list) and "c1" in entry.signature and entry.is_standard and not _states_channels(entry):
            raise self._error(f"{self.name} takes one input; join several with a Concat row before it")
        c2 = self._out_channels(entry, c1, args)
        rest = args[1:] if "c2" in entry.signature else args
        self._warn_about_unused(entry, rest)
        copies, calls = self._copies(entry, c1, c2, rest, options)
        layer = copies[0] if len(copies) == 1 else nn.Sequential(*copies)
        vars(layer)["type"] = entry.dotted
        if entry.signature == ("*args",) and isinstance(getattr(copies[-1], "out_channels", None), int):
            c2 = copies[-1].out_channels  # nn.Conv2d and similar classes have it as an attribute
        return layer, c2, [*calls[0], options] if options else calls[0]

    def _copies(
        self, entry: registry.Entry, c1: Channels, c2: Channels, rest: list[Any], options: Mapping[str, Any]
    ) -> tuple[list[Any], list[list[Any]]]:
        """The modules of the row, several if a class without `n` is repeated, and the arguments of each."""
        values = {"c1": c1, "c2": c2, "n": self.n, "ch": self.inputs, "legacy": self.legacy}
        copies: list[Any] = []
        calls: list[list[Any]] = []
        for _ in range(1 if "n" in entry.signature else self.n):
            calls.append([x for word in entry.signature for x in (rest if word == "*args" else [values[word]])])
            copies.append(self._instance(entry, calls[-1], options))
            values["c1"] = c2  # a further copy reads the output of the copy before it
        return copies, calls

    def _entry(self) -> registry.Entry:
        entry = registry.lookup(self.name)
        if entry is not None:
            return entry
        if self.name.startswith("nn."):
            return self._torch_entry(self.name.removeprefix("nn."))
        nearest = next(iter(closest(self.name, registry.entries(), 0.5)), None)
        hint = f"did you mean {nearest}? " if nearest else ""
        raise self._error(
            f"there is no module '{self.name}'; {hint}A module of your own needs @register(\"c1, c2, *args\") above "
            "its class (from ultralytics import register), in a script that runs before the model is built"
        )

    def _torch_entry(self, name: str) -> registry.Entry:
        cls = getattr(nn, name, None)
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            nearest = next(iter(closest(name, [x for x in dir(nn) if x[0].isupper()])), None)
            hint = f"did you mean nn.{nearest}?" if nearest else "see the list of classes in PyTorch's documentation"
            raise self._error(f"torch.nn has no module '{name}'; {hint}")
        return registry.Entry(self.name, cls, _TORCH_SIGNATURES.get(name, ("*args",)))

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """The row's positional arguments, and its keyword arguments: a mapping at the end, such as {offset_lr: 0.1}."""
        positional, options = self.args, {}
        if positional and isinstance(positional[-1], Mapping):
            *positional, options = positional
            entry = registry.lookup(self.name)
            if self.name.startswith("nn.") or (entry is not None and entry.is_standard):
                raise self._error(
                    f"{self.name} takes positional arguments only; keyword arguments, {options}, are for added modules"
                )
            if not all(isinstance(name, str) for name in options):
                raise self._error(
                    f"keyword arguments are written {{name: value}}, such as {{bias: True}}, not {options}"
                )
        return [self._value(a) for a in positional], {name: self._value(a) for name, a in options.items()}

    def _value(self, arg: Any) -> Any:
        # a text is one of the file's variables, else a Python literal ('None', '(3, 3)'), else itself ('nearest')
        if not isinstance(arg, str):
            return arg
        if arg in _VARIABLES:
            if self.content.get(arg) is None:
                raise self._error(f"the row uses {arg}, but the file does not set it; add a line `{arg}: …` at the top")
            return self.content[arg]
        try:
            return ast.literal_eval(arg)
        except (ValueError, SyntaxError):
            return arg

    def _out_channels(self, entry: registry.Entry, c1: Channels, args: list[Any]) -> Channels:
        if "c2" in entry.signature:
            if not args or isinstance(args[0], bool) or not isinstance(args[0], int) or args[0] < 1:
                raise self._error(f"{self.name} needs the number of its output channels first, such as [256, …]")
            return self.scale.channels(args[0])
        if _states_channels(entry):
            return entry.cls.out_channels(c1, args)  # type: ignore[attr-defined]
        return c1 if isinstance(c1, int) else c1[0]

    def _warn_about_unused(self, entry: registry.Entry, rest: list[Any]) -> None:
        # no error: such files, and checkpoints made from them, run elsewhere
        is_used = "*args" in entry.signature or _states_channels(entry) or entry.is_standard
        if rest and not is_used:
            LOGGER.warning(str(self._error(f"{self.name} takes no such arguments, {rest} is ignored; remove it")))

    def _instance(self, entry: registry.Entry, call: list[Any], options: Mapping[str, Any]) -> nn.Module:
        name = entry.cls.__name__
        try:
            return entry.cls(*call, **options)
        except Exception as e:  # whatever a constructor raises, the message must name the row
            written = ", ".join([*map(repr, call), *(f"{key}={value!r}" for key, value in options.items())])
            several = len(self.inputs) > 1 and "c1" in entry.signature
            join = "If it takes one input, join several with a Concat row before it. " if several else ""
            raise self._error(
                f"{name}({written}) fails: {e or type(e).__name__}. {join}"
                f"The class takes {inspect.signature(entry.cls)}, a row passes ({', '.join(entry.signature)})"
            ) from e

    def _error(self, problem: str) -> ModelFileError:
        return row_error(self.content, self.i, problem)


def _states_channels(entry: registry.Entry) -> bool:
    return callable(getattr(entry.cls, "out_channels", None))


def _check_sources(content: Mapping[str, Any], i: int, sources: Sequence[int]) -> None:
    for x in sources:
        if x >= i or x < -max(i, 1):
            known = f"-1 or 0 … {i - 1}" if i else "-1 (the image)"
            raise row_error(content, i, f"`from` {x} is not a layer before this one; here it can be {known}")
