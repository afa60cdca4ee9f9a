"""Interpolation between a low-distortion estimate and a posterior sample (arXiv 2107.02555)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rps.estimators.base import Estimator
from rps.estimators.proximal_map import ProximalMap
from rps.restoration import Level
from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.schedule import Schedule
from rps.settings import at_least_one
from rps.traversals.inputs import level_numbers
from rps.traversals.per_level import check_start
from rps.traversals.staged import ChainPlan, Staged


class Interpolation(Staged):
    """x_w = (1 - w) X* + w X_0, X* an estimate of E[X | Y] and X_0 a posterior sample.

    With both exact and perception measured given y, this is the optimal curve of a Gaussian posterior of covariance C:
    MSE = (1 + w^2) Tr C at W2 = (1 - w) sqrt(Tr C).

    Args:
        levels: weights w of the sample, in [0, 1]; 0 is the estimate, 1 the sample.
        estimator: estimator that gives X*.
        sampler: posterior-sampling step whose chain gives X_0.
        t0: noise level, counted in timesteps, to which the estimate is re-noised to start the sample's chain; None
            starts it from noise at T.
        steps: number of timesteps in the sampler's grid; None uses all T.
        micro_batch: largest number of images in one network call; None puts no limit.
    """

    level_arguments = ("levels",)
    knob = "weight"

    def __init__(
        self,
        levels: float | Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
        estimator: Estimator = ProximalMap(),
        sampler: Sampler = Dps(),
        t0: int | None = None,
        steps: int | None = 50,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__([float(level) for level in level_numbers("levels", levels)], estimator, sampler, micro_batch)
        if not all(0 <= level <= 1 for level in self.levels):
            raise ValueError(f"levels must be weights between 0 and 1, got {self.levels}")
        check_start(t0, estimator)
        at_least_one(steps=steps)
        self.t0, self.steps = t0, steps

    def plan(self, schedule: Schedule) -> list[ChainPlan]:
        if not any(self.levels):
            return []
        t0 = len(schedule) if self.t0 is None else self.t0
        return [ChainPlan(self.sampler.timesteps(schedule, t0, self.steps), from_noise=self.t0 is None)]

    def chains_of(self, level: Level) -> Sequence[int]:
        return [0] if level > 0 else []

    def needs_estimate(self, level: Level) -> bool:
        return level < 1 or self.t0 is not None

    def shows_estimate(self, level: Level) -> bool:
        return level < 1

    def image(self, level: Level, estimate: Tensor | None, samples: Tensor) -> Tensor:
        # Skip a term of weight zero: 0 * nan is nan, so an estimate that diverged would spoil the sample.
        if level == 1:
            return samples[0]
        assert estimate is not None  # the other levels show it
        return (1 - level) * estimate + level * samples[0] if level > 0 else estimate
