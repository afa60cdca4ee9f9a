"""A sweep that uses any numeric setting of a sampler as the knob."""

from __future__ import annotations

from collections.abc import Sequence

from rps.estimators.base import Estimator
from rps.restoration import Level
from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.schedule import Schedule
from rps.traversals.sample_average import check_start
from rps.traversals.staged import ChainPlan, Staged


class SettingSweep(Staged):
    """One chain for each value of a setting of the sampler, such as DiffPIR's zeta, DDNM's eta or a step size.

    All levels start from the same noise. Not every setting trades distortion for perception; the curve shows it.

    Args:
        setting: name of the setting, an argument of the sampler's constructor.
        levels: values of the setting.
        sampler: sampler that provides all other settings.
        t0: noise level, counted in timesteps, at which the chains start; None is T.
        estimator: estimator whose result is re-noised to t0 to start the chains; None starts them from noise and
            requires t0 = None.
        steps: number of timesteps in the sampler's grid; None uses all T.
        micro_batch: largest number of images in one network call; None puts no limit.
    """

    def __init__(
        self,
        setting: str = "step_size",
        levels: Sequence[float] = (0.3, 1.0, 3.0),
        sampler: Sampler = Dps(),
        t0: int | None = None,
        estimator: Estimator | None = None,
        steps: int | None = None,
        micro_batch: int | None = None,
    ) -> None:
        self.knob = setting
        super().__init__(list(levels), estimator, sampler, micro_batch)
        check_start(t0, estimator)
        self.t0, self.steps = t0, steps
        self.samplers = [self.sampler.replace(**{setting: level}) for level in self.levels]

    def plan(self, schedule: Schedule) -> list[ChainPlan]:
        t0 = len(schedule) if self.t0 is None else self.t0
        return [ChainPlan(s.timesteps(schedule, t0, self.steps), sampler=s) for s in self.samplers]

    def chains_of(self, level: Level) -> Sequence[int]:
        return [self.levels.index(level)]
