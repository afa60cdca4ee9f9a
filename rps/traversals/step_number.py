"""The number of steps as the knob: DPS-S and, from an estimate, MAP-RPS-S (arXiv 2605.28711); any sampler alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rps.estimators.base import Estimator
from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.traversals.inputs import whole_levels
from rps.traversals.per_level import PerLevel, one_per_level


class StepNumber(PerLevel):
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

    level_arguments: ClassVar[tuple[str, ...]] = ("levels", "step_size")
    knob = "steps"

    def __init__(
        self,
        levels: int | Sequence[int] = (100, 50, 25, 12),
        step_size: float | Sequence[float] | None = None,
        sampler: Sampler = Dps(),
        t0: int | None = None,
        estimator: Estimator | None = None,
        micro_batch: int | None = None,
    ) -> None:
        steps = whole_levels("levels", levels)
        samplers = [sampler] * len(steps)
        if step_size is not None:
            samplers = [sampler.replace(step_size=size) for size in one_per_level(step_size, steps, "step_size")]
        super().__init__(steps, samplers, steps, t0, estimator, micro_batch)
        self.sampler, self.step_size = sampler, step_size


class PosteriorSampling(StepNumber):
    """A sampler alone, from x_T = sigma_T z down to 0: a single point of the distortion-perception plane.

    Args:
        sampler: posterior-sampling step.
        steps: number of timesteps in the sampler's grid; None is the sampler's default_steps.
        micro_batch: largest number of images in one network call; None puts no limit.
    """

    level_arguments = ()

    def __init__(self, sampler: Sampler = Dps(), steps: int | None = None, micro_batch: int | None = None) -> None:
        super().__init__([sampler.default_steps if steps is None else steps], None, sampler, micro_batch=micro_batch)
        self.steps = self.levels[0]
