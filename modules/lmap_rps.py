"""LMAP-RPS as a LightningModule."""

from __future__ import annotations

from modules.map_rps import MapRps
from rps.estimators import Estimator, MapEstimator
from rps.noise import Noise
from rps.operators import Operator
from rps.priors import Prior
from rps.samplers import LatentDps, Sampler


class LmapRps(MapRps):
    """LMAP-RPS (arXiv 2605.28711): the MAP estimate in the latent space of an autoencoder, re-noised to t0 and sampled
    from there. MapRps with other defaults.

    Args:
        prior: what images look like, e.g. rps.priors.LatentPrior.from_pretrained.
        operator: what the instrument does to the decoded image, e.g. rps.operators.SuperResolution.
        noise: standard deviation of the measurement noise, in [-1, 1] image units; or another noise, such as
            rps.noise.Poisson.
        t0: the levels, as counts of timesteps: 0 is the decoded MAP point (least distortion), more buys realism.
        estimator: of stage 1. Published for FFHQ with t1 = 50, prior_term = published: denoise num_steps 70, lr .5,
            w .6; inpainting 120, .5, .3; super-resolution 60, .5, .25; deblurring 100, .1, .001.
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
        t0: list[int] = [0, 200, 400, 600, 800],  # noqa: B006 - read, never changed
        estimator: Estimator = MapEstimator(lr=0.5, t1=50),  # noqa: B008 - without state; its source is what is shown
        sampler: Sampler = LatentDps(),  # noqa: B008
        steps: int | None = None,
        micro_batch: int | None = None,
        samples: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(prior, operator, noise, t0, estimator, sampler, steps, micro_batch, samples, seed)
