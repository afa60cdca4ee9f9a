"""The figure that a search optimises: a metric of the run, a product of several, or an error on held data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.metrics.base import Better, Metric, MetricInfo
from rps.metrics.dp import DISTANCES, Images
from rps.metrics.frechet import Statistics
from rps.metrics.intervals import Draws, mean_draws
from rps.records.evaluate import Evaluation
from rps.records.reader import Key, Records
from rps.records.rows import Row
from rps.records.summary import images_of
from rps.tuning.splits import HeldError, fission, hold_out

ON_SETS = ("sqrt_frechet", "kernel")
"""Figures of sets of images that have resamples."""

LIMITS = {
    "fission": "fission sees only A(x): what A does not measure, and how real the images look, does not count; the "
    "settings are for noise of {noise:.3g} times the standard deviation; the noise must be Gaussian with the "
    "configured standard deviation",
    "held_out": "held-out pixels are like the measured ones, with {left:.0%} of them left: larger holes, and how real "
    "the images look, do not count",
    "sqrt_frechet": "a Frechet distance of few pictures is biased upwards, so compare it at equal numbers of pictures "
    "only; with fewer pictures than features it ranks settings roughly",
}
"""Objective -> what it cannot show."""


@dataclass(frozen=True)
class Objective:
    """The mean over levels of a figure, or of a product of figures, of the pictures so far.

    parts: what they are, in order. metrics: those to compute for each image. features, reference: for distances.
    split: applied to measurements before they are restored, or None. limits: sentences on what it cannot show.
    """

    parts: tuple[MetricInfo, ...]
    metrics: tuple[Metric, ...]
    features: Any = None
    reference: Statistics | None = None
    split: Callable[[Measurement], Measurement] | None = None
    limits: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return " x ".join(part.title for part in self.parts)

    @property
    def better(self) -> Better:
        return self.parts[0].better or "lower"

    @property
    def digits(self) -> int:
        return max(part.digits for part in self.parts)

    def figure(self, found: Sequence[Evaluation]) -> Draws:
        """The objective over the pictures of some batches, and its values on resamples of them.

        Errors: ValueError if a part cannot be computed on such pictures.
        """
        records = _records(found)
        levels = [images_of(records, ("restored", level), self.reference) for level in records.levels]
        values = [reduce(_times, [self._part(part.name, images) for part in self.parts]) for images in levels]
        mean = sum(v.value for v in values) / len(values)
        return Draws(mean, torch.stack([v.draws for v in values]).mean(0), min(v.n for v in values))

    def _part(self, name: str, images: Images) -> Draws:
        found = images.draws(name) if name in ON_SETS else _mean(images.values.get(name))
        if found is None:
            raise ValueError(
                f"{name} cannot be computed on these pictures; if they have no clean reference, give --objective "
                "fission or held_out"
            )
        return found


def make_objective(
    name: str,
    metrics: Sequence[Metric],
    features: Any = None,
    reference: Statistics | None = None,
    tau: float = 0.5,
    share: float = 0.1,
) -> Objective:
    """The objective with a name.

    name: "fission", "held_out", a metric, a distance of ON_SETS, or several of these with commas between, whose product
    is minimised. metrics, features, reference: of the run. tau, share: see rps.tuning.splits.
    Errors: ValueError for a name that is unknown, or that has no better direction.
    """
    splits = {"fission": partial(fission, tau=tau), "held_out": partial(hold_out, share=share)}
    if name in splits:
        held = HeldError()
        limit = LIMITS[name].format(noise=(1 + tau**2) ** 0.5, left=1 - share)
        return Objective((held.info,), (held,), split=splits[name], limits=(limit,))
    known = {metric.name: metric.info for metric in metrics}
    known |= {info.name: info for info in DISTANCES if info.name in ON_SETS}
    names = name.split(",")
    for part in names:
        if part not in known:
            raise ValueError(
                f"there is no objective {part!r}; it may be one of {', '.join([*known, *splits])}, or a product of "
                "metrics such as rmse,sqrt_frechet; --metric CLASS adds a metric, e.g. --metric Lpips"
            )
        if known[part].better is None:
            raise ValueError(f"{part} is neither better when higher nor when lower, so it cannot be optimised")
    if len(names) > 1 and (wrong := [part for part in names if known[part].better != "lower"]):
        raise ValueError(f"a product needs metrics that are better when lower, but {wrong[0]} is better when higher")
    distances = [part for part in names if part in ON_SETS]
    if distances and features is None:
        raise ValueError(
            f"{distances[0]} needs a feature network; give one to the MetricRecorder of the config (features, "
            "reference), as configs/demo.yaml does"
        )
    return Objective(
        tuple(known[part] for part in names),
        tuple(metric for metric in metrics if metric.name in names),
        features if distances else None,
        reference,
        limits=tuple(LIMITS[part] for part in names if part in LIMITS),
    )


def _records(found: Sequence[Evaluation]) -> Records:
    rows: dict[Key, dict[str, Row]] = {}
    features: dict[Key, dict[str, Tensor]] = {}
    for evaluation in found:
        for row in evaluation.rows:
            rows.setdefault((row.kind, row.level), {})[row.id] = row
        for part in evaluation.vectors:
            of_key = features.setdefault((part.kind, part.level), {})
            of_key |= dict(zip(part.ids, part.vectors, strict=True))
    return Records("", {key: dict(sorted(of_key.items())) for key, of_key in rows.items()}, features, None, 0)


def _mean(values: Tensor | None) -> Draws | None:
    """The mean over images and its values on the resamples that the distances take, with the same weights."""
    if values is None:
        return None
    values = values[values.isfinite()]
    return (
        mean_draws(values)
        if len(values) > 1
        else Draws(float(values.double().mean()), values[:0].double(), len(values))
    )


def _times(a: Draws, b: Draws) -> Draws:
    k = min(len(a.draws), len(b.draws))  # distances of many features have fewer resamples
    return Draws(a.value * b.value, a.draws[:k] * b.draws[:k], min(a.n, b.n))
