"""What a trial of a search has found, and how trials differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
