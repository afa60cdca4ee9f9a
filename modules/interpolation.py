"""Interpolation between an estimate and a sample as a LightningModule."""

from __future__ import annotations

from modules.base import SolverModule
from rps.estimators import Estimator, MapEstimator
from rps.noise import Noise
from rps.operators import Operator
from rps.priors import Prior
from rps.samplers import Dps, Sampler
from rps.traversals import Interpolation as InterpolationTraversal


class Interpolation(SolverModule):
    """(1 - w) times an estimate of the posterior mean plus w times a posterior sample (arXiv 2107.02555).

    Args:
        prior: what images look like, e.g. rps.priors.EmbeddedPrior.
        operator: what the instrument does, e.g. rps.operators.SuperResolution.
        noise: standard deviation of the measurement noise, in [-1, 1] image units; or another noise, such as
            rps.noise.Poisson.
        levels: weights w of the sample: 0 is the estimate, 1 the sample.
        estimator: of the posterior mean.
        sampler: of the sample.
        t0: the sample's chain starts from the estimate re-noised to t0; null starts it from pure noise.
        steps: a sub-grid of so many of the prior's timesteps; null is all of them.
        micro_batch: at most so many images in one network call; null is all at once.
        seed: of masks, noise and every other random number; a result is a function of (seed, sample id).
    """

    def __init__(
        self,
        prior: Prior,
        operator: Operator,
        noise: float | Noise,
        levels: list[float] = [0.0, 0.25, 0.5, 0.75, 1.0],  # noqa: B006 - read, never changed
        estimator: Estimator = MapEstimator(),  # noqa: B008 - without state; its source is what --print_config shows
        sampler: Sampler = Dps(),  # noqa: B008
        t0: int | None = None,
        steps: int | None = None,
        micro_batch: int | None = None,
        seed: int = 0,
    ) -> None:
        traversal = InterpolationTraversal(levels, estimator, sampler, t0, steps, micro_batch)
        super().__init__(prior, operator, noise, traversal, seed)
