"""A sweep that uses any numeric setting of a sampler as the knob."""

from __future__ import annotations

from collections.abc import Sequence

from rps.estimators.base import Estimator
from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.traversals.inputs import level_numbers
from rps.traversals.per_level import PerLevel


class SettingSweep(PerLevel):
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

    level_arguments = ("levels",)

    def __init__(
        self,
        setting: str = "step_factor",
        levels: float | Sequence[float] = (0.3, 1.0, 3.0),
        sampler: Sampler = Dps(),
        t0: int | None = None,
        estimator: Estimator | None = None,
        steps: int | None = 50,
        micro_batch: int | None = None,
    ) -> None:
        self.knob = self.setting = setting
        values = level_numbers("levels", levels)
        samplers = [sampler.replace(**{setting: value}) for value in values]
        super().__init__(values, samplers, [steps] * len(samplers), t0, estimator, micro_batch)
        self.sampler, self.steps = sampler, steps
