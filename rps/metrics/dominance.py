"""Which points of the distortion-perception plane are dominated: another one is better on both axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rps.metrics.dp import PERCEPTION, Images, difference
from rps.metrics.standard import DISTORTION


def dominated_by(sets: Sequence[Images]) -> list[int | None]:
    """For each set of images, the index of the first set that is below it, or None.

    a is below b if its distortion and its perceptual distance are both smaller, each by more than the standard error of
    the paired difference where that is known.
    """
    places = [_place(images) for images in sets]
    return [
        next((i for i, images in enumerate(sets) if _is_below(images, other, places[i], places[k])), None)
        for k, other in enumerate(sets)
    ]


def _place(images: Images) -> tuple[float, float]:
    """Distortion and perceptual distance; NaN if unknown, which is below nothing."""
    x, y = images.means.get(DISTORTION), images.frechet
    return (math.nan if x is None else x.value, math.nan if y is None else y.root.value)


def _is_below(images: Images, other: Images, place: tuple[float, float], other_place: tuple[float, float]) -> bool:
    if not all(a < b for a, b in zip(place, other_place, strict=True)):
        return False
    paired = difference(images, other)
    changes = (paired.means.get(DISTORTION), paired.distances.get(PERCEPTION))
    return all(change.value < -change.se for change in changes if change is not None and math.isfinite(change.se))
