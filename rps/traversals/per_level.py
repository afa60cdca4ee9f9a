"""Traversals whose levels are single chains that differ in a setting of the sampler, the number of steps, or both."""

from __future__ import annotations

from collections.abc import Sequence

from rps.estimators.base import Estimator
from rps.restoration import Level
from rps.samplers.base import Sampler
from rps.schedule import Schedule
from rps.settings import at_least_one, not_negative
from rps.traversals.staged import ChainPlan, Staged


class PerLevel(Staged):
    """One chain per level, from the estimate re-noised to t0 or from noise. All chains share their noise.

    samplers, steps: of each level; None for steps is all T timesteps. t0: where the chains start; None is T. estimator:
    what is re-noised; None starts from noise. The others: see Staged.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        samplers: Sequence[Sampler],
        steps: Sequence[int | None],
        t0: int | None = None,
        estimator: Estimator | None = None,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__(levels, estimator, samplers[0] if samplers else Sampler(), micro_batch)
        check_start(t0, estimator)
        for each in steps:
            at_least_one(steps=each)
        self.settings, self.t0 = dict(zip(levels, zip(samplers, steps, strict=True), strict=True)), t0

    def plan(self, schedule: Schedule) -> list[ChainPlan]:
        t0 = len(schedule) if self.t0 is None else self.t0
        settings = [self.settings[level] for level in self.levels]
        return [ChainPlan(sampler.timesteps(schedule, t0, steps), sampler=sampler) for sampler, steps in settings]

    def chains_of(self, level: Level) -> Sequence[int]:
        return [self.levels.index(level)]


def check_start(t0: int | None, estimator: Estimator | None) -> None:
    """Errors: ValueError for a t0 without an estimator to re-noise, and for a t0 that leaves no step to take."""
    if estimator is None and t0 is not None:
        raise ValueError(f"t0 = {t0} needs an estimator to start from; without one, chains start from noise at T")
    if t0 is not None and t0 < 1:
        raise ValueError(f"t0 must be at least 1, so that the chain has a step to take, got {t0}")


def one_per_level(value: float | Sequence[float], levels: Sequence[Level], name: str) -> list[float]:
    """The value of a setting at each level, from one number for all levels or one number per level."""
    values = list(value) if isinstance(value, Sequence) else [value] * len(levels)
    if len(values) != len(levels):
        raise ValueError(f"{name} must be one number or one per level, got {len(values)} for {len(levels)} levels")
    for each in values:
        not_negative(**{name: each})
    return [float(each) for each in values]
