"""Averaging posterior samples: DPS-A and, behind an estimate, MAP-RPS-A (arXiv 2605.28711)."""

from __future__ import annotations

from collections.abc import Sequence

from rps.estimators.base import Estimator
from rps.restoration import Level
from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.schedule import Schedule
from rps.traversals.staged import ChainPlan, Staged


class SampleAverage(Staged):
    """x_M = mean of M independent posterior samples: one of them is a sample, infinitely many are the posterior mean.

    The largest M chains run in one batch, each with noise of its own, and a level averages the first M of them. Chain 0
    is the chain that the sampler runs alone. `Restoration.spread` is the standard deviation over the M chains.

    Args:
        levels: values of M >= 1.
        sampler: DPS when None.
        t0: where the chains start, as a count of timesteps; None is T.
        estimator: from whose estimate they start, re-noised to t0; None starts from noise and needs t0 = None.
        steps: a sub-grid of so many of the T timesteps. micro_batch: at most so many images in one network call.
    """

    knob = "samples"

    def __init__(
        self,
        levels: Sequence[int] = (1, 2, 4, 8, 16, 32),
        sampler: Sampler | None = None,
        t0: int | None = None,
        estimator: Estimator | None = None,
        steps: int | None = None,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__([int(level) for level in levels], estimator, sampler or Dps(), micro_batch)
        if min(self.levels) < 1:
            raise ValueError(f"the number of averaged samples must be at least 1, got {self.levels}")
        check_start(t0, estimator)
        self.t0, self.steps = t0, steps

    def plan(self, schedule: Schedule) -> list[ChainPlan]:
        t0 = len(schedule) if self.t0 is None else self.t0
        timesteps = self.sampler.timesteps(schedule, t0, self.steps)
        return [ChainPlan(timesteps, index) for index in range(int(max(self.levels)))]

    def chains_of(self, level: Level) -> Sequence[int]:
        return range(int(level))


def check_start(t0: int | None, estimator: Estimator | None) -> None:
    """A chain from noise starts at T, one from an estimate above the estimate."""
    if estimator is None and t0 is not None:
        raise ValueError(f"t0 = {t0} needs an estimator to start from; without one, chains start from noise at T")
    if t0 is not None and t0 < 1:
        raise ValueError(f"t0 must be at least 1, so that there is something to sample, got {t0}")
