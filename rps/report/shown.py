"""A run as its page shows it, and its pictures."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
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
    finders = [_Finder(run) for run in runs]
    known = sorted(set.intersection(*(finder.run.records.restored() for finder in finders)))
    whole = (id_ for id_ in known if all(finder.is_whole(id_) for finder in finders))
    return [
        {
            "id": id_,
            "clean": next((link(path) for finder in finders for path in finder.find("reference", id_)), None),
            "measured": [next((link(path) for path in finder.find("measurement", id_)), None) for finder in finders],
            "restored": [
                [link(path) for level in finder.run.levels for path in finder.find(level, id_)] for finder in finders
            ],
            "std": [
                [next(map(link, finder.find(spread_name(level), id_)), None) for level in finder.run.levels]
                for finder in finders
            ],
            "values": [[finder.values(metric["name"], id_) for metric in metrics] for finder in finders],
        }
        for id_ in islice(whole, most)
    ]


class _Finder:
    """Finds the pictures and values of a run."""

    def __init__(self, run: Shown) -> None:
        self.run = run
        self.names: dict[str, set[str]] = {}

    def is_whole(self, id_: str) -> bool:
        """Whether there is a picture at every level."""
        return all(any(self.find(level, id_)) for level in self.run.levels)

    def find(self, folder: str, id_: str) -> Iterator[Path]:
        """The picture, if there is one.  folder: a level, "measurement" or "reference"."""
        place, name = self.run.folder / "images" / folder, file_name(id_)
        if folder not in self.names:
            self.names[folder] = set(os.listdir(place)) if place.is_dir() else set()
        yield from (place / f"{name}{suffix}" for suffix in PICTURES if f"{name}{suffix}" in self.names[folder])

    def values(self, metric: str, id_: str) -> list[float | None]:
        """The metric at every level, to five digits."""
        rows = [self.run.records.rows["restored", level].get(id_) for level in self.run.records.levels]
        found = [math.nan if row is None else row.metrics.get(metric, math.nan) for row in rows]
        return [float(f"{value:.5g}") if math.isfinite(value) else None for value in found]
