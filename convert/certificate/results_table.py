"""Writes the Markdown table of trained models with their results and certificates, from run folders."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from convert.pages import read_section, write_section
from convert.twins import TWINS
from convert.weights import flat_variables
from train.engine.metrics import read_metrics
from train.engine.progress import duration
from train.engine.run_folders import read_recipe
from train.recipes import Recipe
from train.tasks.models import abstract_model

COLUMNS = (
    "model", "parameters", "data", "steps", "result", "training", "forward", "gradient", "20 steps", "export",
)  # fmt: skip
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


class Results(NamedTuple):
    """What a run folder shows of its training.

    recipe: of the run. parameters: their number. last: the last record of metrics.jsonl. certificate: the
    content of certificate.json; None for a run that to-torch has not exported.
    """

    recipe: Recipe
    parameters: int
    last: Mapping[str, Any]
    certificate: Mapping[str, Any] | None


def read_results(workdir: Path) -> Results:
    """The results of a run. Errors: ValueError for a folder without metrics."""
    recipe = read_recipe(workdir)
    records = read_metrics(workdir)
    if not records:
        raise ValueError(f"{workdir} has no metrics: train it")
    variables = flat_variables(abstract_model(recipe)).values()
    parameters = sum(math.prod(v.shape) for v in variables if isinstance(v, nnx.Param))
    path = workdir / "export" / "certificate.json"
    certificate = json.loads(path.read_text()) if path.is_file() else None
    return Results(recipe, parameters, records[-1], certificate)


def row(workdir: Path) -> list[str]:
    """The cells of one run.

    Errors: ValueError for a folder without metrics or without a certificate.
    """
    recipe, parameters, last, certificate = read_results(workdir)
    if certificate is None:
        raise ValueError(f"{workdir} has no certificate: python -m convert to-torch {workdir}")
    return [
        recipe.model, f"{parameters:,}", recipe.dataset, str(last["step"]), main_metric(last),
        duration(last["seconds"]), *certified_errors(certificate), export_error(certificate),
    ]  # fmt: skip


def main_metric(record: Mapping[str, Any]) -> str:
    """The most important metric of a run: exact sequences or accuracy on the test split, or the losses."""
    for name in ("test_exact", "test_accuracy", "accuracy", "test_perplexity", "perplexity", "test_loss"):
        if name in record:
            return f"{name.replace('_', ' ')} {record[name]:.4g}"
    losses = [name for name in record if name.endswith("loss")]
    return ", ".join(f"{name.replace('_', ' ')} {record[name]:.3g}" for name in losses)


def certified_errors(certificate: Mapping[str, Any]) -> list[str]:
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


def export_error(certificate: Mapping[str, Any]) -> str:
    """The largest error of the exported files; "none" if there are no such files."""
    exports = certificate["exports"].values()
    return f"{max(exports):.0e}" if exports else "none"


def write_table(workdirs: Sequence[Path], page: Path) -> None:
    """Writes the table into a page, between its lines `<!-- table -->` and `<!-- end -->`.

    The rows of other models are kept. Errors: ValueError for a page without these lines.
    """
    write_section(page, markdown(workdirs, read_section(page)))
