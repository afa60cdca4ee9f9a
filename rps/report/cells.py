"""Cells of tables: figures of metrics.json as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rps.metrics.dp import PERCEPTION

Metrics = Mapping[str, Any]
ABSENT = "–"  # noqa: RUF001 - an en dash, as tables have it


def metrics_to_show(infos: Sequence[Metrics], lines: Sequence[Metrics]) -> list[Metrics]:
    """The metrics that some line has, except those that another of them makes redundant (see MetricInfo.unless)."""
    names = [info["name"] for info in infos if any(has_figure(line, info["name"]) for line in lines)]
    return [info for info in infos if info["name"] in names and info.get("unless") not in names]


def has_figure(metrics: Metrics, name: str) -> bool:
    """Whether a metric applies to a level, even if its value is missing."""
    return bool(metrics.get(name)) or not math.isnan(figure(metrics, name)[0])


def figure(metrics: Metrics, name: str) -> tuple[float, float]:
    """(value, standard error) of a metric of a level, NaN if missing or if the metric does not apply."""
    found = metrics.get(name, {})
    value, se = found.get("mean", found.get("value")), found.get("se")
    if name == PERCEPTION and not found:  # a level stores it with the distance itself
        found = metrics.get("frechet", {})
        value, se = found.get("sqrt"), found.get("se_sqrt")
    return (value if is_known(value) else math.nan, se if is_known(se) else math.nan)


def precise(digits: int, se: float) -> int:
    """Decimals that show two digits of a standard error, unless it is mere rounding; at least `digits`."""
    return max(digits, 1 - math.floor(math.log10(se))) if se >= 10 ** -(digits + 1) else digits


def signed(found: Metrics, info: Metrics, sign: str = "+") -> str:
    """ "+0.0138 ± 0.0012", a difference with its standard error; with another sign, such as "", any figure."""
    value, se = figure(found, info["name"])
    digits = precise(info["digits"], se)
    return f"{value:{sign}.{digits}f}" + plus_minus(se, digits) if is_known(value) else ABSENT


def amount(value: float, se: float, info: Metrics) -> str:
    """ "0.0138 ± 0.0012", the size of a difference."""
    digits = precise(info["digits"], se)
    return f"{abs(value):.{digits}f}{plus_minus(se, digits)}"


def number(value: float | None, digits: int) -> str:
    return f"{value:.{digits}f}" if value is not None and is_known(value) else ABSENT


def plus_minus(value: float | None, digits: int) -> str:
    return f" ± {value:.{digits}f}" if value is not None and is_known(value) else ""


def is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def align(columns: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    widths = [max(len(title), 2, *(len(cell) for cell in cells)) for title, cells in columns]
    rows = [[title for title, _ in columns], *zip(*(cells for _, cells in columns), strict=True)]
    text = ["| " + " | ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return [text[0], rule, *text[1:]]
