"""The number of steps, DPS-S and MAP-RPS-S, and a sampler alone, as LightningModules."""

from __future__ import annotations

from modules.base import SolverModule
from rps.estimators import Estimator
from rps.noise import Noise
from rps.operators import Operator
from rps.priors import Prior
from rps.samplers import Dps, Sampler
from rps.traversals import PosteriorSampling as PosteriorSamplingTraversal
from rps.traversals import StepNumber as StepNumberTraversal


class StepNumber(SolverModule):
    """Posterior sampling in fewer or more steps: DPS-S, or MAP-RPS-S with an estimator and a t0 (arXiv 2605.28711).

    Args:
        prior: what images look like, e.g. rps.priors.EmbeddedPrior.
        operator: what the instrument does, e.g. rps.operators.SuperResolution.
        noise: standard deviation of the measurement noise, in [-1, 1] image units; or another noise, such as
            rps.noise.Poisson.
        levels: numbers of steps on the whole grid of the prior's timesteps.
        step_size: xi of the sampler for each level; null leaves it as the sampler has it. Published for DPS at 900,
            800, ..., 100 steps: denoise 2 2 3 3 5 6 9 13 19, inpainting 2 3 4 4 6 7 11 19 20,
            sr4 2 3 3 5 6 9 12 16 20, deblur 6 7 7 8 10 9 11 15 18.
        sampler: of the steps.
        t0: where the chains start, as a count of timesteps; null starts them from pure noise.
        estimator: from whose estimate they start, re-noised to t0; null with t0 = null.
        micro_batch: at most so many images in one network call; null is all at once.
        seed: of masks, noise and every other random number; a result is a function of (seed, sample id).
    """

    def __init__(
        self,
        prior: Prior,
        operator: Operator,
        noise: float | Noise,
        levels: list[int] = [900, 700, 500, 300, 100],  # noqa: B006 - read, never changed
        step_size: list[float] | None = None,
        sampler: Sampler = Dps(),  # noqa: B008 - without state; its source is what --print_config shows
        t0: int | None = None,
        estimator: Estimator | None = None,
        micro_batch: int | None = None,
        seed: int = 0,
    ) -> None:
        traversal = StepNumberTraversal(levels, step_size, sampler, t0, estimator, micro_batch)
        super().__init__(prior, operator, noise, traversal, seed)


class PosteriorSampling(SolverModule):
    """A posterior sampler alone, from pure noise down to a clean image: a single point of the plane.

    Args:
        prior: what images look like, e.g. rps.priors.EmbeddedPrior.
        operator: what the instrument does, e.g. rps.operators.SuperResolution.
        noise: standard deviation of the measurement noise, in [-1, 1] image units; or another noise, such as
            rps.noise.Poisson.
        sampler: of the steps.
        steps: of the prior's timesteps; null is the sampler's published number.
        micro_batch: at most so many images in one network call; null is all at once.
        seed: of masks, noise and every other random number; a result is a function of (seed, sample id).
    """

    def __init__(
        self,
        prior: Prior,
        operator: Operator,
        noise: float | Noise,
        *,
        sampler: Sampler = Dps(),  # noqa: B008 - without state; its source is what --print_config shows
        steps: int | None = None,
        micro_batch: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(prior, operator, noise, PosteriorSamplingTraversal(sampler, steps, micro_batch), seed)
