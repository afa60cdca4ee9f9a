"""Draws dp_curve.png: the distortion-perception curve of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rps.metrics.standard import DISTORTION
from rps.records.files import level_name, written
from rps.report.cells import is_known
from rps.report.guides import clean_root
from rps.report.guides import guides as find_guides
from rps.report.labels import Label, add_labels
from rps.report.trade import at

BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#8A8A8A", "#222222"  # Okabe and Ito: colour-blind safe

Curve = list[tuple[Mapping[str, Any], dict[str, float]]]
"""(entry of metrics.json, its place on the plane) of levels."""


def dp_curve_plot(summary: Mapping[str, Any], path: str | Path, guides: bool = True) -> None:
    """Plots RMSE against the square root of the Frechet distance, one labelled point per level, in the knob's order.

    Bars are one standard error. A^+ y is a point if it lies near, else a note. If OracleRecorder knew the posterior,
    its mean, a draw and the optimal curve are drawn as well.
    summary: metrics.json. guides: whether to draw reference curves, see `add_guides`. Errors: ValueError if no level
    has both figures.
    """
    points = curve_of(summary)
    if not points:
        raise ValueError(
            "a distortion-perception curve needs a level with RMSE (clean reference images) and a Frechet distance (a "
            "feature network and at least two images); this run has none"
        )
    figure, axes = new_plane(5.6, 4.2)
    line = {"linewidth": 1.6, "markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.8}
    xs, ys = draw_bars(axes, [p for _, p in points], BLUE, "70", fmt="-o", elinewidth=1.1, capsize=2.2, **line)
    baseline = plane_point(summary.get("pseudo_inverse", {}).get("metrics", {}))
    note = _add_baseline(axes, baseline, xs, ys) if baseline else ""
    if guides:
        add_guides(axes, [(at(summary, level), p) for level, p in points], summary)
    _add_exact(axes, summary.get("exact", {}))
    axes.margins(0.12, 0.14)
    decorate(axes, summary, note)
    texts = [at(summary, points[0][0]), *(level_name(level["level"]) for level, _ in points[1:])]
    add_labels(axes, [Label(text, x, y, INK) for text, x, y in zip(texts, xs, ys, strict=True)], 9)
    with written(Path(path)) as temporary:
        figure.savefig(temporary, format="png")


def new_plane(width: float, height: float) -> tuple[Any, Any]:
    """(figure, axes) that need no display.  width, height: in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
    return figure, figure.add_subplot()


def draw_bars(
    axes: Any, places: Sequence[Mapping[str, float]], colour: str, fade: str, **options: Any
) -> tuple[list[float], list[float]]:
    """Draws points with their standard errors.  fade: opacity of the bars, in hexadecimal. -> (all x, all y)."""
    xs, ys, x_ses, y_ses = ([place[name] for place in places] for name in ("x", "y", "x_se", "y_se"))
    axes.errorbar(xs, ys, y_ses, x_ses, color=colour, ecolor=colour + fade, zorder=3, **options)
    return xs, ys


def plane_point(metrics: Mapping[str, Any]) -> dict[str, float] | None:
    """The position of a level on the plane, x and y with their standard errors; None if it lacks a figure."""
    x, y = metrics.get(DISTORTION, {}), metrics.get("frechet", {})
    if not (is_known(x.get("mean")) and is_known(y.get("sqrt"))):
        return None
    bars = {"x_se": x.get("se"), "y_se": y.get("se_sqrt")}
    return {"x": x["mean"], "y": y["sqrt"], **{name: se if is_known(se) else 0.0 for name, se in bars.items()}}


def curve_of(summary: Mapping[str, Any]) -> Curve:
    """Every level that has a place on the plane, in the order of the knob."""
    return [(level, point) for level in summary["levels"] if (point := plane_point(level["metrics"]))]


