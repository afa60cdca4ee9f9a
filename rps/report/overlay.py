"""Draws the distortion-perception curves of several runs on one plane."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rps.records.files import level_name, written
from rps.records.reader import read_records
from rps.records.summary import reference_of, summary
from rps.report.cells import is_known
from rps.report.curve import Curve, add_guides, curve_of, decorate, draw_bars, new_plane
from rps.report.labels import Label, add_labels
from rps.report.trade import at

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A3D9A", "#222222", "#8C564B", "#7F7F00")
MARKERS = "osD^vPX*<>"
COST = "forward_equivalents_per_image"
BESIDE = 8
"""Number of runs above which the legend stands beside the axes."""
FEWEST, FAR = 6, 2
"""At least FEWEST points, and two thirds of all, are inside the plane; a point beyond FAR times their range is not."""


def overlay_plot(
    summaries: Mapping[str, Mapping[str, Any]],
    path: str | Path,
    title: str = "",
    made_by: str = "",
    guides: bool = True,
) -> None:
    """Plots RMSE against the square root of the Frechet distance, one curve per run, in the order of its knob.

    Bars are one standard error of each level; the first and the last level of a curve are labelled. A run with one
    level is a single point. The area of a marker grows with the level's cost, if all runs know theirs. Points far
    beyond the others (see `limit`) are arrows at the edge; the title has their places, and the runs without any point.

    summaries: display name -> metrics.json of a run. made_by: a text to keep in the file. guides: whether to
    draw reference curves, see rps.report.curve.add_guides. Errors: ValueError if no run
    has a level with both figures, or if the runs' distances have different features or references.
    """
    curves = {name: curve for name, summary in summaries.items() if (curve := curve_of(summary))}
    if not curves:
        raise ValueError("no run has a level with RMSE (clean images) and a Frechet distance (a feature network)")
    notes = [title, *check_distances(summaries)]
    figure, axes = new_plane(7.2, 5.0)
    points = [point for curve in curves.values() for _, point in curve]
    ends = {axis: limit([point[axis] for point in points]) for axis in ("x", "y")}
    costs: list[Any] = [level.get(COST) for curve in curves.values() for level, _ in curve]
    dearest = max(costs) or None if all(map(is_known, costs)) else None
    far = []
    for i, (name, curve) in enumerate(curves.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]
        _draw(axes, curve, colour, marker, dearest)
        if outside := _mark_far(axes, curve, colour, ends):
            far.append(f"{name}: {', '.join(outside)}")
        label = f"{name} ({summaries[name]['knob']})" if len(curve) > 1 else name
        axes.plot(
            [], [], f"-{marker}", color=colour, linewidth=1.5, markersize=5.5, markeredgecolor="white", label=label
        )
    first = summaries[next(iter(curves))]
    if guides:
        known = next((summary for summary in summaries.values() if summary.get("exact")), first)
        named = [(f"{name}, {at(summaries[name], level)}", p) for name, of in curves.items() for level, p in of]
        add_guides(axes, [of for of in named if all(of[1][axis] <= end for axis, end in ends.items())], known)
    axes.margins(0.08, 0.1)
    for axis, end in ends.items():
        _shorten(axes, axis, end, [point[axis] for point in points])
    if far:
        notes += textwrap.wrap(f"outside, arrows at the edge: {'; '.join(far)}", 110)
    if missing := [name for name in summaries if name not in curves]:
        notes += textwrap.wrap(f"without figures: {', '.join(missing)}", 110)
    if dearest:
        notes.append(f"area of a marker: cost, at most {dearest:.0f} network forwards per image")
    decorate(axes, first, "\n".join(filter(None, notes)))
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if len(curves) > BESIDE else {}
    axes.legend(fontsize=8, edgecolor="none", framealpha=0.85, **beside)
    add_labels(axes, _labels(curves, ends), 7.5)
    with written(Path(path)) as temporary:
        figure.savefig(temporary, format="png", metadata={"Source": made_by} if made_by else None)


def overlay_runs(runs: Mapping[str, str | Path], path: str | Path, made_by: str = "", guides: bool = True) -> None:
    """`overlay_plot` of the samples that all runs restored.  runs: display name -> folder. Errors: ValueError."""
    records = {name: read_records(run) for name, run in runs.items()}
    restored = [ids for found in records.values() if (ids := found.restored())]
    ids = set.intersection(*restored) if restored else set()
    summaries = {name: summary(found.only(ids), reference_of(found)) for name, found in records.items()}
    overlay_plot(summaries, path, made_by=made_by, guides=guides)


def limit(values: Sequence[float]) -> float:
    """The largest value that is shown in its place; infinity if all are.

    It is the smallest v such that at least FEWEST values and two thirds of them are at most v, and the next one is more
    than FAR times as far from the smallest value as v.
    """
    ordered = sorted(values)
    for i in range(max(FEWEST, math.ceil(len(ordered) * 2 / 3)), len(ordered)):
        if ordered[i] - ordered[0] > FAR * (ordered[i - 1] - ordered[0]):
            return ordered[i - 1]
    return math.inf


def _draw(axes: Any, curve: Curve, colour: str, marker: str, dearest: float | None) -> None:
    xs, ys = draw_bars(axes, [p for _, p in curve], colour, "40", fmt="-", linewidth=1.5, elinewidth=0.9)
    sizes = [30 if dearest is None else 12 + 120 * level[COST] / dearest for level, _ in curve]
    axes.scatter(xs, ys, sizes, colour, marker=marker, edgecolor="white", linewidth=0.7, zorder=3.5)


def _mark_far(axes: Any, curve: Curve, colour: str, ends: Mapping[str, float]) -> list[str]:
    """Marks the levels outside by arrows.  -> their names and places."""
    texts = []
    for level, point in curve:
        outside = {axis: point[axis] > end for axis, end in ends.items()}
        if any(outside.values()):
            # In fractions of the axes where the point is outside, else in data.
            place = [1.0 if outside[axis] else point[axis] for axis in ends]
            units = tuple("axes fraction" if outside[axis] else "data" for axis in ends)
            start = (-14 * outside["x"], -14 * outside["y"])
            arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", place, start, xycoords=units, textcoords="offset points", arrowprops=arrow, zorder=4)
            texts.append(f"{level_name(level['level'])} ({point['x']:.3g}, {point['y']:.3g})")
    return texts


def _labels(curves: Mapping[str, Curve], ends: Mapping[str, float]) -> list[Label]:
    """Every point inside, and the names of the first and the last level of each curve with several."""
    found = []
    for i, curve in enumerate(curves.values()):
        for k, (level, point) in enumerate(curve):
            if all(point[axis] <= end for axis, end in ends.items()):
                text = level_name(level["level"]) if len(curve) > 1 and k in (0, len(curve) - 1) else ""
                found.append(Label(text, point["x"], point["y"], COLOURS[i % len(COLOURS)]))
    return found


def _shorten(axes: Any, axis: str, end: float, values: Sequence[float]) -> None:
    """Ends an axis a little beyond `end`, if a value is larger."""
    if max(values) > end:
        low = (axes.dataLim.intervalx if axis == "x" else axes.dataLim.intervaly)[0]
        margin = 0.1 * (end - low)
        (axes.set_xlim if axis == "x" else axes.set_ylim)(low - margin, end + 2 * margin)


def check_distances(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """-> a note if the distances are of different numbers of images.

    summaries: display name -> metrics.json. Errors: ValueError if they have different features or references.
    """
    curves = {name: curve for name, summary in summaries.items() if (curve := curve_of(summary))}
    kinds: dict[str, str] = {}
    for name, curve in curves.items():
        frechet = curve[0][0]["metrics"]["frechet"]
        reference = frechet["reference"]
        size = "" if reference["n"] == frechet["n"] else f", n = {reference['n']}"  # the run's own clean images
        kinds[f"{frechet['features']}, reference {reference['images']}{size}"] = name
    if len(kinds) > 1:
        described = "; ".join(f"{name!r} has {kind}" for kind, name in kinds.items())
        raise ValueError(f"Frechet distances of different features or references cannot be compared: {described}")
    numbers = {level["metrics"]["frechet"]["n"] for curve in curves.values() for level, _ in curve}
    if len(numbers) > 1:
        return [f"distances of {min(numbers)} to {max(numbers)} images; they fall with the number of images"]
    return []
