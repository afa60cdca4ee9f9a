"""VSDPS: DPS with its noise scaled down (arXiv 2503.20297)."""

from __future__ import annotations

from collections.abc import Sequence

from rps.samplers.vsdps import VsDps
from rps.traversals.inputs import level_numbers
from rps.traversals.per_level import PerLevel, one_per_level


class VarianceScaling(PerLevel):
    """DPS from x_T = sigma_T z down to 0 with its noise scaled by lambda: 1 is DPS, 0 tends to the posterior mean.

    All levels run in one batch and share their noise.

    Args:
        levels: values of lambda, in [0, 1].
        step_size: step size xi of DPS, one for all levels or one per level; None is derived, see rps.samplers.Dps.
            Published for levels 1, .8, .5, .3, 0: denoise 1 8 4 8 6, inpainting 1 1.15 6 8 9, sr4 1 3 8 10 9, deblur 2
            6 12 14 17.
        clip: whether the denoised image is clipped to [-1, 1]; None clips images and not latents.
        blend: whether x_t is blended with its re-noised estimate, see rps.samplers.VsDps; True in the published runs.
        steps: number of timesteps in the grid; None uses all T.
        micro_batch: largest number of images in one network call; None puts no limit.
        legacy: whether to reproduce the errors of the published code, see rps.samplers.Dps.
    """

    level_arguments = ("levels", "step_size")
    knob = "lambda"

    def __init__(
        self,
        levels: float | Sequence[float] = (1.0, 0.8, 0.5, 0.3, 0.0),
        step_size: float | Sequence[float] | None = None,
        clip: bool | None = None,
        blend: bool = False,
        steps: int | None = 50,
        micro_batch: int | None = None,
        legacy: bool = False,
    ) -> None:
        scales = [float(level) for level in level_numbers("levels", levels)]
        if not all(0 <= scale <= 1 for scale in scales):
            raise ValueError(f"lambda must be between 0 and 1, got {scales}")
        sizes = [None] * len(scales) if step_size is None else one_per_level(step_size, scales, "step_size")
        samplers = [VsDps(scale, size, clip, blend, legacy) for scale, size in zip(scales, sizes, strict=True)]
        super().__init__(scales, samplers, [steps] * len(samplers), micro_batch=micro_batch)
        self.step_size, self.clip, self.blend, self.steps, self.legacy = step_size, clip, blend, steps, legacy
