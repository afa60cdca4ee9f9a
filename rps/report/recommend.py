"""Recommends a level of a run: the best one within a bound on a figure, or the knee of the curve."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rps.metrics.base import MetricInfo
from rps.metrics.choice import below_chord, spread, within
from rps.metrics.dp import DISTANCES, KERNEL, PERCEPTION, SHORT
from rps.metrics.intervals import Estimate
from rps.metrics.significance import FEWEST_IN_SET, is_change
from rps.metrics.standard import DISTORTION
from rps.records.files import level_name
from rps.records.reader import Records, read_records
from rps.report.cells import align, number, plus_minus, precise
from rps.report.knob_curve import KnobCurve
from rps.report.level_command import level_command
from rps.restoration import Level


@dataclass(frozen=True)
class Recommendation:
    """A level of a run, and what to expect there.

    level: the value of the knob. interval: its standard error and 95 % interval, from choosing again on resamples of
    the images. expected: name of a metric -> its value at this level, the mean over images or, of a distance, for sets
    of n images. n: number of images on which this is based. satisfied: whether the bound holds; True for the knee.
    sentences: what else there is to know. command: arguments of the command that restores at this level; empty if the
    config of the run does not show it. infos: of the metrics in `expected`. Its text is what the command prints.
    """

    knob: str
    level: Level
    interval: Estimate
    expected: Mapping[str, Estimate]
    n: int
    satisfied: bool
    sentences: Sequence[str]
    command: Sequence[str]
    infos: Sequence[MetricInfo]

    def __str__(self) -> str:
        ends = " to ".join(level_name(end) for end in (self.interval.low, self.interval.high))
        lines = [f"{self.knob} = {level_name(self.level)} (95 % interval {ends}; {self.n} images)", ""]
        cells = []
        for info in self.infos:
            figure = self.expected[info.name]
            digits = precise(info.digits, figure.se)
            low, high = (number(end, digits) for end in (figure.low, figure.high))
            value = number(figure.value, digits) + plus_minus(figure.se, digits)
            cells.append((info.title, value, f"{low} to {high}"))
        titles = (f"at {self.knob} = {level_name(self.level)}", "expected", "95 % interval")
        lines += [*align(list(zip(titles, zip(*cells, strict=True), strict=True))), ""]
        lines += [f"- {sentence}" for sentence in self.sentences]
        if self.command:
            lines += ["", "To restore at this level (with --data.folder or --data.skip: other pictures):", ""]
            lines.append(f"    {shlex.join(self.command)}")
        return "\n".join(lines)


def recommend(run: str | Path, metric: str | None = None, bound: float | None = None) -> Recommendation:
    """The best level among those whose `metric` is no worse than `bound`; the knee of the curve if both are None.

    Best is the level of the lowest sqrt(FD) or, within a bound on a distance of sets ("frechet" is sqrt(FD)), of the
    lowest RMSE. In a run without that figure it is the level nearest to the bound, and so it is if no level satisfies
    the bound. The knee is the level farthest below the chord: argmax 1 - u - v, with u and v the RMSE and sqrt(FD)
    scaled to [0, 1] over the curve.

    Between levels of t0, and of a weight, both are interpolated; of another knob, one of the levels is chosen.

    Errors: ValueError for a run of one level (of two for the knee), for a metric that some level lacks or that is
    better neither lower nor higher, and for a bound that is not a number.
    """
    folder, records = Path(run), read_records(run)
    infos = infos_of(records)
    axes = [infos[name] for name in (DISTORTION, PERCEPTION) if name in infos]
    if metric is None:
        curve = KnobCurve(folder, records, axes, fewest=3)
        if len(curve.infos) < 2:
            raise ValueError(f"a knee needs RMSE and √FD of two images at every level, which {folder} does not have")
        indices, satisfied, sentences = _knee(curve)
    else:
        info = infos.get(SHORT.get(metric, metric))
        if info is None or info.better is None or bound is None or not math.isfinite(bound):
            raise ValueError(f"a bound is a number for one of {', '.join(sides(infos))}; got {bound} for {metric}")
        across = [axis for axis in axes if (axis.name == PERCEPTION) != (info in DISTANCES)]
        curve = KnobCurve(folder, records, [info, *across], fewest=2)
        if info not in curve.infos:
            raise ValueError(f"{folder} does not have {info.title} of two images at every level; bound another metric")
        indices, satisfied, sentences = _bounded(curve, info, float(bound))
    place = int(indices[0])
    if around := curve.around(place):
        ends = " and ".join(level_name(level) for level in around)
        sentences.append(f"Interpolated between the levels {ends}; the intervals leave out the error of interpolation.")
    if curve.n < curve.total:
        sentences.append(f"Based on the {curve.n} of {curve.total} images that every level restored.")
    if curve.n < FEWEST_IN_SET:
        sentences.append(f"{curve.n} images are too few for intervals of distances; use --data.limit 64.")
    level = curve.level(place)
    return Recommendation(
        curve.knob, level, spread(curve.grid[indices]), curve.expected(place), curve.n, satisfied, sentences,
        level_command(folder, curve.knob, level), curve.infos,
    )  # fmt: skip


def infos_of(records: Records) -> dict[str, MetricInfo]:
    """The figures of a level by name."""
    distances = [info for info in DISTANCES if info.name in (PERCEPTION, KERNEL)]
    return {info.name: info for info in (*records.metrics, *distances)}


def sides(infos: Mapping[str, MetricInfo]) -> dict[str, str]:
    """Name of each metric that can be bounded -> "max" if lower is better, else "min"."""
    found = {name: "max" if info.better == "lower" else "min" for name, info in infos.items() if info.better}
    return found | {short: found[name] for short, name in SHORT.items()}


def _bounded(curve: KnobCurve, info: MetricInfo, bound: float) -> tuple[np.ndarray, bool, list[str]]:
    """(index of the choice and of that on every resample, whether it satisfies the bound, sentences)."""
    sign = -1 if info.better == "higher" else 1
    across = next((other for other in curve.infos if other is not info), None)
    figure = sign * curve.rows(info)
    other = -figure if across is None else curve.rows(across)
    indices = within(figure, sign * bound, other)
    place, limit = int(indices[0]), f"{info.title} of at {'least' if sign < 0 else 'most'} {bound:g}"
    satisfied = bool(figure[0, place] <= sign * bound + 1e-12 * abs(bound))
    if not satisfied:
        return indices, False, [f"No level has {limit}; this one is the nearest."]
    sentences = []
    if across is None:
        sentences.append(f"There is no other figure to choose by, so this is the level nearest to {limit}.")
    elif place in (0, len(curve.grid) - 1) and bool((figure[0] <= sign * bound).all()):
        sentences.append(
            f"Every level has {limit}; of all, this one has the lowest {across.title}, and it is the end of the curve: "
            f"another level beyond {curve.at(place)} may have a lower one."
        )
    upper = np.quantile(figure[1:], 0.95, axis=0)
    if bool((upper <= sign * bound).any()):
        safe = int(within(upper[None], sign * bound, other[:1])[0])
        sentences.append(f"{curve.at(safe)} keeps {limit} with 95 % confidence.")
    else:
        sentences.append(f"No level keeps {limit} with 95 % confidence; more images make this narrower.")
    return indices, True, sentences


def _knee(curve: KnobCurve) -> tuple[np.ndarray, bool, list[str]]:
    """The same for the level farthest below the chord."""
    heights = below_chord(*(curve.rows(info) for info in curve.infos))
    indices = heights.argmax(axis=1)
    height = spread(heights[:, indices[0]])
    if indices[0] in (0, len(curve.grid) - 1):
        return indices, True, ["The curve has no knee: the level with the largest 1 - u - v is its end."]
    text = f"{height.value:.2f}{plus_minus(height.se, 2)} (0 on the chord, 1 at best)"
    if is_change(height.value, height.se, curve.n):
        return indices, True, [f"The curve is below its chord by {text}."]
    return indices, True, [f"The curve is below its chord by no more than its error, {text}: no level stands out."]
