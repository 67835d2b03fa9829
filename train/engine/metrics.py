"""The metrics of a run: metrics.jsonl, one record per line."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

METRIC_SUFFIXES = ("loss", "accuracy", "perplexity", "exact", "error_rate")
"""The suffixes that mark a field as a metric."""


def is_metric(name: str) -> bool:
    """Whether a field of a metrics record is a metric of the training."""
    return name.endswith(METRIC_SUFFIXES)


def metric_names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the metrics in the records, each once."""
    return list(dict.fromkeys(name for record in records for name in record if is_metric(name)))


class MetricsLog:
    """metrics.jsonl of a run folder. Each record contains the means since the previous record."""

    def __init__(self, workdir: Path, step: int):
        self.path = workdir / "metrics.jsonl"
        # A killed run may have logged past its last checkpoint. Those steps run again.
        self.records = [record for record in read_metrics(workdir) if record["step"] <= step]
        self.path.write_text("".join(json.dumps(record) + "\n" for record in self.records))

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends a record."""
        self.records.append(dict(record))
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The records of a run folder, without a last line that was cut off; [] if there are none."""
    path = workdir / "metrics.jsonl"
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records
