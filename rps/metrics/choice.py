"""The choice of a level on a curve: figures between levels, on resamples, and the level that meets a criterion.

Arrays have one row for the figures themselves and B more for resamples of the images, so that whatever is chosen is
chosen again on every resample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rps.metrics.intervals import STEP, Draws, Estimate


def resampled(levels: Sequence[Draws]) -> np.ndarray:
    """[1 + B, L]: a figure at L levels and, below, on B resamples: value + (draw - mean draw) / STEP.

    The rows of figures of the same images belong together. Subtracting the mean removes the bias of resampling.
    """
    values = np.array([level.value for level in levels])
    count = min(len(level.draws) for level in levels)  # the first resamples are the same, whatever their number
    draws = np.stack([level.draws[:count].numpy() for level in levels], axis=1)
    return np.vstack([values, values + (draws - draws.mean(axis=0)) / STEP])


def between(rows: np.ndarray, levels: Sequence[float], grid: np.ndarray) -> np.ndarray:
    """[1 + B, G]: the figure at the values of the knob in `grid`, which lie between the lowest and the highest level.

    Monotone between levels: piecewise cubic Hermite interpolation (Fritsch and Carlson 1980). rows: [1 + B, L].
    """
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(np.asarray(levels, dtype=float), rows, axis=1)(grid)


def within(figure: np.ndarray, bound: float, other: np.ndarray) -> np.ndarray:
    """[1 + B]: index of the place with the lowest `other` among those with figure <= bound; the place with the lowest
    figure if there are none.  figure, other: [1 + B, G], lower is better."""
    allowed = figure <= bound + 1e-12 * abs(bound)  # a bound on the value of a level includes it
    best = np.where(allowed, other, np.inf).argmin(axis=1)
    return np.where(allowed.any(axis=1), best, figure.argmin(axis=1))


def below_chord(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 - u - v, u = (x - min x) / (max x - min x), v likewise: the height of the chord over the curve, [1 + B, G].

    On a falling curve the chord from its first to its last point is u + v = 1, and 1 - u - v is 1 at best, in the
    corner where x and y are least, and 0 on the chord. x, y: [1 + B, G].
    """
    return 1 - _unit(x) - _unit(y)


def spread(rows: np.ndarray) -> Estimate:
    """The first entry with the standard deviation of the others and their 2.5 % and 97.5 % points.  rows: [1 + B]."""
    low, high = np.quantile(rows[1:], [0.025, 0.975], method="inverted_cdf")  # values that occur: levels stay levels
    return Estimate(float(rows[0]), float(rows[1:].std(ddof=1)), float(low), float(high))


def _unit(values: np.ndarray) -> np.ndarray:
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    return (values - low) / np.where(high > low, high - low, 1)
