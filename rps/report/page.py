"""Writes report.html: the page of one run, or of several, with the knob as a slider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rps.metrics.standard import DISTORTION
from rps.records.files import level_name, write_text
from rps.report.cells import is_known
from rps.report.curve import curve_of, plane_point
from rps.report.guides import Guides, clean_root
from rps.report.guides import guides as find_guides
from rps.report.paired_table import Comparison
from rps.report.shown import Shown, inlined, metrics_of, relative_to, samples
from rps.report.trade import at
from rps.report.view import paired_view, run_view, without_folders

MOST_PICTURES, MOST_INLINED = 1000, 24
"""Largest number of samples with pictures on a page that links to them, and on one that holds them."""
MOST_GRIDS = 4
MADE_BY = '<meta name="generator" content="rps report">'
"""What a page has near its beginning."""


def write_page(
    path: Path,
    runs: Sequence[Shown],
    dominated: Sequence[Sequence[str | None]] | None = None,
    remarks: Sequence[str] = (),
    compared: Sequence[Comparison] = (),
    standalone: bool = False,
    most: int | None = None,
    guides: bool = True,
) -> Path:
    """Writes a page of runs, which needs no network and has links only to files beside it or below.

    A slider sets the knob: it changes the restored pictures, the point on the plane and the figures. All text from data
    is escaped.

    dominated: for each run and level, the name of a point that is below it, or None; empty if the distances of the runs
    cannot be drawn on one plane; None compares the levels of each run by themselves. remarks: sentences for the top.
    compared: the first run with each of the others. standalone: inline the pictures instead of links, and cut the
    folders off paths.
    most: largest number of samples with pictures. guides: whether the plane has reference curves, see
    rps.report.guides. -> the file. Errors: ValueError for a picture that is not below the
    page's folder.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rps.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    link, metrics = inlined if standalone else relative_to(path.parent), metrics_of(runs)
    most = (MOST_INLINED if standalone else MOST_PICTURES) if most is None else most
    dominated = [_own_dominated(run) for run in runs] if dominated is None else dominated
    below = dominated or [[None] * len(run.levels) for run in runs]
    told = without_folders if standalone else str
    views = [run_view(run, told) for run in runs]
    data: dict[str, Any] = {
        "runs": [
            {
                "name": run.name,
                "knob": run.summary["knob"],
                "levels": run.levels,
                "points": [_point(*of) for of in zip(run.summary["levels"], names, strict=True)],
                "titles": view["titles"],
                "lines": view["lines"][: len(run.levels)],
            }
            for run, names, view in zip(runs, below, views, strict=True)
        ],
        "clean": clean_root(runs[0].summary) if guides else None,
        "guides": asdict(found) if (found := _guides(runs) if guides else None) else None,
        "metrics": metrics,
        "samples": samples(runs, metrics, link, most),
    }
    grids = sorted((runs[0].folder / "grids").glob("*.png"))[:MOST_GRIDS]
    linked = len(runs) == 1 and not standalone
    text = environment.get_template("page.html").render(
        title=runs[0].name if len(runs) == 1 else f"{len(runs)} runs",
        generator=MADE_BY,
        runs=views,
        data=data,
        has_plane=bool(dominated) and any(point for run in data["runs"] for point in run["points"]),
        has_dominated=any(name for names in below for name in names),
        guides=found.texts() if found else {},
        remarks=list(map(told, remarks)),
        paired=paired_view(compared, told) if compared else None,
        grids=[link(grid) for grid in grids] if linked else [],
        files=[link(runs[0].folder / name) for name in ("config.yaml", "metrics.json")] if linked else [],
    )
    write_text(path, text)
    return path


def _own_dominated(run: Shown) -> list[str | None]:
    found = [level.get("dominated_by") for level in run.summary["levels"]]
    return [None if by is None else f"{run.summary['knob']} = {level_name(by)}" for by in found]


def _point(level: Mapping[str, Any], dominated: str | None) -> dict[str, Any] | None:
    """The place of a level on the plane, the ends of its 95 % intervals, and the name of a point below it."""
    place, metrics = plane_point(level["metrics"]), level["metrics"]
    if place is None:
        return None
    ends = {"x": metrics[DISTORTION].get("ci95"), "y": metrics["frechet"].get("ci95_sqrt")}
    bars = {f"{axis}_ends": found if found and all(map(is_known, found)) else None for axis, found in ends.items()}
    return {"x": place["x"], "y": place["y"], **bars, "dominated": dominated}


def _guides(runs: Sequence[Shown]) -> Guides | None:
    """The guides of the plane of all runs; None if an optimal curve is known."""
    of_runs = [(f"{run.name}, " if len(runs) > 1 else "", run.summary) for run in runs]
    points = [(name + at(summary, level), place) for name, summary in of_runs for level, place in curve_of(summary)]
    return None if any(run.summary.get("exact") for run in runs) else find_guides(points, clean_root(runs[0].summary))
