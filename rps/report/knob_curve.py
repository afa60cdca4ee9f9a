"""The figures of a run as functions of its knob, on the images that every level restored and on resamples of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rps.metrics.base import MetricInfo
from rps.metrics.choice import between, resampled, spread
from rps.metrics.dp import Images
from rps.metrics.intervals import Estimate
from rps.records.files import level_name
from rps.records.reader import Records
from rps.records.summary import images_of, reference_of
from rps.restoration import Level
from rps.traversals import Interpolation, MapRps

WHOLE, REAL = {MapRps.knob}, {Interpolation.knob}
"""Knobs of which every whole number, or every number, between two levels is a level with the same other settings."""


class KnobCurve:
    """Figures of a run at every level that can be chosen; between the levels of the run, figures are interpolated.

    grid: [G], the levels. infos: of the figures that all levels have. n: number of images that all levels restored,
    with every figure; total: of all images.

    Args:
        run: the run directory.
        records: its records.
        infos: the metrics wanted; one that some level lacks is left out.
        fewest: smallest number of levels of the run. Errors: ValueError if it has fewer with at least two images.
    """

    def __init__(self, run: Path, records: Records, infos: Sequence[MetricInfo], fewest: int) -> None:
        self.knob, reference = records.knob, reference_of(records)
        sets = {level: images_of(records, ("restored", level), reference) for level in records.levels}
        sets = {level: images for level, images in sets.items() if len(images.ids) > 1}
        if len(sets) < fewest:
            raise ValueError(
                f"{run} has {len(sets)} level{'s' * (len(sets) != 1)} of {self.knob} with two or more images, but this "
                f"choice needs {fewest}; run more levels"
            )
        self.levels: list[Level] = list(sets)
        self.grid = np.asarray(self.levels)
        if self.knob in WHOLE:
            self.grid = np.arange(int(self.levels[0]), int(self.levels[-1]) + 1)
        elif self.knob in REAL:
            self.grid = np.union1d(np.round(np.linspace(self.levels[0], self.levels[-1], 1001), 4), self.levels)
        ids = sorted(set.intersection(*(_complete(images, infos) for images in sets.values())))
        self.n, self.total = len(ids), len(records.ids)
        common = [images.only(ids) for images in sets.values()]
        self._rows: dict[str, np.ndarray] = {}
        for info in infos:
            draws = [found for images in common if (found := images.draws(info.name)) is not None]
            if len(draws) == len(sets):
                rows = resampled(draws)
                whole = len(self.grid) == len(sets)
                self._rows[info.name] = rows if whole else between(rows, self.levels, self.grid)
        self.infos = [info for info in infos if info.name in self._rows]
        self._count = min((len(rows) for rows in self._rows.values()), default=0)

    def rows(self, info: MetricInfo) -> np.ndarray:
        """[1 + B, G]: the metric on the images, and on B resamples of them."""
        return self._rows[info.name][: self._count]

    def level(self, index: int) -> Level:
        value: float = self.grid[index].item()
        return int(value) if float(value).is_integer() else value

    def at(self, index: int) -> str:
        """ "t0 = 104"."""
        return f"{self.knob} = {level_name(self.level(index))}"

    def around(self, index: int) -> list[Level]:
        """The levels of the run between which figures are interpolated at a place: two, or none at one of them."""
        level = self.level(index)
        below, above = ([other for other in self.levels if sign * other <= sign * level] for sign in (1, -1))
        return [] if level in self.levels else [below[-1], above[0]]

    def expected(self, index: int) -> dict[str, Estimate]:
        """The metrics at a level, by name."""
        return {info.name: spread(self.rows(info)[:, index]) for info in self.infos}


def _complete(images: Images, infos: Sequence[MetricInfo]) -> set[str]:
    """The ids of the images that have every one of the metrics that some image of the set has."""
    ids = set(images.with_features.ids) or set(images.ids)
    for info in infos:
        known = images.values[info.name].isfinite().tolist() if info.name in images.values else []
        ids &= {id_ for id_, has in zip(images.ids, known, strict=True) if has} if any(known) else ids
    return ids
