"""The tables of `benchmarks.train_step` as Markdown: steps, forward passes, memory, and their summary."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
"""What `benchmarks.train_step.measure` returns."""


def markdown(results: Sequence[Result]) -> str:
    """The summary and all tables."""
    parts = [_summary(results), _steps(results), _forward(results), _memory(results)]
    return "\n\n".join(parts) + "\n"


def ratios(result: Result, what: str) -> dict[str, float]:
    """{version of jax: torch's shortest time divided by Flax's} of "step", "forward 1" or "forward 64"."""
    medians = {name: timing[0] for name, timing in result["milliseconds"][what].items()}
    best = min(value for name, value in medians.items() if name.startswith("torch"))
    return {name: best / value for name, value in medians.items() if not name.startswith("torch")}


def _versions(results: Iterable[Result]) -> list[str]:
    """The contenders of Flax, such as "jax 0.10.2"."""
    return list(dict.fromkeys(name for one in results for name in ratios(one, "step")))


def _summary(results: Sequence[Result]) -> str:
    rows = []
    for version in _versions(results):
        for what in ("step", "forward 1", "forward 64"):
            of = {one["model"]: ratios(one, what).get(version) for one in results}
            known = {model: ratio for model, ratio in of.items() if ratio is not None}
            best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
            mean = math.exp(sum(math.log(ratio) for ratio in known.values()) / len(known))
            faster = sum(ratio >= 1 for ratio in known.values())
            cells = [f"{known[best]:.2f} ({best})", f"{known[worst]:.2f} ({worst})", f"{mean:.2f}"]
            rows.append([version, what, *cells, f"{faster} of {len(known)}"])
    return _table(["", "torch / Flax of a", "best", "worst", "geometric mean", "at least 1"], rows)


def _steps(results: Sequence[Result]) -> str:
    versions = _versions(results)
    contenders = [*versions, "torch eager", "torch.compile"]
    head = ["step", "batch", *(f"{name}, ms" for name in contenders), *(f"ratio, {v}" for v in versions)]
    rows = []
    for one in results:
        timings, of = one["milliseconds"]["step"], ratios(one, "step")
        cells = [_timing(timings[name]) if name in timings else "" for name in contenders]
        rows.append([one["model"], one["batch"], *cells, *(_ratio(of.get(v)) for v in versions)])
    return _table(head, rows)


def _forward(results: Sequence[Result]) -> str:
    versions = _versions(results)
    contenders = [*versions, "torch"]
    sizes = ("forward 1", "forward 64")
    head = ["forward"]
    for size in sizes:
        examples = size.removeprefix("forward ")
        head += [f"{examples}: {name}, ms" for name in contenders]
        head += [f"{examples}: ratio, {version}" for version in versions]
    rows = []
    for one in results:
        row = [one["model"]]
        for size in sizes:
            timings, of = one["milliseconds"][size], ratios(one, size)
            row += [f"{timings[name][0]:.2f}" if name in timings else "" for name in contenders]
            row += [_ratio(of.get(version)) for version in versions]
        rows.append(row)
    return _table(head, rows)


def _memory(results: Sequence[Result]) -> str:
    contenders = [*_versions(results), "torch"]
    rows = [
        [one["model"], one["batch"], *(f"{one['memory'].get(name, math.nan):.0f}" for name in contenders)]
        for one in results
    ]
    return _table(["peak memory of a step", "batch", *(f"{name}, MiB" for name in contenders)], rows)


def _timing(timing: Sequence[float]) -> str:
    median, low, high = timing
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)
