"""The number of steps as the knob: DPS-S and, from an estimate, MAP-RPS-S (arXiv 2605.28711); any sampler alone."""

from __future__ import annotations

from collections.abc import Sequence

from rps.estimators.base import Estimator
from rps.restoration import Level
from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.schedule import Schedule
from rps.traversals.sample_average import check_start
from rps.traversals.staged import ChainPlan, Staged, per_level


class StepNumber(Staged):
    """Posterior sampling on sub-grids of S of the T timesteps. All levels run in one batch and share x_T.

    Args:
        levels: numbers S of timesteps in the grid over all T; a chain that starts at t0 < T visits those below t0.
        step_size: step size of the sampler, one for all levels or one per level; None keeps the sampler's value.
            Published for DPS at 900, 800, ..., 100 steps: denoise 2 2 3 3 5 6 9 13 19, inpainting 2 3 4 4 6 7 11 19
            20, sr4 2 3 3 5 6 9 12 16 20, deblur 6 7 7 8 10 9 11 15 18.
        sampler: posterior-sampling step.
        t0: noise level, counted in timesteps, at which the chains start; None is T.
        estimator: estimator whose result is re-noised to t0 to start the chains; None starts them from noise and
            requires t0 = None.
        micro_batch: largest number of images in one network call; None puts no limit.
    """

    knob = "steps"

    def __init__(
        self,
        levels: Sequence[int] = (900, 700, 500, 300, 100),
        step_size: float | Sequence[float] | None = None,
        sampler: Sampler = Dps(),
        t0: int | None = None,
        estimator: Estimator | None = None,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__([int(level) for level in levels], estimator, sampler, micro_batch)
        check_start(t0, estimator)
        self.t0 = t0
        self.samplers = [self.sampler] * len(self.levels)
        if step_size is not None:
            sizes = per_level(step_size, self.levels, "step_size")
            self.samplers = [self.sampler.replace(step_size=size) for size in sizes]

    def plan(self, schedule: Schedule) -> list[ChainPlan]:
        t0 = len(schedule) if self.t0 is None else self.t0
        return [
            ChainPlan(sampler.timesteps(schedule, t0, int(steps)), sampler=sampler)
            for sampler, steps in zip(self.samplers, self.levels, strict=True)
        ]

    def chains_of(self, level: Level) -> Sequence[int]:
        return [self.levels.index(level)]


class PosteriorSampling(StepNumber):
    """A sampler alone, from x_T = sigma_T z down to 0: a single point of the distortion-perception plane.

    Args:
        sampler: posterior-sampling step.
        steps: number of timesteps in the sampler's grid; None is the sampler's published number.
        micro_batch: largest number of images in one network call; None puts no limit.
    """

    def __init__(self, sampler: Sampler = Dps(), steps: int | None = None, micro_batch: int | None = None) -> None:
        super().__init__([sampler.default_steps if steps is None else steps], None, sampler, micro_batch=micro_batch)
