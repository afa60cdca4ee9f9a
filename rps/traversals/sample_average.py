"""Averages of posterior samples: DPS-A and, starting from an estimate, MAP-RPS-A (arXiv 2605.28711)."""

from __future__ import annotations

from collections.abc import Sequence

from rps.estimators.base import Estimator
from rps.restoration import Level
from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.schedule import Schedule
from rps.settings import at_least_one
from rps.traversals.inputs import whole_levels
from rps.traversals.per_level import check_start
from rps.traversals.staged import ChainPlan, Staged


class SampleAverage(Staged):
    """x_M = mean of M independent posterior samples: M = 1 is a sample, M -> infinity the posterior mean.

    max(M) chains run in one batch, each with independent noise, and level M averages the first M of them. Chain 0 is
    the chain that the sampler alone would run. `Restoration.spread` is the standard deviation over the M chains.
    Averages are not built on saved ones: a run that is extended by a level M runs all of its M chains.

    Args:
        levels: numbers M >= 1 of samples to average.
        sampler: posterior-sampling step.
        t0: noise level, counted in timesteps, at which the chains start; None is T.
        estimator: estimator whose result is re-noised to t0 to start the chains; None starts them from noise and
            requires t0 = None.
        steps: number of timesteps in the sampler's grid; None uses all T.
        micro_batch: largest number of images in one network call; None puts no limit.
    """

    level_arguments = ("levels",)
    knob = "samples"

    def __init__(
        self,
        levels: int | Sequence[int] = (1, 2, 4, 8, 16, 32),
        sampler: Sampler = Dps(),
        t0: int | None = None,
        estimator: Estimator | None = None,
        steps: int | None = 50,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__(whole_levels("levels", levels), estimator, sampler, micro_batch)
        if min(self.levels) < 1:
            raise ValueError(f"levels must be numbers of samples >= 1, got {self.levels}")
        check_start(t0, estimator)
        at_least_one(steps=steps)
        self.t0, self.steps = t0, steps

    def plan(self, schedule: Schedule) -> list[ChainPlan]:
        t0 = len(schedule) if self.t0 is None else self.t0
        timesteps = self.sampler.timesteps(schedule, t0, self.steps)
        return [ChainPlan(timesteps, index) for index in range(int(max(self.levels)))]

    def chains_of(self, level: Level) -> Sequence[int]:
        return range(int(level))
