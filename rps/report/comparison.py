"""What `compare` found, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rps.records.files import level_name
from rps.report.table import ABSENT, aligned, number

FIGURES = (
    ("rmse", "RMSE", 4, -1),
    ("psnr", "PSNR", 2, 1),
    ("ssim", "SSIM", 4, 1),
    ("ms_ssim", "MS-SSIM", 4, 1),
    ("lpips", "LPIPS", 4, -1),
    ("quality", "quality", 4, 1),
    ("sqrt_frechet", "√FD", 3, -1),
    ("kernel", "KD", 4, -1),
    ("consistency", "consistency", 3, 0),
    ("residual_rms", "residual", 4, 0),
)
"""Name, title, decimals, and which sign of A - B speaks for A; neither where a figure is no matter of more or less."""
NAMED = 8
"""Samples that are named before the rest are counted."""


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """A text in markdown: which runs, what was left out, and one line per pair of levels and figure.

    comparison: what rps.report.compare returns.
    """
    lines = [line for level in comparison["levels"] for line in _lines(level)]
    same_knob = comparison["knob"] == comparison["other_knob"]
    same_levels = same_knob and all(level["level"] == level["other_level"] for level in comparison["levels"])
    titles = [comparison["knob"]] if same_levels else [f"A: {comparison['knob']}", f"B: {comparison['other_knob']}"]
    titles += ["n", "figure", "A", "B", "A − B", "95 % interval", "better"]  # noqa: RUF001 - a minus, as tables have it
    cells = [line if not same_levels else [line[0], *line[2:]] for line in lines]
    columns = list(zip(titles, zip(*cells, strict=True), strict=True))
    head = [f"A: {comparison['run']} ({comparison['knob']})", f"B: {comparison['other']} ({comparison['other_knob']})"]
    text = ["\\\n".join(head), "", *_left_out(comparison), *aligned(columns), "", *_notes(comparison)]
    return "\n".join(text) + "\n"


def _lines(level: Mapping[str, Any]) -> list[list[str]]:
    found = [entry for entry in FIGURES if entry[0] in level["metrics"]]
    if any(name == "consistency" for name, *_ in found):  # says the same, in units of the noise
        found = [entry for entry in found if entry[0] != "residual_rms"]
    lines = [_line(title, level["metrics"][name], digits, sign) for name, title, digits, sign in found]
    calls = level["calls"]
    if calls["run"] is not None and calls["other"] is not None:
        change = f"{calls['run'] - calls['other']:+.0f}"
        lines.append(["calls", number(calls["run"], 0), number(calls["other"], 0), change, "", ""])
    if not lines:
        lines.append([ABSENT] * 6)
    place = [level_name(level["level"]), level_name(level["other_level"]), str(level["n"])]
    return [(place if i == 0 else ["", "", ""]) + line for i, line in enumerate(lines)]


def _line(title: str, figure: Mapping[str, Any], digits: int, sign: int) -> list[str]:
    low, high = figure["ci95"]
    known = math.isfinite(low) and math.isfinite(high)
    if known and figure["se"] >= 10 ** -(digits + 1):  # two digits of the error, unless it is one of rounding
        digits = max(digits, 1 - math.floor(math.log10(figure["se"])))
    interval = f"{low:+.{digits}f} to {high:+.{digits}f}" if known else ABSENT
    values = [number(figure[name], digits) for name in ("run", "other")]
    change = f"{figure['difference']:+.{digits}f}" if math.isfinite(figure["difference"]) else ABSENT
    seen = round(abs(figure["difference"]), digits) > 0  # and not one of rounding alone
    return [title, *values, change, interval, _better(figure, sign) if seen else ""]


def _better(figure: Mapping[str, Any], sign: int) -> str:
    low, high = figure["ci95"]
    if not sign or not (low > 0 or high < 0):
        return ""
    return "A" if (figure["difference"] > 0) == (sign > 0) else "B"


def _left_out(comparison: Mapping[str, Any]) -> list[str]:
    left = comparison["left_out"]
    parts = []
    for name, what in (("only_in_run", "only A has"), ("only_in_other", "only B has")):
        if left[name]:
            parts.append(f"{len(left[name])} that {what} ({_named(left[name])})")
    for name, run in (("failed_in_run", "A"), ("failed_in_other", "B")):
        if left[name]:
            reasons = [f"{id_}: {reason}" for id_, reason in left[name].items()]
            parts.append(f"{len(reasons)} that failed in {run} ({_named(reasons, '; ')})")
    common = comparison["samples"]
    text = f"{common} sample{'s' * (common != 1)} in common."
    return [text + (f" Left out: {'; '.join(parts)}." if parts else " None is left out."), ""]


def _named(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more


def _notes(comparison: Mapping[str, Any]) -> list[str]:
    figures = {name for level in comparison["levels"] for name in level["metrics"]}
    notes = [
        "Differences are paired, sample by sample; the intervals come from bootstrap resamples of the samples. Of so "
        "many intervals one in twenty does not hold the truth. A run is called better where its interval leaves out 0."
    ]
    fewer = [
        f"{title} of {count} of {level['n']} (A {level_name(level['level'])}, B {level_name(level['other_level'])})"
        for level in comparison["levels"]
        for name, title, _, _ in FIGURES
        if (count := level["metrics"].get(name, {}).get("n", level["n"])) < level["n"]
    ]
    if fewer:
        notes.append(f"Infinite or missing figures are left out, in pairs; what is left: {'; '.join(fewer)}.")
    if comparison["same_measurements"] is False:
        notes.append("The two runs have other measurements of the same images (another seed, say).")
    if "sqrt_frechet" in figures:
        against = comparison["reference"]
        size = f" (n = {against['n']})" if "n" in against else ""
        of = "the clean images of the n samples" if not size else f"{against['images']}{size}"
        notes.append(
            f"√FD, KD: root of the Frechet distance, and kernel distance, of the n images to {of}; features: "
            f"{comparison['features']}. √FD is biased upwards by few samples, alike in A and B."
        )
    if comparison["knob"] != comparison["other_knob"] and len(comparison["levels"]) > 1:
        notes.append("The knobs differ, so each level of A stands against each level of B; --levels chooses pairs.")
    return [line for note in notes for line in (note, "")][:-1]
