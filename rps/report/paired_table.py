"""The comparison of two runs as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rps.records.files import level_name
from rps.report.cells import ABSENT, align, metrics_to_show, number, precise
from rps.report.table import unit

NAMED = 8
"""Number of samples that are named; the rest are counted."""


def paired_table(comparison: Mapping[str, Any]) -> str:
    """The comparison as markdown: the runs, what was left out, and one line per pair of levels and figure.

    comparison: the result of rps.report.compare_runs.
    """
    lines = [line for level in comparison["levels"] for line in _lines(level, comparison["infos"])]
    same_knob = comparison["knob"] == comparison["other_knob"]
    same_levels = same_knob and all(level["level"] == level["other_level"] for level in comparison["levels"])
    titles = [comparison["knob"]] if same_levels else [f"A: {comparison['knob']}", f"B: {comparison['other_knob']}"]
    titles += ["n", "figure", "A", "B", "A − B", "95 % interval", "better"]  # noqa: RUF001 - a minus, as tables have it
    cells = [line if not same_levels else [line[0], *line[2:]] for line in lines]
    columns = list(zip(titles, zip(*cells, strict=True), strict=True))
    head = [f"A: {comparison['run']} ({comparison['knob']})", f"B: {comparison['other']} ({comparison['other_knob']})"]
    text = ["\\\n".join(head), "", *_left_out(comparison), *align(columns), "", *_notes(comparison)]
    return "\n".join(text) + "\n"


def _lines(level: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    metrics = level["metrics"]
    lines = [_line(info, metrics[info["name"]]) for info in metrics_to_show(infos, [metrics])]
    name, a, b = (level["cost"][key] for key in ("name", "run", "other"))
    if a is not None and b is not None:
        title = "cost" if name == "forward_equivalents" else "calls"
        lines.append([title, number(a, 0), number(b, 0), f"{a - b:+.0f}", "", ""])
    if not lines:
        lines.append([ABSENT] * 6)
    place = [level_name(level["level"]), level_name(level["other_level"]), str(level["n"])]
    return [(place if i == 0 else ["", "", ""]) + line for i, line in enumerate(lines)]


def _line(info: Mapping[str, Any], figure: Mapping[str, Any]) -> list[str]:
    low, high = figure["ci95"]
    known = math.isfinite(low) and math.isfinite(high)
    digits = precise(info["digits"], figure["se"]) if known else info["digits"]
    interval = f"{low:+.{digits}f} to {high:+.{digits}f}" if known else ABSENT
    values = [number(figure[name], digits) for name in ("run", "other")]
    change = f"{figure['difference']:+.{digits}f}" if math.isfinite(figure["difference"]) else ABSENT
    visible = round(abs(figure["difference"]), digits) > 0  # not mere rounding
    return [info["title"], *values, change, interval, _better(figure, info["better"]) if visible else ""]


def _better(figure: Mapping[str, Any], better: str | None) -> str:
    low, high = figure["ci95"]
    if better is None or not (low > 0 or high < 0):
        return ""
    return "A" if (figure["difference"] > 0) == (better == "higher") else "B"


def _left_out(comparison: Mapping[str, Any]) -> list[str]:
    left = comparison["left_out"]
    parts = []
    for name, run in (("only_in_run", "A"), ("only_in_other", "B")):
        if left[name]:
            parts.append(f"{len(left[name])} only in {run} ({_named(left[name])})")
    for name, run in (("failed_in_run", "A"), ("failed_in_other", "B")):
        if left[name]:
            reasons = [f"{id_}: {reason}" for id_, reason in left[name].items()]
            parts.append(f"{len(reasons)} that failed in {run} ({_named(reasons, '; ')})")
    common = comparison["samples"]
    text = f"{common} sample{'s' * (common != 1)} in common."
    return [text + (f" Left out: {'; '.join(parts)}." if parts else " None are left out."), ""]


def _named(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more


def _notes(comparison: Mapping[str, Any]) -> list[str]:
    figures = {name for level in comparison["levels"] for name in level["metrics"]}
    notes = [
        "Differences are paired, sample by sample; the intervals come from bootstrap resamples of the samples. One "
        "interval in twenty misses the true value. A run is called better where the interval excludes 0."
    ]
    if all(comparison["relative_costs"]):
        a, b = (unit(relative, comparison["decoder"]) for relative in comparison["relative_costs"])
        notes.append(a if a == b else f"A: {a} B: {b}")
    fewer = [
        f"{info['title']} of {count} of {level['n']} "
        f"(A {level_name(level['level'])}, B {level_name(level['other_level'])})"
        for level in comparison["levels"]
        for info in comparison["infos"]
        if (count := level["metrics"].get(info["name"], {}).get("n", level["n"])) < level["n"]
    ]
    if fewer:
        notes.append(f"Infinite or missing figures are left out in pairs. Smaller n: {'; '.join(fewer)}.")
    if different := comparison["different_metrics"]:
        notes.append(f"Left out, since their networks or definitions differ: {', '.join(different)}.")
    if one_sided := comparison["one_sided_metrics"]:
        notes.append(f"Left out, since only one run has them: {', '.join(one_sided)}.")
    if comparison["same_measurements"] is False:
        notes.append("The two runs have different measurements of the same images (e.g. another seed).")
    if "sqrt_frechet" in figures:
        against = comparison["reference"]
        size = f" (n = {against['n']})" if "n" in against else ""
        of = "the clean images of the n samples" if not size else f"{against['images']}{size}"
        notes.append(
            f"√FD{', KD' if 'kernel' in figures else ''}: root of the Frechet distance"
            f"{', and kernel distance,' if 'kernel' in figures else ''} between the n images and {of}; features: "
            f"{comparison['features']}. √FD is biased upwards for small n, equally in A and B."
        )
    if comparison["knob"] != comparison["other_knob"] and len(comparison["levels"]) > 1:
        notes.append("The knobs differ, so each level of A is compared with each level of B; --levels selects pairs.")
    return [line for note in notes for line in (note, "")][:-1]
