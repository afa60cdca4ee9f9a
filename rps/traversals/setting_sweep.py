"""Any number that a sampler takes as the knob."""

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

    All levels start from the same noise. Whether the knob trades distortion for perception is for the curve to show.

    Args:
        setting: the name of the setting, an argument of the sampler's constructor.
        levels: its values.
        sampler: with all other settings; DPS when None.
        t0, estimator: where the chains start, see SampleAverage. steps: a sub-grid of so many of the T timesteps.
        micro_batch: at most so many images in one network call.
    """

    def __init__(
        self,
        setting: str = "step_size",
        levels: Sequence[float] = (0.3, 1.0, 3.0),
        sampler: Sampler | None = None,
        t0: int | None = None,
        estimator: Estimator | None = None,
        steps: int | None = None,
        micro_batch: int | None = None,
    ) -> None:
        self.knob = setting
        super().__init__(list(levels), estimator, sampler or Dps(), micro_batch)
        check_start(t0, estimator)
        self.t0, self.steps = t0, steps
        self.samplers = [self.sampler.replace(**{setting: level}) for level in self.levels]

    def plan(self, schedule: Schedule) -> list[ChainPlan]:
        t0 = len(schedule) if self.t0 is None else self.t0
        return [ChainPlan(s.timesteps(schedule, t0, self.steps), sampler=s) for s in self.samplers]

    def chains_of(self, level: Level) -> Sequence[int]:
        return [self.levels.index(level)]
