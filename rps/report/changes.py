"""The table of changes: every level minus the first one, on the same pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rps.metrics.dp import DISTANCES
from rps.metrics.significance import FEWEST_IN_SET, is_change, threshold
from rps.records.files import level_name
from rps.report.cells import ABSENT, Metrics, figure, metrics_to_show, signed

OF_SETS = {info.name for info in DISTANCES}


def changes(summary: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """(title, cells) of every column: the knob, n, and the change of each metric ± its standard error.

    A change that cannot be told from zero (see rps.metrics.significance) is in parentheses. Empty without changes.
    """
    lines = [(level_name(level["level"]), found) for level in summary["levels"] if (found := _change(level))]
    if not lines:
        return []
    if found := _change(summary.get("pseudo_inverse", {})):
        lines.append(("A⁺y", found))
    infos = metrics_to_show(summary["metrics"], [change for _, change in lines])
    columns = [(summary["knob"], [name for name, _ in lines]), ("n", [str(change["n"]) for _, change in lines])]
    return columns + [(info["title"], [_cell(change, info) for _, change in lines]) for info in infos] if infos else []


def caption(summary: Mapping[str, Any]) -> str:
    """The sentence above the table of changes."""
    first, n = summary["levels"][0], max(change["n"] for level in summary["levels"] if (change := _change(level)))
    start = f"Change from {summary['knob']} = {level_name(first['level'])}"
    if n == 1:
        return f"{start} on one picture, from which nothing can be told about others."
    return (
        f"{start} on the same pictures ± its standard error. In parentheses: cannot be told from zero at 95 %, which "
        f"takes {threshold(n):.1f} standard errors"
        + (f" (and, of distances between sets, {FEWEST_IN_SET} images)." if n < FEWEST_IN_SET else ".")
    )


def told(change: Metrics, name: str) -> float:
    """The change of a metric if it can be told from zero, else 0."""
    value, se = figure(change, name)
    n = change["n"]
    return value if is_change(value, se, n) and (n >= FEWEST_IN_SET or name not in OF_SETS) else 0.0


def _change(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return entry.get("difference_to_first")


def _cell(change: Metrics, info: Metrics) -> str:
    text = signed(change, info)
    return text if text == ABSENT or told(change, info["name"]) else f"({text})"
