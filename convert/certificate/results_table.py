"""The table of trained models with their results and certificates, made from run folders."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from convert.twins import TWINS
from convert.weights import flat_variables
from train.engine.metrics import read_metrics
from train.engine.progress import duration
from train.engine.run_folders import read_recipe
from train.tasks.models import abstract_model

COLUMNS = (
    "model", "parameters", "data", "steps", "result", "training", "forward", "gradient", "20 steps", "export",
)  # fmt: skip
BEGIN, END = "<!-- table -->", "<!-- end -->"
NOTE = (
    "Errors are the largest in float64 of the certificate on the trained weights, against PyTorch: "
    "max|a - b| / max(1, max|b|). Those marked * are of the small variant; those "
    "marked † of steps that began from PyTorch's state each, since PyTorch itself, started one rounding "
    "away, leaves PyTorch by more than 1e-10 there. "
    "Export: the TorchScript file in a process of its own against the Flax model, in float32."
)


def markdown(workdirs: Sequence[Path], old: str = "") -> str:
    """The table of run folders that `to-torch` has been run on, as Markdown, in the order of the catalogue.

    old: an earlier table, whose rows of other models stay.
    Errors: ValueError for a folder that holds no such run.
    """
    new = [row(workdir) for workdir in workdirs]
    made = {cells[0] for cells in new}
    kept = [line.strip("| ").split(" | ") for line in old.splitlines() if line.startswith("| ")]
    rows = new + [cells for cells in kept if cells[0] in TWINS.keys() - made]
    rows.sort(key=lambda cells: list(TWINS).index(cells[0]))
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + f"\n\n{NOTE}\n"


def row(workdir: Path) -> list[str]:
    """The cells of one run.

    Errors: ValueError for a folder without metrics or without a certificate.
    """
    recipe = read_recipe(workdir)
    records = read_metrics(workdir)
    path = workdir / "export" / "certificate.json"
    if not records or not path.is_file():
        raise ValueError(
            f"{workdir} has no metrics or no certificate: train it, then python -m convert to-torch"
        )
    certificate = json.loads(path.read_text())
    variables = flat_variables(abstract_model(recipe)).values()
    parameters = sum(math.prod(v.shape) for v in variables if isinstance(v, nnx.Param))
    last = records[-1]
    exports = certificate["exports"].values()
    return [
        recipe.model, f"{parameters:,}", recipe.dataset, str(last["step"]), _result(last),
        duration(last["seconds"]), *_errors(certificate),
        f"{max(exports):.0e}" if exports else "none",
    ]  # fmt: skip


def _result(record: dict[str, Any]) -> str:
    """The most important metric of a run: the accuracy on the test split, or the losses."""
    for name in ("test_accuracy", "accuracy", "test_perplexity", "perplexity", "test_loss"):
        if name in record:
            return f"{name.replace('_', ' ')} {record[name]:.4g}"
    losses = [name for name in record if name.endswith("loss")]
    return ", ".join(f"{name.replace('_', ' ')} {record[name]:.3g}" for name in losses)


def _errors(certificate: dict[str, Any]) -> list[str]:
    """The largest float64 errors of the outputs, the gradients and the steps; FAIL where a check fails."""
    cells = []
    for kind in ("forward", "gradients", "steps"):
        checks = [c for c in certificate["checks"] if c["dtype"] == "float64" and kind in c["name"]]
        worst = max(check["error"] for check in checks)
        small = "*" if any("small variant" in check["name"] for check in checks) else ""
        small += "†" if any("each from torch" in check["name"] for check in checks) else ""
        failed = "" if all(check["passed"] for check in checks) else " FAIL"
        cells.append(f"{worst:.0e}{small}{failed}")
    return cells


def write_table(workdirs: Sequence[Path], page: Path) -> None:
    """Puts the table into a page, between its lines `<!-- table -->` and `<!-- end -->`.

    The rows of other models stay. Errors: ValueError for a page without these lines.
    """
    before, mark, rest = page.read_text().partition(BEGIN) if page.is_file() else ("", "", "")
    old, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"{page} has no lines {BEGIN} and {END} for the table to stand between")
    page.write_text(f"{before}{BEGIN}\n{markdown(workdirs, old)}{END}{after}")
