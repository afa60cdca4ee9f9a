"""CountedPrior counts the evaluations of a prior's networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rps.cost import Cost
from rps.measurement import Measurement
from rps.priors.analytic.mixture import Mixture
from rps.priors.base import Denoised, Prior
from rps.progress import Progress, silent


class Meter:
    """Adds up costs, in images, and reports the network calls among them.

    phase: name under which progress is reported. tiles: of each image, whose network calls are reported as one, so that
    their number is known before the size of the image is. stored, stored_seconds: the part of the cost whose results
    were not computed but read from a store, and the time that computing them took.
    """

    def __init__(self, progress: Progress = silent) -> None:
        self.cost, self.phase, self.progress, self.tiles = Cost(), "", progress, 1
        self.stored, self.stored_seconds = Cost(), 0.0

    def add(self, cost: Cost) -> None:
        self.cost += cost
        if cost.network_calls:
            self.progress(self.phase, int(cost.network_calls) // self.tiles)

    def add_stored(self, cost: Cost, seconds: float) -> None:
        """Adds the cost and time of a result that was read from a store, as if it had been computed."""
        self.add(cost)
        self.stored, self.stored_seconds = self.stored + cost, self.stored_seconds + seconds


class CountedPrior(Prior):
    """A prior that adds to a meter, for each image, every evaluation of its networks when it happens.

    A call of the network counts once per evaluation (`Prior.evaluations`), and once more as a backward each time that
    a gradient passes back through it. The decoder of a latent prior likewise; its encoder counts as a decoder. The
    decoder of a pixel prior is the identity and costs nothing. Priors returned by `given` share the meter.
    """

    def __init__(self, prior: Prior, progress: Progress = silent, meter: Meter | None = None) -> None:
        super().__init__()
        self.prior, self.meter = prior, meter or Meter(progress)
        self.schedule, self.sample_shape, self.map_timestep = prior.schedule, prior.sample_shape, prior.map_timestep
        self.latent, self.needs, self.evaluations = prior.latent, prior.needs, prior.evaluations
        self.relative_cost, self.data_std = prior.relative_cost, prior.data_std
        self.any_size, self.tiles = prior.any_size, prior.tiles
        self.meter.tiles = prior.tiles

    @classmethod
    def of(cls, prior: Prior) -> CountedPrior:
        """The prior itself if it counts already."""
        return prior if isinstance(prior, cls) else cls(prior)

    @property
    def cost(self) -> Cost:
        """The sum over all images so far."""
        return self.meter.cost

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.prior.image_shape

    def given(self, measurement: Measurement) -> CountedPrior:
        return CountedPrior(self.prior.given(measurement), meter=self.meter)

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        n = len(x) * self.evaluations
        denoised = self.prior.denoise(x, t)
        self.meter.add(Cost(network_calls=n))
        x0, eps = self._watched(denoised[:2], Cost(network_backwards=n))
        return denoised._replace(x0=x0, eps=eps)

    def encode(self, image: Tensor) -> Tensor:
        return self._decoder(self.prior.encode, image)

    def decode(self, sample: Tensor) -> Tensor:
        return self._decoder(self.prior.decode, sample)

    def posterior(self, measurement: Measurement) -> Mixture:
        return self.prior.posterior(measurement)

    def posterior_at(self, x: Tensor, t: Tensor, measurement: Measurement) -> Mixture:
        return self.prior.posterior_at(x, t, measurement)

    def _decoder(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if not self.latent:
            return function(x)
        (result,) = self._watched([function(x)], Cost(decoder_backwards=len(x) * self.tiles))
        self.meter.add(Cost(decoder_calls=len(x) * self.tiles))
        return result

    def _watched(self, results: Sequence[Tensor], cost: Cost) -> list[Tensor]:
        """The results of one evaluation, which add `cost` to the meter whenever a gradient passes back through them."""
        differentiable = [x for x in results if x.requires_grad]
        if not differentiable or not torch.is_grad_enabled():
            return list(results)
        watched = iter(_Watched.apply(lambda: self.meter.add(cost), *differentiable))
        return [next(watched) if x.requires_grad else x for x in results]


class _Watched(torch.autograd.Function):
    """The identity, whose backward calls a function. It stands behind a network, not before it, so that autograd adds
    up gradients in the same order, and to the same bits, as without it."""

    @staticmethod
    def forward(called: Callable[[], None], *x: Tensor) -> tuple[Tensor, ...]:
        return tuple(each.detach() for each in x)  # not views, which could not be modified in place

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.called = inputs[0]
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.called()
        return None, *gradients
