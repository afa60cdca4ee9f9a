"""Makes table.md: the levels of a run as a markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rps.records.files import level_name
from rps.report.cells import ABSENT, Metrics, align, figure, is_known, metrics_to_show, number, plus_minus
from rps.report.changes import caption, changes
from rps.report.findings import findings
from rps.report.trade import at


def table(summary: Mapping[str, Any]) -> str:
    """A markdown table with one line per level, one for A^+ y and one for the clean images; the table of changes, what
    both say, and notes.  summary: metrics.json."""
    parts = ["\n".join(align(columns(summary)))]
    if changed := changes(summary):
        parts += [caption(summary), "\n".join(align(changed))]
    parts += ["\n".join(f"- {sentence}" for sentence in found)] if (found := findings(summary)) else []
    return "\n\n".join([*parts, *notes(summary)]) + "\n"


COUNTS = {
    "calls": "network_calls_per_image",
    "backwards": "network_backwards_per_image",
    "decodings": "decoder_calls_per_image",
    "decoder backwards": "decoder_backwards_per_image",
}
"""Title -> key of the numbers that a cost is made of."""


def columns(summary: Mapping[str, Any], counts: bool = False) -> list[tuple[str, list[str]]]:
    """(title, cells) of every column: the knob, the metrics that some line has, and the cost.

    counts: whether to add columns of the numbers that the cost is made of. Without a cost, as in records of earlier
    versions, there is one of the calls.
    """
    lines = _lines(summary)
    result = [
        (summary["knob"], [name for name, _ in lines]),
        ("n", [str(line["n"]) for _, line in lines]),
        ("failed", [str(line.get("failed", ABSENT)) for _, line in lines]),
    ]
    for info in metrics_to_show(summary["metrics"], [line["metrics"] for _, line in lines]):
        result.append((info["title"], [_cell(line["metrics"], info) for _, line in lines]))
    cost = {"cost": "forward_equivalents_per_image"} if has_costs(summary) else {"calls": COUNTS["calls"]}
    if counts:
        cost |= {title: key for title, key in COUNTS.items() if any(line.get(key) for _, line in lines)}
    for title, key in {**cost, "seconds": "seconds_per_image"}.items():
        cells = [number(line.get(key), 2 if title == "seconds" else 0) for _, line in lines]
        if any(cell != ABSENT for cell in cells):
            result.append((title, cells))
    return result


def has_costs(summary: Mapping[str, Any]) -> bool:
    """Whether the costs of the levels in network forwards are known."""
    return any(is_known(level.get("forward_equivalents_per_image")) for level in summary["levels"])


def unit(relative: Mapping[str, float], decoder: bool) -> str:
    """A sentence on the unit of costs.  relative: the fields of a RelativeCost. decoder: whether it counts."""
    weights = f"a backward counts {relative['backward']:g}"
    if decoder:
        weights += f", a decoding {relative['decoder_call']:g} and its backward {relative['decoder_backward']:g}"
    return f"Costs are in forwards of the network, of which {weights}."


def _lines(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, entry of metrics.json) of every line."""
    baseline, clean = summary.get("pseudo_inverse"), summary.get("reference")
    lines = [(level_name(level["level"]), level) for level in summary["levels"]]
    if baseline:
        lines.append(("A⁺y", baseline))
    if clean and clean["metrics"]:
        lines.append(("clean images", clean))
    return lines


def _terms(summary: Mapping[str, Any]) -> str:
    """What the words of the table mean: level, A^+ y, and metrics of which neither higher nor lower is better."""
    terms = [f"Level: a value of {summary['knob']}."]
    if summary.get("pseudo_inverse"):
        terms.append("A⁺y: the measurement mapped back by the pseudo-inverse of the operator, without a prior.")
    shown = metrics_to_show(summary["metrics"], [line["metrics"] for _, line in _lines(summary)])
    return " ".join(terms + [f"{i['title']}: {i['definition']}." for i in shown if not i["better"] and i["definition"]])


def _incomplete(titles: Mapping[str, str], name: str, line: Mapping[str, Any]) -> list[str]:
    """ "PSNR infinite for 1 of 4 (t0 = 100)": notes on figures of a line that do not include all its images."""
    metrics, n = line["metrics"], line["n"]
    texts = [
        f"{titles[metric]} {word} for {found[word]} of {n} ({name})"
        for metric, found in metrics.items()
        for word in ("infinite", "missing")
        if metric in titles and found.get(word)
    ]
    if (featured := metrics.get("frechet", {}).get("n", n)) < n:
        texts.append(f"no features of {n - featured} of {n} ({name})")
    return texts


def notes(summary: Mapping[str, Any]) -> list[str]:
    """The notes under the table, one paragraph each."""
    levels = summary["levels"]
    what, name = ("cost", "forward_equivalents") if has_costs(summary) else ("calls", "network_calls")
    found = [f"Mean over n images ± its standard error; {what} and seconds are per image, to reach this level alone."]
    if relative := summary.get("relative_cost"):
        found[0] += f" {unit(relative, any(level.get(COUNTS['decodings']) for level in levels))}"
    total = summary.get(f"total_{name}_per_image")
    if is_known(total) and len(levels) > 1:
        found[0] += f" All levels together: {what} {total:.0f}."
    stored = summary.get("stored_forward_equivalents_per_image")
    if stored is not None and stored > 0:
        found[0] += f" Of this, a cost of {stored:.0f} was not computed but read from a store of stage 1 (--stage1)."
    found.append(_terms(summary))
    distances = [line["metrics"]["frechet"] for line in levels if "frechet" in line["metrics"]]
    if distances:
        first = distances[0]
        found.append(
            f"√FD: square root of the Frechet distance, n = {first['n']}; features: {first['features']}; reference: "
            f"{first['reference']['images']} (n = {first['reference']['n']}). Biased upwards, more so for small n."
        )
    titles = {info["name"]: info["title"] for info in summary["metrics"]}
    lines = [(at(summary, line) if "level" in line else name, line) for name, line in _lines(summary)]
    if incomplete := [text for name, line in lines for text in _incomplete(titles, name, line)]:
        lacking = [
            i for i in summary["metrics"] if any(line["metrics"].get(i["name"], {}).get("missing") for _, line in lines)
        ]
        definitions = [f" {info['title']}: {info['definition']}." for info in lacking if info["definition"]]
        found.append(f"{'; '.join(incomplete)}. Means are over the others.{''.join(definitions)}")
    failed = max((level["failed"] for level in levels), default=0)
    if failed:
        found.append(f"{failed} sample{'s' * (failed != 1)} failed; the reasons are in records/.")
    if summary.get("duplicates"):
        found.append(f"{summary['duplicates']} rows were written again (same id and level); the last one counts.")
    if repeated := summary.get("repeated_ids"):
        named = ", ".join(repeated[:5]) + (f" and {len(repeated) - 5} more" if len(repeated) > 5 else "")
        found.append(
            f"{len(repeated)} id{'s' * (len(repeated) != 1)} came more than once though nothing had failed ({named}): "
            "if two samples have the same id, only one of them is in this table; give unique ids."
        )
    return found


def _cell(metrics: Metrics, info: Metrics) -> str:
    value, se = figure(metrics, info["name"])
    if not is_known(value) and metrics.get(info["name"], {}).get("infinite"):
        return "∞"
    return number(value, info["digits"]) + plus_minus(se, info["digits"])
