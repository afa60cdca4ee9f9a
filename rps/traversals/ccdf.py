"""CCDF: come closer, diffuse faster (arXiv 2112.05146), in its zero-shot form."""

from __future__ import annotations

from collections.abc import Sequence

from rps.estimators.pseudo_inverse import PseudoInverse
from rps.samplers.base import Sampler
from rps.traversals.map_rps import MapRps


class Ccdf(MapRps):
    """x_t = alpha A^+ y + sigma z at t = t0 - 1, then posterior-sampling steps down to 0: MAP-RPS without its stage 1.

    Args:
        t0: noise levels as counts of timesteps; 0 is A^+ y itself.
        sampler: DPS when None. steps, micro_batch, samples: as in MapRps.
        rcond: of the pseudo-inverse.
    """

    def __init__(
        self,
        t0: Sequence[int] = (100, 300),
        sampler: Sampler | None = None,
        steps: int | None = None,
        micro_batch: int | None = None,
        samples: int = 1,
        rcond: float = 0.1,
    ) -> None:
        super().__init__(t0, PseudoInverse(rcond), sampler, steps, micro_batch, samples)
