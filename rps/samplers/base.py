"""Sampler, the base class: one posterior-sampling step x_t -> x_t'. The loop over time is rps/samplers/chains.py."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor
from typing_extensions import Self

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.schedule import Schedule
from rps.shown import Shown


class Sampler(Shown):
    """One step of a posterior sampler, for a batch whose rows may be at different times.

    Hyper-parameters are constructor arguments, stored as attributes of the same names. A step keeps no state, so it can
    start at any time, in stage 2 of any traversal, and be batched.

    default_steps: number of steps of a chain from t0 = T where none is given: the published one, or 100 where
        that is 1000.
    """

    default_steps: int = 100

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        """x_t -> x_t'.

        x: [N, *sample_shape] at times t. t, t_next: [N] integers, t_next < t, CLEAN at the end.
        measurement: of the same N rows. noise: streams for this step only; draw with noise.normal(x.shape[1:]).
        """
        raise NotImplementedError(f"{type(self).__name__} must define step(...)")

    def check(self, measurement: Measurement, prior: Prior) -> None:
        """Called before anything is computed.  Errors: ValueError if the sampler does not support these."""

    def timesteps(self, schedule: Schedule, t0: int, steps: int | None = None) -> list[int]:
        """The descending timesteps of a chain from noise level t0; evenly spaced unless a method overrides them."""
        return schedule.grid(t0, steps)

    def network_calls(self, steps: int) -> int:
        """Network calls per image of a chain with this many steps down to the clean image.

        Override it if a step needs more than one call.
        """
        return steps

    def replace(self, **settings: Any) -> Self:
        """The same sampler with other hyper-parameters, which its constructor checks.

        Errors: ValueError for a name that is not an argument of the constructor.
        """
        names = inspect.signature(type(self)).parameters
        if unknown := settings.keys() - names.keys():
            known = ", ".join(names) or "none"
            raise ValueError(f"{type(self).__name__} has no setting {min(unknown)!r}; its settings are {known}")
        return type(self)(**{name: getattr(self, name) for name in names} | settings)
