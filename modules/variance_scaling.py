"""VSDPS as a LightningModule."""

from __future__ import annotations

from modules.base import SolverModule
from rps.noise import Noise
from rps.operators import Operator
from rps.priors import Prior
from rps.traversals import VarianceScaling as VarianceScalingTraversal


class VarianceScaling(SolverModule):
    """VSDPS (arXiv 2503.20297): DPS from pure noise whose own noise is scaled by lambda.

    Args:
        prior: what images look like, e.g. rps.priors.EmbeddedPrior.
        operator: what the instrument does, e.g. rps.operators.SuperResolution.
        noise: standard deviation of the measurement noise, in [-1, 1] image units; or another noise, such as
            rps.noise.Poisson.
        levels: values of lambda in [0, 1]: 1 is DPS, 0 tends to the posterior mean.
        step_size: xi for each level; published for levels 1, .8, .5, .3, 0: denoise
            1 8 4 8 6, inpainting 1 1.15 6 8 9, sr4 1 3 8 10 9, deblur 2 6 12 14 17.
        clip: clip the denoised image to [-1, 1] in the update; null clips images and never latents.
        blend: as in the published runs, x_t is blended with its own re-noised estimate before each step.
        steps: a sub-grid of so many of the prior's timesteps; null is all of them.
        micro_batch: at most so many images in one network call; null is all at once.
        legacy: as the runs of arXiv 2605.28711 had it, see rps.samplers.Dps.
        seed: of masks, noise and every other random number; a result is a function of (seed, sample id).
    """

    def __init__(
        self,
        prior: Prior,
        operator: Operator,
        noise: float | Noise,
        levels: list[float] = [1.0, 0.8, 0.5, 0.3, 0.0],  # noqa: B006 - read, never changed
        step_size: list[float] = [1.0, 3.0, 8.0, 10.0, 9.0],  # noqa: B006
        clip: bool | None = None,
        blend: bool = False,
        steps: int | None = None,
        micro_batch: int | None = None,
        legacy: bool = False,
        seed: int = 0,
    ) -> None:
        traversal = VarianceScalingTraversal(levels, step_size, clip, blend, steps, micro_batch, legacy)
        super().__init__(prior, operator, noise, traversal, seed)
