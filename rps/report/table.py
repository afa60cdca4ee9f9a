"""table.md: the levels of a run, for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rps.records.files import level_name

Metrics = Mapping[str, Any]
MEANS = {
    "rmse": ("RMSE", 4),
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 3),
    "ms_ssim": ("MS-SSIM", 3),
    "lpips": ("LPIPS", 3),
    "quality": ("quality", 3),
    "consistency": ("consistency", 3),
    "residual_rms": ("residual", 4),
}
"""Title and decimals of the means over images."""
ABSENT = "–"  # noqa: RUF001 - an en dash, as tables have it


def table(summary: Mapping[str, Any]) -> str:
    """A markdown table with one line per level, one for A^+ y and one for the clean images.  summary: metrics.json."""
    return "\n\n".join(["\n".join(aligned(columns(summary))), *notes(summary)]) + "\n"


def columns(summary: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """(title, cells) of every column that has something to say."""
    lines = _lines(summary)
    found = [(title, [cell(name, line) for name, line in lines]) for title, cell in _columns(summary["knob"])]
    found = [(title, cells) for title, cells in found if title == "failed" or any(c != ABSENT for c in cells)]
    if "consistency" in (title for title, _ in found):  # says the same, in units of the noise
        found = [(title, cells) for title, cells in found if title != "residual"]
    return found


def _lines(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, entry of metrics.json) of every line."""
    baseline, clean = summary.get("pseudo_inverse"), summary.get("reference")
    lines = [(level_name(level["level"]), level) for level in summary["levels"]]
    if baseline:
        lines.append(("A⁺y", baseline))
    if clean and clean["metrics"]:
        lines.append(("clean images", clean))
    return lines


def _incomplete(name: str, line: Mapping[str, Any]) -> list[str]:
    """ "PSNR infinite for 1 of 4 (100)": the figures of a line that are not of all its images."""
    metrics, n = line["metrics"], line["n"]
    texts = [
        f"{MEANS.get(metric, (metric, 0))[0]} {word} for {found[word]} of {n} ({name})"
        for metric, found in metrics.items()
        for word in ("infinite", "missing")
        if found.get(word)
    ]
    if (known := metrics.get("frechet", {}).get("n", n)) < n:
        texts.append(f"no features of {n - known} of {n} ({name})")
    return texts


def _columns(knob: str) -> list[tuple[str, Callable[[str, Mapping[str, Any]], str]]]:
    return [
        (knob, lambda name, line: name),
        ("n", lambda name, line: str(line["n"])),
        ("failed", lambda name, line: str(line["failed"]) if "failed" in line else ABSENT),
        *((title, partial(_cell, metric, digits)) for metric, (title, digits) in MEANS.items()),
        ("√FD", lambda name, line: _root(line["metrics"])),
        ("KD", lambda name, line: _kernel(line["metrics"])),
        ("precision", lambda name, line: _mean(line["metrics"], "precision", 3)),
        ("recall", lambda name, line: _mean(line["metrics"], "recall", 3)),
        ("calls", lambda name, line: number(line.get("network_calls_per_image"), 0)),
        ("seconds", lambda name, line: number(line.get("seconds_per_image"), 2)),
    ]


def notes(summary: Mapping[str, Any]) -> list[str]:
    """What a reader of the table must know, a paragraph each."""
    levels = summary["levels"]
    found = ["Mean over n images ± its standard error; calls and seconds are per image, to reach this level alone."]
    total = summary.get("total_network_calls_per_image")
    if _known(total) and len(levels) > 1:
        found[0] += f" The one pass over all levels took {total:.0f} calls per image."
    distances = [line["metrics"]["frechet"] for line in levels if "frechet" in line["metrics"]]
    if distances:
        first = distances[0]
        found.append(
            f"√FD: square root of the Frechet distance, n = {first['n']}; features: {first['features']}; reference: "
            f"{first['reference']['images']} (n = {first['reference']['n']}). Biased upwards, more so for small n."
        )
    differences = [(level, d) for level in levels if (d := level.get("difference_to_first"))]
    if differences:
        found.append(
            f"Minus {summary['knob']} = {level_name(levels[0]['level'])}, paired: "
            + "; ".join(f"{level_name(level['level'])}: {_change(d)}" for level, d in differences)
            + "."
        )
    if incomplete := [text for name, line in _lines(summary) for text in _incomplete(name, line)]:
        found.append(f"{'; '.join(incomplete)}. Means are over the others.")
    failed = max((level["failed"] for level in levels), default=0)
    if failed:
        found.append(f"{failed} sample{'s' * (failed != 1)} failed; the reasons are in records/.")
    if summary.get("duplicates"):
        found.append(f"{summary['duplicates']} rows were written again (same id and level); the last one counts.")
    if repeated := summary.get("repeated_ids"):
        named = ", ".join(repeated[:5]) + (f" and {len(repeated) - 5} more" if len(repeated) > 5 else "")
        found.append(
            f"{len(repeated)} id{'s' * (len(repeated) != 1)} came more than once though nothing had failed ({named}): "
            "where the data name two samples alike, only one of them is in this table; take ids that differ."
        )
    return found


def _change(difference: Mapping[str, Any]) -> str:
    texts = []
    if "rmse" in difference:
        texts.append(f"RMSE {difference['rmse']['mean']:+.4f}" + plus_minus(difference["rmse"]["se"], 4))
    if (root := difference.get("sqrt_frechet")) and _known(root["value"]):
        texts.append(f"√FD {root['value']:+.2f}" + plus_minus(root["se"], 2))
    if not texts and "consistency" in difference:
        change = difference["consistency"]
        texts.append(f"consistency {change['mean']:+.3f}" + plus_minus(change["se"], 3))
    return ", ".join(texts) or ABSENT


def _cell(metric: str, digits: int, name: str, line: Mapping[str, Any]) -> str:
    return _mean(line["metrics"], metric, digits)


def _mean(metrics: Metrics, name: str, digits: int) -> str:
    if name not in metrics or not _known(metrics[name]["mean"]):
        return "∞" if metrics.get(name, {}).get("infinite") else ABSENT
    return number(metrics[name]["mean"], digits) + plus_minus(metrics[name]["se"], digits)


def _root(metrics: Metrics) -> str:
    if "frechet" not in metrics or not _known(metrics["frechet"]["sqrt"]):
        return ABSENT
    return number(metrics["frechet"]["sqrt"], 2) + plus_minus(metrics["frechet"]["se_sqrt"], 2)


def _kernel(metrics: Metrics) -> str:
    kernel = metrics.get("kernel")
    return number(kernel["value"], 4) + plus_minus(kernel["se"], 4) if kernel else ABSENT


def number(value: float | None, digits: int) -> str:
    return f"{value:.{digits}f}" if value is not None and _known(value) else ABSENT


def plus_minus(value: float | None, digits: int) -> str:
    return f" ± {value:.{digits}f}" if value is not None and _known(value) else ""


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def aligned(columns: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    widths = [max(len(title), 2, *(len(cell) for cell in cells)) for title, cells in columns]
    rows = [[title for title, _ in columns], *zip(*(cells for _, cells in columns), strict=True)]
    text = ["| " + " | ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return [text[0], rule, *text[1:]]
