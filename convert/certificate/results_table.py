"""Writes the Markdown table of trained models with their results and certificates, from run folders."""

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
from train.engine.run_folders import read_recipe, write_text
from train.tasks.models import abstract_model

COLUMNS = (
    "model", "parameters", "data", "steps", "result", "training", "forward", "gradient", "20 steps", "export",
)  # fmt: skip
BEGIN, END = "<!-- table -->", "<!-- end -->"
NOTE = (
    "The columns forward, gradient and 20 steps have the largest errors of the certificate in float64, on "
    "the trained weights, compared with PyTorch: max|a - b| / max(1, max|b|). Errors marked * are of the "
    "small variant. Errors marked † are of steps that each start from PyTorch's state: two PyTorch runs "
    "of this model that start one rounding apart differ by more than 1e-11 after 20 steps. The column "
    "export has the error of the TorchScript file, run in a separate process, compared with the Flax "
    "model in float32."
)


def markdown(workdirs: Sequence[Path], old: str = "") -> str:
    """The Markdown table of run folders that have been exported by `to-torch`, in the order of the catalogue.

    old: an earlier table, whose rows of other models are kept.
    Errors: ValueError for a folder without an exported run.
    """
    new = [row(workdir) for workdir in workdirs]
    models = {cells[0] for cells in new}
    earlier = [line.strip("| ").split(" | ") for line in old.splitlines() if line.startswith("| ")]
    rows = new + [cells for cells in earlier if cells[0] in TWINS.keys() - models]
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
    """The most important metric of a run: exact sequences or accuracy on the test split, or the losses."""
    for name in ("test_exact", "test_accuracy", "accuracy", "test_perplexity", "perplexity", "test_loss"):
        if name in record:
            return f"{name.replace('_', ' ')} {record[name]:.4g}"
    losses = [name for name in record if name.endswith("loss")]
    return ", ".join(f"{name.replace('_', ' ')} {record[name]:.3g}" for name in losses)


def _errors(certificate: dict[str, Any]) -> list[str]:
    """The largest float64 errors of the outputs, the gradients and the steps; FAIL if a check fails."""
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
    """Writes the table into a page, between its lines `<!-- table -->` and `<!-- end -->`.

    The rows of other models are kept. Errors: ValueError for a page without these lines.
    """
    before, begin, rest = page.read_text().partition(BEGIN) if page.is_file() else ("", "", "")
    old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no lines {BEGIN} and {END}, between which the table is written")
    write_text(page, f"{before}{BEGIN}\n{markdown(workdirs, old)}{END}{after}")
