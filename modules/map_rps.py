"""MAP-RPS as a LightningModule."""

from __future__ import annotations

from modules.base import SolverModule
from rps.estimators import Estimator, MapEstimator
from rps.noise import Noise
from rps.operators import Operator
from rps.priors import Prior
from rps.samplers import Dps, Sampler
from rps.traversals import MapRps as MapRpsTraversal


class MapRps(SolverModule):
    """MAP-RPS (arXiv 2605.28711): the MAP estimate, re-noised to t0 and sampled from there.

    Args:
        prior: what images look like, e.g. rps.priors.EmbeddedPrior.
        operator: what the instrument does, e.g. rps.operators.SuperResolution.
        noise: standard deviation of the measurement noise, in [-1, 1] image units; or another noise, such as
            rps.noise.Poisson.
        t0: the levels, as counts of timesteps: 0 is the MAP point (least distortion), more buys realism.
        estimator: of stage 1.
        sampler: of stage 2.
        steps: a sub-grid of so many of the prior's timesteps for stage 2; null is all of them.
        micro_batch: at most so many images in one network call; null is all at once.
        samples: chains per image and level; several give their mean and its pixel-wise standard deviation.
        seed: of masks, noise and every other random number; a result is a function of (seed, sample id).
    """

    def __init__(
        self,
        prior: Prior,
        operator: Operator,
        noise: float | Noise,
        t0: list[int] = [0, 100, 300],  # noqa: B006 - read, never changed
        estimator: Estimator = MapEstimator(),  # noqa: B008 - without state; its source is what --print_config shows
        sampler: Sampler = Dps(),  # noqa: B008
        steps: int | None = None,
        micro_batch: int | None = None,
        samples: int = 1,
        seed: int = 0,
    ) -> None:
        traversal = MapRpsTraversal(t0, estimator, sampler, steps, micro_batch, samples)
        super().__init__(prior, operator, noise, traversal, seed)
