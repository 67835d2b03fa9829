"""The certificate as a value, with its table and its JSON."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.certificate.tolerances import TOLERANCES
from train.engine.run_folders import write_json


@dataclass(frozen=True)
class Check:
    """One comparison.

    error: the largest difference. tolerance: the largest allowed one. worst: the leaf or layer with the
    largest difference.
    """

    dtype: str
    name: str
    error: float
    tolerance: float
    worst: str

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Layer:
    """The differences of one layer or leaf, by its torch name.

    forward: the difference of the output of a layer. gradient: the difference of the gradient of a parameter.
    None if there is none.
    """

    dtype: str
    name: str
    forward: float | None
    gradient: float | None


@dataclass(frozen=True)
class Certificate:
    """The result of the comparison of a model with its twin. `str(certificate)` returns a text table.

    model, options, weights, seed: what was compared. steps, batch: the number of training steps, and their
    batch size. versions: the versions of the packages. checks: the comparisons. layers: the differences of
    every layer. exempt: leaves with an exact gradient of zero, which the check of the steps does not compare.
    exports: {exported file: its difference from the Flax model, in a process without this project}.
    """

    model: str
    options: Mapping[str, Any]
    weights: str
    steps: int
    batch: int
    seed: int
    versions: Mapping[str, str]
    checks: tuple[Check, ...]
    layers: tuple[Layer, ...]
    exempt: tuple[str, ...]
    exports: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def first_divergence(self) -> str | None:
        """The first layer, in the order of the calls, whose output differs by more than allowed."""
        for layer in self.layers:
            if layer.forward is not None and layer.forward > TOLERANCES[layer.dtype].forward:
                return f"{layer.name} ({layer.dtype})"
        return None

    def to_json(self) -> dict[str, Any]:
        """The certificate as plain values."""
        values = dataclasses.asdict(self)
        values["checks"] = [{**dataclasses.asdict(c), "passed": c.passed} for c in self.checks]
        return {"passed": self.passed, "first_divergence": self.first_divergence, **values}

    def write(self, path: Path) -> None:
        """Writes the certificate as JSON."""
        write_json(path, self.to_json())

    def __str__(self) -> str:
        """The table as text."""
        from rich.console import Console

        console = Console(width=120, no_color=True, highlight=False)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get()

    def table(self) -> Any:
        """The certificate as a rich renderable."""
        from rich.console import Group
        from rich.table import Table

        table = Table(title=f"{self.model}, {self.weights}", title_justify="left")
        for column in ("dtype", "check", "error", "allowed", "", "largest at"):
            table.add_column(column, justify="right" if column in ("error", "allowed") else "left")
        for check in self.checks:
            verdict = "pass" if check.passed else "FAIL"
            table.add_row(
                check.dtype, check.name, f"{check.error:.1e}", f"{check.tolerance:.0e}", verdict, check.worst
            )
        lines = [", ".join(f"{name} {version}" for name, version in self.versions.items())]
        if self.exempt:
            lines.append(f"exempt from the step check (true gradient zero): {', '.join(self.exempt)}")
        if self.first_divergence:
            lines.append(f"first layer that diverges: {self.first_divergence}")
        lines.append("the twins agree" if self.passed else "THE TWINS DO NOT AGREE")
        return Group(table, *lines)
