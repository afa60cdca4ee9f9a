"""The table of a study: a line for each task, run and level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rps.metrics.calibration import VARIANCE_RATIO
from rps.metrics.dp import DISTANCES
from rps.metrics.standard import standard
from rps.records.files import level_name
from rps.report.cells import ABSENT, metrics_to_show, number, plus_minus, signed
from rps.report.curve import plane_point
from rps.report.table import unit
from rps.study.results import Result
from rps.study.settings import Study

MINUS_FIRST, MINUS_LEVEL = "minus the first run, paired", "minus its first level, paired"
LOWER = "lower in both"
OTHERS = ("task", "run", "knob", "n", "failed", MINUS_FIRST, MINUS_LEVEL, "cost", "seconds", LOWER)
"""Columns that are no metrics."""
NOT_BY_DEFAULT = {"n", "seconds"}

Line = dict[str, str]
"""Title of a column -> text."""


def study_columns(study: Study, results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """(title, cells) of the study's columns that some line fills.

    By default these are the metrics of which one direction is better, the differences to the first run (of a single
    run: to its first level), the cost, and the points of other runs that are lower on both axes of the plane.
    """
    lines = list(_lines(study, results))
    titles = dict.fromkeys(title for line in lines for title in line)
    filled = [title for title in titles if any(line.get(title, "") not in ("", ABSENT) for line in lines)]
    if study.columns is None:
        hidden = {info["title"] for of in results for info in of.summary["metrics"] if not info["better"]}
        hidden |= NOT_BY_DEFAULT | ({MINUS_LEVEL} if MINUS_FIRST in filled else set())
        chosen = [title for title in filled if title not in hidden]
    else:
        chosen = [title for title in dict.fromkeys(map(column_title, study.columns)) if title in filled]
    return [(title, [line.get(title, "") for line in lines]) for title in chosen]


def standard_columns() -> list[str]:
    """The titles of all columns that runs with the standard metrics may fill."""
    infos = [*(metric.info for metric in standard()), VARIANCE_RATIO, *DISTANCES]
    return [*OTHERS, *(info.title for info in infos)]


def column_title(name: str) -> str:
    """The title of a column of a study file, where "sqrt FD" stands for √FD."""
    return name.replace("sqrt ", "√")


def study_notes(results: Sequence[Result]) -> list[str]:
    """What the table means, one paragraph each."""
    found = ["Means over the images of a run ± their standard error."]
    decoding = [of for of in results if any(level.get("decoder_calls_per_image") for level in of.summary["levels"])]
    if relative := (decoding or results)[0].summary.get("relative_cost"):
        found[0] += f" Cost is per image, to reach this level alone. {unit(relative, bool(decoding))}"
    if any(of.minus_first for of in results):
        found.append(
            f"{MINUS_FIRST.capitalize()}: on the samples that both restored, at the same level (or where each has one "
            "level alone)."
        )
    for reason in dict.fromkeys(of.apart for of in results if of.apart):
        names = [f"{of.task} {of.run}".strip() for of in results if of.apart == reason]
        found.append(f"Without a difference to the first run: {', '.join(names)} ({reason}).")
    found.append(
        f"{LOWER.capitalize()}: points of other runs of the same task and pictures with less error and a smaller "
        "distance, by any amount."
    )
    total, stored = saved(results)
    if stored:
        found.append(
            f"Runs that differ only in stage 2 computed stage 1 once: {stored:,.0f} of {total:,.0f} network forwards "
            "were saved. The costs in the table are those of each run alone."
        )
    return found


def saved(results: Sequence[Result]) -> tuple[float, float]:
    """(the cost of all runs, the part of it that was read from a store and not computed), in network forwards."""
    sums = [0.0, 0.0]
    for of in results:
        n = max((level["n"] for level in of.summary["levels"]), default=0)
        for i, name in enumerate(("total", "stored")):
            cost = of.summary.get(f"{name}_forward_equivalents_per_image")
            sums[i] += n * (cost or 0)
    return sums[0], sums[1]


def _lines(study: Study, results: Sequence[Result]) -> Iterator[Line]:
    tasks: set[str] = set()
    for of in results:
        infos, knob = of.summary["metrics"], of.summary["knob"]
        if study.baselines and of.task not in tasks:
            for name, key in (("A⁺y", "pseudo_inverse"), ("clean images", "reference")):
                if (found := of.summary.get(key)) and found["metrics"]:
                    yield {"task": of.task, "run": name, **_figures(found["metrics"], infos)}
        tasks.add(of.task)
        others = [other for other in results if other.group == of.group and other is not of]
        for level in of.summary["levels"]:
            oracle = {
                name: number(found["value"], 3) + plus_minus(found["se"], 3)
                for name, found in level.get("oracle", {}).items()
            }
            failed = str(level["failed"]) if level["failed"] else ""
            paired = of.minus_first.get(level["level"], {})
            means = {name: {"value": found["difference"], "se": found["se"]} for name, found in paired.items()}
            yield {
                "task": of.task, "run": of.run, "knob": f"{knob} {level_name(level['level'])}", "n": str(level["n"]),
                "failed": failed, **_figures(level["metrics"], infos), **oracle,
                MINUS_FIRST: _change(means, infos),
                MINUS_LEVEL: _change(level.get("difference_to_first", {}), infos),
                "cost": number(level.get("forward_equivalents_per_image"), 0),
                "seconds": number(level.get("seconds_per_image"), 2), LOWER: _lower(level["metrics"], others),
            }  # fmt: skip


def _figures(metrics: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> Line:
    return {info["title"]: signed(metrics, info, "") for info in metrics_to_show(infos, [metrics])}


def _change(difference: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> str:
    """The change of the first metric with a better direction and of the Frechet distance."""
    shown = [info for info in metrics_to_show(infos, [difference]) if info["better"]]
    shown = [*shown[:1], *(info for info in shown[1:] if info["name"] == "sqrt_frechet")]
    return ", ".join(f"{info['title']} {signed(difference, info)}" for info in shown)


def _lower(metrics: Mapping[str, Any], others: Sequence[Result]) -> str:
    """The points of other runs that are lower on both axes: the first two, and the number of others."""
    here = plane_point(metrics)
    found = [
        f"{other.run} {level_name(level['level'])}"
        for other in others
        for level in other.summary["levels"]
        if here and (p := plane_point(level["metrics"])) and p["x"] < here["x"] and p["y"] < here["y"]
    ]
    return ", ".join(found[:2]) + (f" and {len(found) - 2} more" if len(found) > 2 else "")
