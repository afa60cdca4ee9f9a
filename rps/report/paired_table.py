"""The comparison of a run with others as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from rps.records.files import level_name
from rps.report.cells import ABSENT, align, metrics_to_show, number, precise
from rps.report.table import unit

NAMED = 8
"""Number of samples that are named; the rest are counted."""

Comparison = Mapping[str, Any]
"""The result of rps.report.compare_runs."""


def paired_table(*comparisons: Comparison) -> str:
    """Comparisons of one run, A, with others, B, C, ..., as markdown: the runs, what was left out, and one line per
    pair of levels and figure.
    """
    first = comparisons[0]
    head = [f"A: {first['run']} ({first['knob']})"]
    head += [f"{letter}: {found['other']} ({found['other_knob']})" for letter, found in _others(comparisons)]
    left, notes = paired_notes(*comparisons)
    table = align(paired_columns(*comparisons))
    return "\n".join(["\\\n".join(head), "", "\\\n".join(left), "", *table, "", "\n\n".join(notes)]) + "\n"


def paired_columns(*comparisons: Comparison) -> list[tuple[str, list[str]]]:
    """(title, cells) of every column of this table."""
    first, several = comparisons[0], len(comparisons) > 1
    same_knob = all(found["knob"] == found["other_knob"] for found in comparisons)
    levels = [level for found in comparisons for level in found["levels"]]
    same_levels = same_knob and all(level["level"] == level["other_level"] for level in levels)
    other = "run" if several else "B"
    titles = [f"{'' if same_levels else 'A: '}{first['knob']}"]
    titles += [] if same_levels else ["its level" if several else f"B: {first['other_knob']}"]
    titles += [*(["run"] if several else []), "n", "figure", "A", "its value" if several else "B"]
    titles += [f"A − {other}", "95 % interval", "better"]  # noqa: RUF001 - a minus, as tables have it
    cells = []
    for letter, found in _others(comparisons):
        for level in found["levels"]:
            there = level_name(level["other_level"])
            place = [level_name(level["level"])]
            place += [] if same_levels else [f"{found['other_knob']} {there}" if several else there]
            place += [*([letter] if several else []), str(level["n"])]
            lines = _lines(level, found["infos"], letter)
            cells += [(place if i == 0 else [""] * len(place)) + line for i, line in enumerate(lines)]
    return list(zip(titles, map(list, zip(*cells, strict=True)), strict=True))


def paired_notes(*comparisons: Comparison) -> tuple[list[str], list[str]]:
    """(which samples each comparison leaves out, the notes under the table)."""
    others, several = _others(comparisons), len(comparisons) > 1
    left = [_left_out(found, letter, several) for letter, found in others]
    return left, list(dict.fromkeys(note for letter, found in others for note in _notes(found, letter)))


def _others(comparisons: Sequence[Comparison]) -> list[tuple[str, Comparison]]:
    """(letter, comparison) of each of the other runs."""
    return list(zip(ascii_uppercase[1:], comparisons, strict=False))


def _lines(level: Mapping[str, Any], infos: Sequence[Mapping[str, Any]], letter: str) -> list[list[str]]:
    metrics = level["metrics"]
    lines = [_line(info, metrics[info["name"]], letter) for info in metrics_to_show(infos, [metrics])]
    name, a, b = (level["cost"][key] for key in ("name", "run", "other"))
    if a is not None and b is not None:
        title = "cost" if name == "forward_equivalents" else "calls"
        lines.append([title, number(a, 0), number(b, 0), f"{a - b:+.0f}", "", ""])
    return lines or [[ABSENT] * 6]


def _line(info: Mapping[str, Any], figure: Mapping[str, Any], letter: str) -> list[str]:
    low, high = figure["ci95"]
    known = math.isfinite(low) and math.isfinite(high)
    digits = precise(info["digits"], figure["se"]) if known else info["digits"]
    interval = f"{low:+.{digits}f} to {high:+.{digits}f}" if known else ABSENT
    values = [number(figure[name], digits) for name in ("run", "other")]
    change = f"{figure['difference']:+.{digits}f}" if math.isfinite(figure["difference"]) else ABSENT
    better = "A" if (figure["difference"] > 0) == (info["better"] == "higher") else letter
    mere_rounding = not round(abs(figure["difference"]), digits) > 0
    if mere_rounding or info["better"] is None or not (low > 0 or high < 0):
        better = ""
    return [info["title"], *values, change, interval, better]


def _left_out(comparison: Comparison, letter: str, several: bool) -> str:
    left = comparison["left_out"]
    parts = []
    for name, run in (("only_in_run", "A"), ("only_in_other", letter)):
        if left[name]:
            parts.append(f"{len(left[name])} only in {run} ({_named(left[name])})")
    for name, run in (("failed_in_run", "A"), ("failed_in_other", letter)):
        if left[name]:
            reasons = [f"{id_}: {reason}" for id_, reason in left[name].items()]
            parts.append(f"{len(reasons)} that failed in {run} ({_named(reasons, '; ')})")
    common = comparison["samples"]
    text = f"{common} sample{'s' * (common != 1)} in common{f' of A and {letter}' if several else ''}."
    return text + (f" Left out: {'; '.join(parts)}." if parts else " None are left out.")


def _named(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more


def _notes(comparison: Comparison, letter: str) -> list[str]:
    figures = {name for level in comparison["levels"] for name in level["metrics"]}
    notes = [
        "Differences are paired, sample by sample; the intervals come from bootstrap resamples of the samples. One "
        "interval in twenty misses the true value. A run is called better where the interval excludes 0."
    ]
    if all(comparison["relative_costs"]):
        a, b = (unit(relative, comparison["decoder"]) for relative in comparison["relative_costs"])
        notes.append(a if a == b else f"A: {a} {letter}: {b}")
    fewer = [
        f"{info['title']} of {count} of {level['n']} "
        f"(A {level_name(level['level'])}, {letter} {level_name(level['other_level'])})"
        for level in comparison["levels"]
        for info in comparison["infos"]
        if (count := level["metrics"].get(info["name"], {}).get("n", level["n"])) < level["n"]
    ]
    if fewer:
        notes.append(f"Infinite or missing figures are left out in pairs. Smaller n: {'; '.join(fewer)}.")
    if different := comparison["different_metrics"]:
        notes.append(
            f"Left out of A and {letter}, since their networks, definitions or numbers of outputs differ: "
            f"{', '.join(different)}."
        )
    if one_sided := comparison["one_sided_metrics"]:
        notes.append(f"Left out of A and {letter}, since only one run has them: {', '.join(one_sided)}.")
    if comparison["same_measurements"] is False:
        notes.append(f"A and {letter} have different measurements of the same images (e.g. another seed).")
    if "sqrt_frechet" in figures:
        against = comparison["reference"]
        size = f" (n = {against['n']})" if "n" in against else ""
        of = "the clean images of the n samples" if not size else f"{against['images']}{size}"
        notes.append(
            f"√FD{', KD' if 'kernel' in figures else ''}: root of the Frechet distance"
            f"{', and kernel distance,' if 'kernel' in figures else ''} between the n images and {of}; features: "
            f"{comparison['features']}. √FD is biased upwards for small n, equally in both runs."
        )
    exact = {
        info["title"].removeprefix("oracle: "): level["metrics"][info["name"]]["exact"]
        for level in comparison["levels"][:1]
        for info in comparison["infos"]
        if "exact" in level["metrics"].get(info["name"], {})
    }
    if exact:
        notes.append(
            "oracle: figures against the exact posterior (rps.oracle.measures.figures). An exact sampler is expected "
            f"to have {', '.join(f'{name} {number(value, 3)}' for name, value in exact.items())}."
        )
    if comparison["knob"] != comparison["other_knob"] and len(comparison["levels"]) > 1:
        notes.append(
            f"The knobs differ, so each level of A is compared with each level of {letter}; --levels selects pairs."
        )
    return notes
