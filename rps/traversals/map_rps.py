"""MAP-RPS: the MAP estimate, re-noised to t0 and sampled from there (arXiv 2605.28711)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rps.estimators.base import Estimator
from rps.estimators.proximal_map import ProximalMap
from rps.restoration import Level
from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.samplers.latent import LatentDps
from rps.schedule import Schedule
from rps.settings import at_least_one
from rps.traversals.inputs import whole_levels
from rps.traversals.staged import ChainPlan, Staged


class MapRps(Staged):
    """Stage 1: x_1 = estimate of x from y. Stage 2, for each t0 > 0: x_t = alpha x_1 + sigma z at t = t0 - 1, then
    posterior-sampling steps down to 0. t0 = 0 is x_1 itself, t0 = T is posterior sampling.

    All levels share stage 1 and run in one batch, so the network calls per image are those of the estimator plus the
    sum of the levels' own steps. Levels share the noise z of an image, so the image changes gradually with t0.

    Args:
        t0: the level or levels, noise levels counted in timesteps, in any order, without repeats; 0 returns x_1 itself.
        estimator: stage 1, which gives x_1.
        sampler: posterior-sampling step of stage 2.
        steps: number of timesteps in the grid of stage 2; None uses all T.
        micro_batch: largest number of images in one network call; None puts no limit.
        samples: independent chains per level t0 > 0; the image is their mean. With several chains,
            `Restoration.spread` is their pixel-wise standard deviation.
    """

    level_arguments = ("t0",)
    knob = "t0"

    def __init__(
        self,
        t0: int | Sequence[int] = (0, 100, 300),
        estimator: Estimator = ProximalMap(),
        sampler: Sampler = Dps(),
        steps: int | None = 50,
        micro_batch: int | None = None,
        samples: int = 1,
    ) -> None:
        super().__init__(whole_levels("t0", t0), estimator, sampler, micro_batch)
        at_least_one(samples=samples, steps=steps)
        self.steps, self.samples = steps, samples

    @property
    def t0(self) -> Sequence[Level]:
        """The levels."""
        return self.levels

    @property
    def _chains(self) -> list[tuple[int, int]]:
        sampled = [level for level in self.levels if level != 0]
        return [(int(level), index) for level in sampled for index in range(self.samples)]

    def plan(self, schedule: Schedule) -> list[ChainPlan]:
        return [ChainPlan(self.sampler.timesteps(schedule, t0, self.steps), index) for t0, index in self._chains]

    def chains_of(self, level: Level) -> Sequence[int]:
        return [k for k, (t0, _) in enumerate(self._chains) if t0 == level]

    def image(self, level: Level, estimate: Tensor | None, samples: Tensor) -> Tensor:
        return samples.mean(0) if level != 0 or estimate is None else estimate


class LmapRps(MapRps):
    """MAP-RPS in the latent space of a latent model, with latent DPS in stage 2.

    Args:
        t0: the level or levels, noise levels counted in timesteps, in any order, without repeats; 0 returns the decoded
            x_1.
        estimator: stage 1, which gives x_1. Published for FFHQ: MapEstimator with t1 = 50, prior_term = published, and
            for denoising num_steps 70, lr .5, w .6; inpainting 120, .5, .3; super-resolution 60, .5, .25;
            deblurring 100, .1, .001 (configs/method/ldm).
        sampler: posterior-sampling step of stage 2.
        steps: number of timesteps in the grid of stage 2; None uses all T.
        micro_batch: largest number of images in one network call; None puts no limit.
        samples: independent chains per level t0 > 0; the image is their mean.
    """

    def __init__(
        self,
        t0: int | Sequence[int] = (0, 100, 300),
        estimator: Estimator = ProximalMap(11, start=2.0),
        sampler: Sampler = LatentDps(),
        steps: int | None = 100,
        micro_batch: int | None = None,
        samples: int = 1,
    ) -> None:
        super().__init__(t0, estimator, sampler, steps, micro_batch, samples)
