"""CCDF as a LightningModule."""

from __future__ import annotations

from modules.base import SolverModule
from rps.noise import Noise
from rps.operators import Operator
from rps.priors import Prior
from rps.samplers import Dps, Sampler
from rps.traversals import Ccdf as CcdfTraversal


class Ccdf(SolverModule):
    """CCDF (arXiv 2112.05146), zero-shot: the pseudo-inverse A^+ y, re-noised to t0 and sampled from there.

    Args:
        prior: what images look like, e.g. rps.priors.EmbeddedPrior.
        operator: what the instrument does, e.g. rps.operators.SuperResolution.
        noise: standard deviation of the measurement noise, in [-1, 1] image units; or another noise, such as
            rps.noise.Poisson.
        t0: the levels, as counts of timesteps.
        sampler: of the steps.
        steps: a sub-grid of so many of the prior's timesteps; null is all of them.
        rcond: singular values below this fraction of the largest are left out of A^+.
        samples: chains per image; several give their mean and its pixel-wise standard deviation.
        micro_batch: at most so many images in one network call; null is all at once.
        seed: of masks, noise and every other random number; a result is a function of (seed, sample id).
    """

    def __init__(
        self,
        prior: Prior,
        operator: Operator,
        noise: float | Noise,
        t0: list[int] = [100, 300],  # noqa: B006 - read, never changed
        sampler: Sampler = Dps(),  # noqa: B008 - without state; its source is what --print_config shows
        steps: int | None = None,
        rcond: float = 0.1,
        samples: int = 1,
        micro_batch: int | None = None,
        seed: int = 0,
    ) -> None:
        traversal = CcdfTraversal(t0, sampler, steps, micro_batch, samples, rcond)
        super().__init__(prior, operator, noise, traversal, seed)
