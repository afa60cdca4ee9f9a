"""A run as its page shows it, and its pictures."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rps.records.files import PICTURES, file_name, level_name, spread_name
from rps.records.reader import Records

PNG = b"\x89PNG\r\n\x1a\n"

Link = Callable[[Path], str]
"""Turns a picture into what a page refers to."""


@dataclass(frozen=True)
class Shown:
    """A run.  name: of the run on the page. folder: the run directory. summary: metrics.json."""

    name: str
    folder: Path
    records: Records
    summary: Mapping[str, Any]

    @property
    def levels(self) -> list[str]:
        return [level_name(level["level"]) for level in self.summary["levels"]]


def relative_to(place: Path) -> Link:
    """Links for a page in this folder.  Errors: ValueError for a picture that is not below it."""
    start = os.path.abspath(place)
    return lambda path: quote(Path(os.path.abspath(path)).relative_to(start).as_posix())


def inlined(path: Path) -> str:
    """The PNG or WebP itself, as a data URI.  Errors: ValueError for any other file, such as one behind a link."""
    content = path.read_bytes()
    webp = content[:4] + content[8:12] == b"RIFFWEBP"
    if not (webp or content.startswith(PNG)):
        raise ValueError(f"{path} is no PNG or WebP; repeat the rps predict command of its run, or remove it")
    return f"data:image/{'webp' if webp else 'png'};base64,{base64.b64encode(content).decode('ascii')}"


def metrics_of(runs: Sequence[Shown]) -> list[dict[str, Any]]:
    """Name, title and digits of the metrics of single pictures that some run has."""
    infos = {info.name: info for run in runs for info in run.records.metrics}
    return [{"name": info.name, "title": info.title, "digits": info.digits} for info in infos.values()]


def samples(runs: Sequence[Shown], metrics: Sequence[Mapping[str, Any]], link: Link, most: int) -> list[dict[str, Any]]:
    """The first samples, by id, of which every run has a picture at every level.

    -> of each its id; links to its pictures: "clean" (or None), and for each run "measured" (or None), "restored", one
    per level, and "std", their standard deviations (or None); and "values": run -> metric -> level -> value (or
    None). most: largest number of samples.
    """
    names: dict[Path, set[str]] = {}

    def find(run: Shown, folder: str, id_: str) -> str | None:
        place, name = run.folder / "images" / folder, file_name(id_)
        if place not in names:
            names[place] = set(os.listdir(place)) if place.is_dir() else set()
        saved = (f"{name}{suffix}" for suffix in PICTURES)
        return next((link(place / file) for file in saved if file in names[place]), None)

    def values(run: Shown, metric: str, id_: str) -> list[float | None]:
        rows = [run.records.rows["restored", level].get(id_) for level in run.records.levels]
        found = [math.nan if row is None else row.metrics.get(metric, math.nan) for row in rows]
        return [float(f"{value:.5g}") if math.isfinite(value) else None for value in found]

    result: list[dict[str, Any]] = []
    for id_ in sorted(set.intersection(*(run.records.restored() for run in runs))):
        if len(result) == most:
            break
        restored = [[find(run, level, id_) for level in run.levels] for run in runs]
        if not any(None in links for links in restored):
            result.append(
                {
                    "id": id_,
                    "clean": next((clean for run in runs if (clean := find(run, "reference", id_))), None),
                    "measured": [find(run, "measurement", id_) for run in runs],
                    "restored": restored,
                    "std": [[find(run, spread_name(level), id_) for level in run.levels] for run in runs],
                    "values": [[values(run, metric["name"], id_) for metric in metrics] for run in runs],
                }
            )
    return result
