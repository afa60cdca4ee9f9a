"""When a paired change can be told from zero, at 95 %, and how many images it would take."""

from __future__ import annotations

import math

FEWEST_IN_SET = 16
"""Smallest number of images for claims on distances of sets, whose standard errors are too small for fewer: without
any change, 14 % of 8 and 10 % of 12 images would claim one, 5 % of 16 and more (the embedded features, D = 32)."""
LARGE = 10**9
"""A number of images at which Student's distribution is the normal one."""
POWER = 2.8
"""Standard errors that a change must have to be found with 80 % probability at 95 %: 1.96 + .84."""


def threshold(n: int) -> float:
    """t_{.975}(n - 1): the standard errors by which the mean of n values must differ from 0, as in Student's t-test.

    Infinite for n < 2; 2.1 for n = 16, 2.0 for n = 64.
    """
    from scipy.special import stdtrit  # lighter than scipy.stats

    return float(stdtrit(n - 1, 0.975)) if n > 1 else math.inf


def is_change(value: float, se: float, n: int) -> bool:
    """Whether |value| > threshold(n) se; False if either is unknown."""
    return math.isfinite(value) and math.isfinite(se) and value != 0 and abs(value) > threshold(n) * se


def images_needed(value: float, se: float, n: int) -> float:
    """Number of images that would show a change of this size with 80 % probability: n (2.8 se / value)^2.

    Standard errors fall as 1 / sqrt(n), and the true change is taken to be `value`; infinite for 0.
    """
    return n * (POWER * se / value) ** 2 if value else math.inf
