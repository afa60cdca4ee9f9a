"""The network calls of a run, recorded and repeated with the bare networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Call:
    """One call of a network.

    part: "UNet", "encoder" or "decoder". network: the function that was called. shape, dtype: of its first argument.
    rest: its other arguments. graph: whether it kept a graph for a backward pass. backwards: number of those since.
    """

    part: str
    network: Callable[..., Any]
    shape: torch.Size
    dtype: torch.dtype
    rest: tuple[Any, dict[str, Any]]
    graph: bool = False
    backwards: int = 0

    def repeat(self, noise: Tensor) -> None:
        """The same call on noise, followed by as many vector-Jacobian products.  noise: at least as many numbers."""
        args, keywords = self.rest
        with torch.set_grad_enabled(self.graph):
            x = noise[: self.shape.numel()].view(self.shape).to(self.dtype).requires_grad_(self.graph)
            output = tensor_of(self.network(x, *args, **keywords))
            for k in range(self.backwards):
                torch.autograd.grad(output, x, torch.ones_like(output), retain_graph=k + 1 < self.backwards)


def tensor_of(output: Any) -> Tensor:
    """The tensor in what a UNet, an encoder or a decoder of diffusers returns."""
    if hasattr(output, "latent_dist"):
        return output.latent_dist.parameters
    return output.latents if hasattr(output, "latents") else output.sample


@contextmanager
def recorded(prior: Any) -> Iterator[list[Call]]:
    """The list of the network calls of a DiffusersPrior that are made inside the block."""
    calls: list[Call] = []
    autoencoder = getattr(prior, "vae", None)
    places = [("UNet", prior.unet, "forward"), ("encoder", autoencoder, "encode"), ("decoder", autoencoder, "decode")]
    places = [place for place in places if place[1] is not None]

    def recording(part: str, network: Callable[..., Any]) -> Callable[..., Any]:
        def call(x: Tensor, *args: Any, **keywords: Any) -> Any:
            output = network(x, *args, **keywords)
            made, tensor = Call(part, network, x.shape, x.dtype, (args, keywords)), tensor_of(output)
            calls.append(made)
            if tensor.requires_grad:
                made.graph = True

                def count(gradient: Tensor) -> None:
                    made.backwards += 1

                tensor.register_hook(count)
            return output

        return call

    for part, network, name in places:
        setattr(network, name, recording(part, getattr(network, name)))
    try:
        yield calls
    finally:
        for _, network, name in places:
            delattr(network, name)


def images(calls: list[Call]) -> tuple[int, int]:
    """(images through a network forwards, and backwards)."""
    return sum(call.shape[0] for call in calls), sum(call.shape[0] * call.backwards for call in calls)
