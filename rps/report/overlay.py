"""Draws the distortion-perception curves of several runs on one plane."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rps.records.files import level_name, written
from rps.report.cells import is_known
from rps.report.curve import add_clean_images, decorate, new_plane, plane_point

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A3D9A", "#222222", "#8C564B", "#7F7F00")
MARKERS = "osD^vPX*<>"
COST = "forward_equivalents_per_image"


def overlay_plot(summaries: Mapping[str, Mapping[str, Any]], path: str | Path, title: str = "") -> None:
    """Plots RMSE against the square root of the Frechet distance, one curve per run, in the order of its knob.

    Bars are one standard error of each level; the first and the last level of a curve are labelled. A run with one
    level is a single point. The area of a marker grows with the level's cost, if all runs know theirs.

    summaries: display name -> metrics.json of a run. Errors: ValueError if a run has no level with both figures, or if
    the runs' distances have different features, references or numbers of images.
    """
    if not summaries:
        raise ValueError("there are no runs to draw")
    _check_comparable(summaries)
    figure, axes = new_plane(7.2, 5.0)
    dearest = _dearest(summaries)
    for i, (name, summary) in enumerate(summaries.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        levels = [(level, p) for level in summary["levels"] if (p := plane_point(level["metrics"]))]
        xs, ys = [p["x"] for _, p in levels], [p["y"] for _, p in levels]
        axes.errorbar(
            xs, ys, [p["y_se"] for _, p in levels], [p["x_se"] for _, p in levels], fmt="-", color=colour,
            linewidth=1.5, ecolor=colour + "40", elinewidth=0.9, zorder=3,
        )  # fmt: skip
        sizes = [30 if dearest is None else 12 + 120 * level[COST] / dearest for level, _ in levels]
        axes.scatter(xs, ys, sizes, colour, marker, edgecolor="white", linewidth=0.7, zorder=3.5)
        label = f"{name} ({summary['knob']})" if len(levels) > 1 else name
        axes.plot(
            [], [], f"-{marker}", color=colour, linewidth=1.5, markersize=5.5, markeredgecolor="white", label=label
        )
        for k in {0, len(levels) - 1} if len(levels) > 1 else ():
            axes.annotate(
                level_name(levels[k][0]["level"]), (xs[k], ys[k]), (5, 5), textcoords="offset points", fontsize=7.5,
                color=colour, zorder=4,
            )  # fmt: skip
    first = next(iter(summaries.values()))
    add_clean_images(axes, first.get("reference"))
    axes.margins(0.08, 0.1)
    area = f"area of a marker: cost, at most {dearest:.0f} network forwards per image" if dearest else ""
    decorate(axes, first, "\n".join(filter(None, [title, area])))
    axes.legend(fontsize=8, frameon=False)
    with written(Path(path)) as temporary:
        figure.savefig(temporary, format="png")


def _dearest(summaries: Mapping[str, Mapping[str, Any]]) -> float | None:
    """The largest cost of a level; None if a cost is unknown, or all are 0."""
    costs = [level.get(COST) for summary in summaries.values() for level in summary["levels"]]
    return max(costs) or None if all(is_known(cost) for cost in costs) else None


def _check_comparable(summaries: Mapping[str, Mapping[str, Any]]) -> None:
    kinds: dict[str, str] = {}
    for name, summary in summaries.items():
        found = [level["metrics"]["frechet"] for level in summary["levels"] if plane_point(level["metrics"])]
        if not found:
            raise ValueError(f"the run {name!r} has no level with RMSE and a Frechet distance")
        frechet = found[0]
        kinds[f"{frechet['n']} images, {frechet['features']}, reference {frechet['reference']}"] = name
    if len(kinds) > 1:
        described = "; ".join(f"{name!r} has {kind}" for kind, name in kinds.items())
        raise ValueError(
            f"Frechet distances of different images, features or references cannot be compared: {described}"
        )