def _add_baseline(axes: Any, baseline: Mapping[str, float], xs: list[float], ys: list[float]) -> str:
    """Draws A^+ y as a point unless that would squeeze the curve.  -> the text of a note, or ""."""
    spread_x, spread_y = max(xs) - min(xs), max(ys) - min(ys)
    near_x = min(xs) - spread_x <= baseline["x"] <= max(xs) + spread_x
    near_y = min(ys) - spread_y <= baseline["y"] <= max(ys) + spread_y
    if not (near_x and near_y):
        return f"$A^{{+}}y$ lies outside, at ({baseline['x']:.3f}, {baseline['y']:.2f})"
    draw_bars(axes, [baseline], ORANGE, "70", fmt="s", markersize=5, elinewidth=1.1, capsize=2.2)
    axes.annotate(
        "$A^{+}y$", (baseline["x"], baseline["y"]), (7, 8), textcoords="offset points", fontsize=9, color=ORANGE,
        va="center",
    )  # fmt: skip
    return ""


def add_guides(axes: Any, points: Sequence[tuple[str, Mapping[str, float]]], summary: Mapping[str, Any]) -> None:
    """Draws reference curves, explained in a legend below the plane: the clean images' own distance, and the `Guides`
    unless the optimal curve is known.  points: (name, place) of all that is shown."""
    clean, lines = clean_root(summary), {}
    if clean is not None:
        line = axes.axhline(clean, color=GREY, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
        lines[f"the {summary['reference']['n']} clean images themselves"] = line
    if (found := None if summary.get("exact") else find_guides(points, clean)) is not None:
        texts = found.texts()
        if found.curve:
            (lines[texts["curve"]],) = axes.plot(
                *zip(*found.curve, strict=True), color=INK, linewidth=1.2, linestyle=":", zorder=1.5
            )
        across = axes.axvline(found.sampler) if found.near else axes.plot([], [])[0]
        across.set(color=GREY, linewidth=1.1, linestyle="-.", zorder=1)
        lines[texts["sampler"]] = across
    if lines:
        axes.figure.legend(
            list(lines.values()), list(lines), loc="outside lower left", fontsize=7.5, frameon=False,
            labelcolor="#555555", handlelength=2.4, borderaxespad=0.2, labelspacing=0.3,
        )  # fmt: skip


def _add_exact(axes: Any, exact: Mapping[str, Any]) -> None:
    """Draws what is known of the exact posterior: its mean and a draw as points, the optimal curve as a line."""
    places = {kind: [p for e in entries if (p := plane_point(e["metrics"]))] for kind, entries in exact.items()}
    if curve := places.get("optimal"):
        axes.plot(
            [p["x"] for p in curve], [p["y"] for p in curve], color=INK, linewidth=1.2, label="optimal curve", zorder=2
        )
    for kind, marker, label in (("posterior_mean", "*", "exact MMSE"), ("posterior_sample", "P", "exact sample")):
        for p in places.get(kind, []):
            axes.plot([p["x"]], [p["y"]], marker, color=INK, markersize=9, label=label, zorder=5)
    if any(places.values()):
        axes.legend(fontsize=7.5, frameon=False)


def decorate(axes: Any, summary: Mapping[str, Any], note: str) -> None:
    frechet = next(p["metrics"]["frechet"] for p in summary["levels"] if "frechet" in p["metrics"])
    axes.set_xlabel("distortion: RMSE")
    axes.set_ylabel("perception: $\\sqrt{\\mathrm{Frechet\\ distance}}$")
    axes.set_title(
        f"{frechet['n']} images; reference: {frechet['reference']['images']} (n = {frechet['reference']['n']})\n"
        f"features: {frechet['features']}; bars: 1 standard error of a level by itself" + (f"\n{note}" if note else ""),
        fontsize=7.5, color="#666666", loc="left",
    )  # fmt: skip
    style(axes)


def style(axes: Any) -> None:
    """A light grid, and no frame at the top and on the right."""
    axes.grid(color="#E6E6E6", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.tick_params(colors="#555555", labelsize=8.5)
