"""What a sampler is: one posterior-sampling step x_t -> x_t'. The loop over time lives in rps/traversals."""

from __future__ import annotations

from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams


class Sampler:
    """One step of a posterior sampler, for a batch whose rows may stand at different times.

    Hyper-parameters are constructor arguments; a step keeps no state, so that it can start at any time, in stage 2 of
    any traversal, and be batched. Subclasses say how many network calls a step takes.
    """

    calls_per_step: int = 1

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        """x_t -> x_t'.

        x: [N, *sample_shape] at times t. t, t_next: [N] integers, t_next < t, CLEAN at the end.
        measurement: of the same N rows. noise: streams of this step alone; draw with noise.normal(x.shape[1:]).
        """
        raise NotImplementedError(f"{type(self).__name__} must define step(...)")
