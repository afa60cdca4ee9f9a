"""CCDF: come closer, diffuse faster (arXiv 2112.05146), in its zero-shot form."""

from __future__ import annotations

from collections.abc import Sequence

from rps.estimators.pseudo_inverse import PseudoInverse
from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.traversals.map_rps import MapRps


class Ccdf(MapRps):
    """x_t = alpha A^+ y + sigma z at t = t0 - 1, then posterior-sampling steps down to 0: MAP-RPS without its stage 1.

    Args:
        t0: the level or levels, noise levels counted in timesteps; 0 returns A^+ y itself.
        sampler: posterior-sampling step.
        steps: number of timesteps in the sampler's grid; None uses all T.
        micro_batch: largest number of images in one network call; None puts no limit.
        samples: independent chains per level t0 > 0; the image is their mean.
        rcond: smallest singular value, relative to the largest, that the pseudo-inverse keeps.
    """

    def __init__(
        self,
        t0: int | Sequence[int] = (100, 300),
        sampler: Sampler = Dps(),
        steps: int | None = 50,
        micro_batch: int | None = None,
        samples: int = 1,
        rcond: float = 0.1,
    ) -> None:
        super().__init__(t0, PseudoInverse(rcond), sampler, steps, micro_batch, samples)
        self.rcond = rcond
