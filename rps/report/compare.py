"""Two runs, level by level, on the samples that both have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rps.metrics.frechet import Statistics
from rps.records.files import level_name
from rps.records.reader import read_records
from rps.records.summary import level_difference
from rps.report.table import aligned, number, plus_minus

FIGURES = (
    ("rmse", "RMSE", 4),
    ("psnr", "PSNR", 2),
    ("ssim", "SSIM", 3),
    ("ms_ssim", "MS-SSIM", 3),
    ("lpips", "LPIPS", 3),
    ("consistency", "consistency", 3),
    ("sqrt_frechet", "√FD", 2),
    ("kernel", "KD", 4),
)


def compare(run: str | Path, other: str | Path, reference: Statistics | None = None) -> dict[str, Any]:
    """`run` minus `other` at every level of both, paired on the ids that are good in both.

    -> {"run", "other", "knob", "levels": [{"level", "n", metric: {"mean" or "value", "se", "ci95"}}]}.

    reference: of the Frechet and kernel distances; None takes each run's own clean images, and has no distances where
    the two runs' features are of different networks.
    Errors: ValueError for runs with different knobs, without a common level, or without a common sample.
    """
    a, b = read_records(run), read_records(other)
    if a.knob != b.knob:
        raise ValueError(f"levels of {a.knob!r} ({run}) and of {b.knob!r} ({other}) cannot be compared")
    common = [level for level in a.levels if level in b.levels]
    if not common:
        raise ValueError(f"{run} has the levels {a.levels} and {other} {b.levels}: none is common to both")
    levels = [{"level": level, **level_difference(a, b, ("restored", level), reference)} for level in common]
    if not any(level["n"] for level in levels):
        raise ValueError(f"{run} and {other} have no sample in common that both restored; give runs of the same data")
    return {"run": str(run), "other": str(other), "knob": a.knob, "levels": levels}


def comparison_table(comparison: dict[str, Any]) -> str:
    """A markdown table of what `compare` found, with 95 % intervals that exclude zero marked by a star."""
    levels = comparison["levels"]
    columns = [(comparison["knob"], [level_name(level["level"]) for level in levels])]
    columns.append(("n", [str(level["n"]) for level in levels]))
    for name, title, digits in FIGURES:
        if any(name in level for level in levels):
            columns.append((title, [_cell(level.get(name), digits) for level in levels]))
    note = (
        f"{comparison['run']} minus {comparison['other']}, paired over n samples, ± standard error; "
        "* the 95 % interval does not hold zero."
    )
    return "\n".join([*aligned(columns), "", note]) + "\n"


def _cell(figure: dict[str, Any] | None, digits: int) -> str:
    if figure is None:
        return number(None, digits)
    value, (low, high) = figure.get("mean", figure.get("value")), figure["ci95"]
    star = " *" if low > 0 or high < 0 else ""
    return number(value, digits) + plus_minus(figure["se"], digits) + star
