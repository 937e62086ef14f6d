"""The report of a weight transfer: which tensors were transferred, in all and for each row of the target network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ClassMatch = Literal["name", "number", ""]  # how classes were matched; "" if no class layer has a counterpart


@dataclass
class RowReport:
    """One row of the target network.

    Attributes:
        number: of the row.
        type: class name of its module.
        source: number of its counterpart in the source network, None for a new row.
        source_type: class name of the counterpart's module.
        transferred: names of tensors that were transferred whole, as in the target's state_dict.
        partly: names of those that were transferred in part, because widths or classes differ.
        new: names of those that keep their values.
        identity: names of new residual blocks in the row that start as the identity.
    """

    number: int
    type: str
    source: int | None
    source_type: str = ""
    transferred: list[str] = field(default_factory=list)
    partly: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    identity: list[str] = field(default_factory=list)

    @property
    def carried(self) -> list[str]:
        """Alias of `transferred`, kept for one release."""
        return self.transferred

    def __str__(self) -> str:
        """One line of the report's table."""
        if self.source is None:
            origin = "new"
        elif self.type == self.source_type:
            origin = f"from {self.source}"
        else:
            origin = f"from {self.source} {self.source_type}"
        counts = {"transferred": self.transferred, "in part": self.partly, "new": self.new}
        parts = [f"{len(names)} {word}" for word, names in counts.items() if names]
        if self.identity:
            blocks = " and ".join(self.identity) if len(self.identity) < 3 else f"{len(self.identity)} blocks"
            parts.append(f"{blocks} starting as the identity".strip())
        return f"{self.number:>5}  {self.type:<26} {origin:<18} {', '.join(parts)}"


@dataclass
class TransferReport:
    """The result of `transfer_weights`. Tensors are entries of state_dict; shares count parameters.

    Attributes:
        rows: one report for each row of the target.
        left: names of the source's tensors that were not used.
        parameters: number of the target's parameters.
        parameters_transferred: of these, how many hold a value of the source.
        source_parameters: number of the source's parameters.
        source_parameters_transferred: of these, how many were used.
        classes: names of the classes whose rows were transferred.
        num_classes: number of the target's classes.
        classes_by: how classes were matched.
    """

    rows: list[RowReport]
    left: list[str]
    parameters: int
    parameters_transferred: int
    source_parameters: int
    source_parameters_transferred: int
    classes: list[str] = field(default_factory=list)
    num_classes: int = 0
    classes_by: ClassMatch = ""

    @property
    def transferred(self) -> list[str]:
        """Names of the target's tensors that were transferred whole."""
        return [name for row in self.rows for name in row.transferred]

    @property
    def carried(self) -> list[str]:
        """Alias of `transferred`, kept for one release."""
        return self.transferred

    @property
    def partly(self) -> list[str]:
        """Names of the target's tensors that were transferred in part, because their widths or classes differ."""
        return [name for row in self.rows for name in row.partly]

    @property
    def new(self) -> list[str]:
        """Names of the target's tensors that keep their values."""
        return [name for row in self.rows for name in row.new]

    @property
    def identities(self) -> list[str]:
        """Names of the new residual blocks that start as the identity."""
        return [".".join(filter(None, ("model", str(r.number), x))) for r in self.rows for x in r.identity]

    @property
    def share(self) -> float:
        """Share of the target's parameters that were transferred, 0 … 1."""
        return self.parameters_transferred / self.parameters if self.parameters else 0.0

    @property
    def share_left(self) -> float:
        """Share of the source's parameters that were not used, 0 … 1."""
        return 1 - self.source_parameters_transferred / self.source_parameters if self.source_parameters else 0.0

    @property
    def summary(self) -> str:
        """One line."""
        transferred, partly, new = len(self.transferred), len(self.partly), len(self.new)
        if not transferred and not partly:
            return "No weights were transferred: no layer of the source has a counterpart in this network"
        return (
            f"Transferred {transferred} of {transferred + partly + new} tensors, {partly} more in part "
            f"({self.share:.1%} of the parameters); {new} are new; {len(self.left)} of the source's tensors were not "
            f"used ({self.share_left:.1%})"
        )

    def __str__(self) -> str:
        """Summary, then a line for every row that was not transferred whole."""
        lines = [self.summary]
        incomplete = [row for row in self.rows if row.partly or row.new]
        if incomplete and (self.transferred or self.partly):
            lines.append(f"{'layer':>5}  {'type':<26} {'weights':<18} tensors")
            lines += map(str, incomplete)
        if len(self.classes) < self.num_classes and self.classes_by == "name":
            lines.append(f"classes matched by name: {', '.join(self.classes) or 'none'}; {self.num_classes} in all")
        elif not self.classes and self.classes_by == "number":
            lines.append("no class was transferred: their number differs, and one of the networks has no class names")
        return "\n".join(lines)
