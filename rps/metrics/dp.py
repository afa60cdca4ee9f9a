"""The position of a set of restored images on the distortion-perception (D-P) plane (arXiv 2605.28711, section 5).

Distortion is the mean of the per-image RMSE; perception is the square root of the Frechet distance, because the latter
is a squared Wasserstein distance and RMSE is not squared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from rps.metrics.base import MetricInfo
from rps.metrics.frechet import Statistics
from rps.metrics.intervals import Draws, Estimate, FrechetDraws, frechet_draws, mean_draws, means
from rps.metrics.kernel import kernel_draws
from rps.metrics.manifold import NEIGHBOURS, PrecisionRecall, precision_recall

PERCEPTION = "sqrt_frechet"
"""The distance on the perception axis of the D-P plane."""
KERNEL = "kernel"
SHORT = {"frechet": PERCEPTION}
"""Short names for options."""
LARGEST = 5000
"""Largest number of images for kernel distance, precision and recall, which hold all pairs in memory."""


DISTANCES = (
    MetricInfo(
        PERCEPTION,
        "√FD",
        "square root of the Frechet distance, see frechet",
        digits=2,
        better="lower",
    ),
    MetricInfo(
        KERNEL,
        "KD",
        "unbiased squared MMD of the features over all pairs, k(a, b) = (a b / D + 1)^3 (arXiv 1801.01401; KID when "
        "they are Inception's); ci95 as of the Frechet distance",
        digits=4,
        better="lower",
    ),
    MetricInfo(
        "precision",
        "precision",
        "share of images within the manifold of the reference's features, 3 neighbours (arXiv 1904.06991)",
        better="higher",
    ),
    MetricInfo(
        "recall",
        "recall",
        "share of reference images within the manifold of the images' features, likewise; se given the manifold",
        better="higher",
    ),
)
"""Metrics of sets of images, computed from their features."""


def distortion(perception: Tensor, d_star: float, p_star: float) -> Tensor:
    """D(P) = D* + [(P* - P)_+]^2 (arXiv 2107.02555), the least MSE at W2(p_X, p_out) <= P.

    d_star: the MMSE. p_star: W2(p_X, p_X*) for X* = E[X | Y]. For the curve of a Gaussian posterior of covariance C,
    with perception measured against p(x | y), d_star = Tr C and p_star = sqrt(Tr C).
    """
    return d_star + (p_star - perception).clamp(min=0) ** 2


@dataclass(frozen=True)
class Images:
    """The metrics and features of a set of restored images.

    ids: N names, in the same order (e.g. sorted) in every set that is compared: the order determines which samples are
    resampled together. values: name -> per-image metric [N], NaN if it does not apply.
    features: [N, D], NaN in the rows of images that have none. reference: for the Frechet distance: fixed statistics,
    or the features [N, D] of the same N clean images. Without features and reference there is no distance.
    """

    ids: Sequence[str]
    values: Mapping[str, Tensor] = field(default_factory=dict)
    features: Tensor | None = None
    reference: Statistics | Tensor | None = None

    @cached_property
    def _parts(self) -> dict[tuple[str, ...], Images]:
        return {tuple(self.ids): self}

    def only(self, ids: Sequence[str]) -> Images:
        """The samples with these ids, in this order; asked for again, the same object with what it has computed."""
        if (key := tuple(ids)) not in self._parts:
            row = {id_: i for i, id_ in enumerate(self.ids)}
            index = torch.tensor([row[id_] for id_ in ids], dtype=torch.int64)
            reference = self.reference[index] if isinstance(self.reference, Tensor) else self.reference
            values = {name: value[index] for name, value in self.values.items()}
            features = None if self.features is None else self.features[index]
            self._parts[key] = Images(ids, values, features, reference)
        return self._parts[key]

    @cached_property
    def means(self) -> dict[str, Estimate]:
        """The mean of every metric over the images with a finite value; metrics without any are left out."""
        return _means(self.values)

    @cached_property
    def with_features(self) -> Images:
        """The images that have features, and whose clean image has features if it is the reference."""
        if self.features is None or self.reference is None:
            return Images([])
        known = self.features.isfinite().all(1)
        if isinstance(self.reference, Tensor):
            known = known & self.reference.isfinite().all(1)
        return self.only([id_ for id_, has in zip(self.ids, known.tolist(), strict=True) if has])

    @cached_property
    def frechet(self) -> FrechetDraws | None:
        """The Frechet distance between the images that have features and the reference; `.root` is the perception."""
        images = self.with_features
        if images.features is None or images.reference is None:
            return None
        return frechet_draws(images.features, images.reference)

    @cached_property
    def kernel(self) -> Draws | None:
        """The kernel distance to the features of the reference; None if they are missing or too many."""
        if self._pairs is None:
            return None
        return kernel_draws(*self._pairs, paired=isinstance(self.reference, Tensor))

    @cached_property
    def manifold(self) -> PrecisionRecall | None:
        """Precision and recall; None under the same condition."""
        return None if self._pairs is None else precision_recall(*self._pairs)

    def draws(self, name: str) -> Draws | None:
        """The mean of a metric, or PERCEPTION or KERNEL, on resamples; None if some image lacks it."""
        values = self.values.get(name)
        if values is not None:
            return mean_draws(values) if len(values) > 1 and bool(values.isfinite().all()) else None
        root = None if self.frechet is None else self.frechet.root
        return {PERCEPTION: root, KERNEL: self.kernel}.get(name)

    @property
    def _pairs(self) -> tuple[Tensor, Tensor] | None:
        images = self.with_features
        reference = images.reference.features if isinstance(images.reference, Statistics) else images.reference
        if images.features is None or reference is None:
            return None
        sizes = len(images.features), len(reference)
        return (images.features, reference) if min(sizes) > NEIGHBOURS and max(sizes) <= LARGEST else None


@dataclass(frozen=True)
class Difference:
    """One set of images minus another, paired on the ids that both have.

    n: number of these ids. pair: both sets, on these ids. with_features: on those that have features in both. means:
    differences of the metrics that both have. distances: PERCEPTION and KERNEL -> difference, where it is known.
    """

    n: int
    pair: tuple[Images, Images]
    with_features: tuple[Images, Images]
    means: Mapping[str, Estimate]
    distances: Mapping[str, Estimate]


def difference(images: Images, first: Images) -> Difference:
    """images - first, e.g. a level minus the first level of the curve."""
    known = set(first.ids)
    common = [id_ for id_ in images.ids if id_ in known]
    here, there = images.only(common), first.only(common)
    values = {name: value - there.values[name] for name, value in here.values.items() if name in there.values}
    known = set(there.with_features.ids)
    both = [id_ for id_ in here.with_features.ids if id_ in known]
    featured = here.only(both), there.only(both)
    draws = {name: tuple(images.draws(name) for images in featured) for name in (PERCEPTION, KERNEL)}
    distances = {name: a.minus(b).estimate() for name, (a, b) in draws.items() if a is not None and b is not None}
    return Difference(len(common), (here, there), featured, _means(values), distances)


def _means(values: Mapping[str, Tensor]) -> dict[str, Estimate]:
    applies = {name: value.double()[value.isfinite()] for name, value in values.items()}
    result: dict[str, Estimate] = {}
    for n in sorted({len(value) for value in applies.values()} - {0}):  # all metrics with the same number of images
        names = [name for name, value in applies.items() if len(value) == n]
        result.update(zip(names, means(torch.stack([applies[name] for name in names], dim=1)), strict=True))
    return {name: result[name] for name in values if name in result}
