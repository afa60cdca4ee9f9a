"""Sample averaging, DPS-A and MAP-RPS-A, as a LightningModule."""

from __future__ import annotations

from modules.base import SolverModule
from rps.estimators import Estimator
from rps.noise import Noise
from rps.operators import Operator
from rps.priors import Prior
from rps.samplers import Dps, Sampler
from rps.traversals import SampleAverage as SampleAverageTraversal


class SampleAverage(SolverModule):
    """The mean of M independent posterior samples: DPS-A, or MAP-RPS-A with an estimator and a t0 (arXiv 2605.28711).

    Args:
        prior: what images look like, e.g. rps.priors.EmbeddedPrior.
        operator: what the instrument does, e.g. rps.operators.SuperResolution.
        noise: standard deviation of the measurement noise, in [-1, 1] image units; or another noise, such as
            rps.noise.Poisson.
        levels: values of M; the largest of them is the number of chains that are run.
        sampler: of the steps.
        t0: where the chains start, as a count of timesteps; null starts them from pure noise.
        estimator: from whose estimate they start, re-noised to t0; null with t0 = null.
        steps: a sub-grid of so many of the prior's timesteps; null is all of them.
        micro_batch: at most so many images in one network call; null is all at once.
        seed: of masks, noise and every other random number; a result is a function of (seed, sample id).
    """

    def __init__(
        self,
        prior: Prior,
        operator: Operator,
        noise: float | Noise,
        levels: list[int] = [1, 2, 4, 8, 16, 32],  # noqa: B006 - read, never changed
        sampler: Sampler = Dps(),  # noqa: B008 - without state; its source is what --print_config shows
        t0: int | None = None,
        estimator: Estimator | None = None,
        steps: int | None = None,
        micro_batch: int | None = None,
        seed: int = 0,
    ) -> None:
        traversal = SampleAverageTraversal(levels, sampler, t0, estimator, steps, micro_batch)
        super().__init__(prior, operator, noise, traversal, seed)
