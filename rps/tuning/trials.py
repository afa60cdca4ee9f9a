"""What a trial of a search has found, and how trials differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rps.metrics.base import Better
from rps.metrics.intervals import Draws, Estimate

State = Literal["complete", "pruned", "failed", "running"]


class SettingFails(ValueError):
    """These settings restore no usable image, at least of one picture."""


@dataclass(frozen=True)
class Progress:
    """The objective of the pictures so far, their number, and whether they are all."""

    figure: Draws
    pictures: int
    last: bool


@dataclass(frozen=True)
class Trial:
    """A trial.

    figure: the objective of the first `pictures` pictures; None if there is none. reason: why it failed, or None.
    seconds: wall-clock time; NaN while it runs.
    """

    number: int
    settings: Mapping[str, Any]
    state: State
    figure: Draws | None
    pictures: int
    seconds: float
    reason: str | None = None


def minus(trial: Trial, other: Trial) -> Estimate | None:
    """The difference of the objectives of two trials, paired over the pictures; None unless both have the same."""
    if trial.figure is None or other.figure is None or trial.pictures != other.pictures:
        return None
    return trial.figure.minus(other.figure).estimate()


def in_order(trials: Sequence[Trial], better: Better) -> list[Trial]:
    """Completed trials, the best first; then pruned ones, then the others."""
    rank = {"complete": 0, "pruned": 1, "failed": 2, "running": 3}
    sign = 1 if better == "lower" else -1
    return sorted(trials, key=lambda t: (rank[t.state], sign * t.figure.value if t.figure else math.inf, t.number))


def near_best(trials: Sequence[Trial], better: Better) -> list[Trial]:
    """The best completed trial, and those within one standard error of it, paired over the pictures, in order."""
    complete = [trial for trial in in_order(trials, better) if trial.state == "complete"]
    pairs = [(trial, minus(trial, complete[0])) for trial in complete[1:]]
    return complete[:1] + [trial for trial, d in pairs if d is not None and abs(d.value) <= d.se]


def choose(trials: Sequence[Trial], better: Better, start: Mapping[str, Any] | None) -> Trial | None:
    """The trial of the configured settings if it is one of `near_best`, else the best one; None without a trial.

    The best of many trials owes a part of its lead to the pictures of the search. If the objective is quadratic around
    the best value of one setting, its lead over the true optimum exceeds one standard error of the paired difference
    exactly where the best value is two of its own standard errors away, which is in 5 % of searches.
    """
    near = near_best(trials, better)
    return next((trial for trial in near if trial.settings == start), near[0] if near else None)
