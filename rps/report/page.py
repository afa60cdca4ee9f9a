"""Writes report.html: the page of a run, with the knob as a slider."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rps.records.files import file_name, level_name, write_text
from rps.report.changes import caption, changes
from rps.report.curve import plane_point
from rps.report.findings import findings
from rps.report.table import columns, notes

MOST_PICTURES = 24


def write_page(run: str | Path, summary: Mapping[str, Any]) -> Path:
    """Writes RUN/report.html, which links only to the pictures beside it.

    A slider sets the knob: it changes the restored pictures, the point on the plane and the figures. The page needs no
    network and works from the folder. All text from data is escaped.

    summary: metrics.json. -> the file.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    folder = Path(run)
    levels = [level_name(level["level"]) for level in summary["levels"]]
    environment = Environment(
        loader=PackageLoader("rps.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    table, changed = columns(summary, counts=True), changes(summary)
    text = environment.get_template("page.html").render(
        name=folder.resolve().name,
        command=_command(folder),
        knob=summary["knob"],
        n=max((level["n"] for level in summary["levels"]), default=0),
        levels=levels,
        points=[plane_point(level["metrics"]) for level in summary["levels"]],
        clean=_clean_distance(summary.get("reference")),
        titles=[title for title, _ in table],
        lines=list(zip(*(cells for _, cells in table), strict=True)),
        findings=findings(summary),
        change_titles=[title for title, _ in changed],
        change_lines=list(zip(*(cells for _, cells in changed), strict=True)),
        caption=caption(summary) if changed else "",
        notes=notes(summary),
        samples=list(_samples(folder, levels)),
        grids=[_link(path, folder) for path in sorted((folder / "grids").glob("*.png"))[:4]],
        failures=sorted((summary.get("failures") or {}).items()),
        failed=summary.get("failed") or 0,
        definitions=summary.get("definitions") or {},
        versions=summary.get("versions") or {},
    )
    write_text(folder / "report.html", text)
    return folder / "report.html"


def _clean_distance(clean: Mapping[str, Any] | None) -> float | None:
    """sqrt(FD) of the clean images themselves."""
    root: float | None = (clean or {}).get("metrics", {}).get("frechet", {}).get("sqrt")
    return root


def _samples(folder: Path, levels: list[str]) -> Iterator[dict[str, Any]]:
    """Name and picture links of the first samples that have a picture at every level."""
    if not levels:
        return
    names = sorted(path.name for path in (folder / "images" / file_name(levels[0])).glob("*.png"))
    count = 0
    for name in names:
        paths = [folder / "images" / file_name(level) / name for level in levels]
        if not all(path.is_file() for path in paths):
            continue
        measured = folder / "images" / "measurement" / name
        yield {
            "name": name.removesuffix(".png"),
            "measurement": _link(measured, folder) if measured.is_file() else None,
            "restored": [_link(path, folder) for path in paths],
        }
        count += 1
        if count == MOST_PICTURES:
            return


def _link(path: Path, folder: Path) -> str:
    return quote(path.relative_to(folder).as_posix())


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
