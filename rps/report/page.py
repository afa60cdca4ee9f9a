"""Writes report.html: the page of one run, or of several, with the knob as a slider."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rps.metrics.standard import DISTORTION
from rps.records.files import level_name, write_text
from rps.report.cells import is_known
from rps.report.changes import caption, changes
from rps.report.curve import plane_point
from rps.report.findings import findings
from rps.report.oracle_rows import oracle_rows
from rps.report.paired_table import Comparison, paired_columns, paired_notes
from rps.report.shown import Shown, inlined, metrics_of, relative_to, samples
from rps.report.table import columns, notes

MOST_PICTURES, MOST_INLINED = 1000, 24
"""Largest number of samples with pictures on a page that links to them, and on one that holds them."""
MOST_GRIDS = 4
MADE_BY = '<meta name="generator" content="rps report">'
"""What a page has near its beginning."""


def write_page(
    path: Path,
    runs: Sequence[Shown],
    dominated: Sequence[Sequence[str | None]] | None = None,
    standalone: bool = False,
    most: int | None = None,
    remarks: Sequence[str] = (),
    plane: bool = True,
    compared: Sequence[Comparison] = (),
) -> Path:
    """Writes a page of runs, which needs no network and has links only to files beside it or below.

    A slider sets the knob: it changes the restored pictures, the point on the plane and the figures. All text from data
    is escaped.

    dominated: for each run and level, the name of a point that is below it, or None; None takes those of each run's own
    summary. standalone: inline the pictures instead of links, and cut the folders off paths. most: largest number of
    samples with pictures. remarks: sentences for the top. plane: whether the distances can be drawn on one plane.
    compared: the first run with each of the others.
    -> the file. Errors: ValueError for a picture that is not below the page's folder.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rps.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    link, metrics = inlined if standalone else relative_to(path.parent), metrics_of(runs)
    most = (MOST_INLINED if standalone else MOST_PICTURES) if most is None else most
    dominated = dominated or [_own_dominated(run) for run in runs]
    views = [_view(run, without_folders if standalone else str) for run in runs]
    data: dict[str, Any] = {
        "runs": [
            {
                "name": run.name,
                "knob": run.summary["knob"],
                "levels": run.levels,
                "points": [
                    _point(level, by) if plane else None for level, by in zip(run.summary["levels"], names, strict=True)
                ],
                "titles": view["titles"],
                "lines": view["lines"][: len(run.levels)],
            }
            for run, names, view in zip(runs, dominated, views, strict=True)
        ],
        "clean": _clean_distance(runs[0].summary),
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
        has_plane=any(point for run in data["runs"] for point in run["points"]),
        has_dominated=any(name for names in dominated for name in names),
        remarks=remarks,
        paired=_paired(compared) if compared else None,
        grids=[link(grid) for grid in grids] if linked else [],
        files=[link(runs[0].folder / name) for name in ("config.yaml", "metrics.json")] if linked else [],
    )
    write_text(path, text)
    return path


def without_folders(text: str) -> str:
    """Cuts the folders off absolute paths: a page that is sent to others does not show where its files were."""
    return re.sub(r"(?<![\w./~-])(?:~|\.\.)?(?:/[^\s'\"/]+)+/(?=[^\s'\"/])", "…/", text)


def _view(run: Shown, told: Callable[[str], str]) -> dict[str, Any]:
    """The texts and tables of a run.  told: what is shown of a text that may have paths in it."""
    summary, table, changed = run.summary, columns(run.summary, counts=True), changes(run.summary)
    exact = [(f"{summary['knob']} {level_name(v['level'])}", v["oracle"]) for v in summary["levels"] if v.get("oracle")]
    return {
        "name": run.name,
        "knob": summary["knob"],
        "command": told(_command(run.folder)),
        "n": max((level["n"] for level in summary["levels"]), default=0),
        "levels": run.levels,
        "titles": [title for title, _ in table],
        "lines": list(zip(*(cells for _, cells in table), strict=True)),
        "findings": list(map(told, findings(summary))),
        "change_titles": [title for title, _ in changed],
        "change_lines": list(zip(*(cells for _, cells in changed), strict=True)),
        "caption": caption(summary) if changed else "",
        "exact": oracle_rows(exact) if exact else [],
        "notes": list(map(told, notes(summary))),
        "failures": [(id_, told(reason)) for id_, reason in sorted((summary.get("failures") or {}).items())],
        "failed": summary.get("failed") or 0,
        "definitions": summary.get("definitions") or {},
        "versions": summary.get("versions") or {},
    }


def _paired(compared: Sequence[Comparison]) -> dict[str, Any]:
    table = paired_columns(*compared)
    left, remarks = paired_notes(*compared)
    lines = list(zip(*(cells for _, cells in table), strict=True))
    return {"titles": [title for title, _ in table], "lines": lines, "notes": [*left, *remarks]}


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


def _clean_distance(summary: Mapping[str, Any]) -> float | None:
    """sqrt(FD) of the clean images themselves."""
    root: float | None = (summary.get("reference") or {}).get("metrics", {}).get("frechet", {}).get("sqrt")
    return root if is_known(root) else None


def _command(folder: Path) -> str:
    """The command of the run, from the head of its config.yaml; else a command that repeats it."""
    config = folder / "config.yaml"
    if config.is_file():
        for line in config.read_text(encoding="utf-8").splitlines():
            if line.startswith("# command: "):
                return line.removeprefix("# command: ")
            if not line.startswith("#"):
                break
    return f"rps predict --config {shlex.quote(str(config))}"
