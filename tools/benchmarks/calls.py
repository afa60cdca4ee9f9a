"""The network calls of a run, recorded and repeated with the bare networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rps.priors import Prior


@dataclass
class Call:
    """One call of a network.

    network: the UNet's forward, or encode or decode of the autoencoder. shape, dtype: of its first argument. rest: its
    other arguments. graph: whether it kept a graph for a backward pass. backwards: number of backward passes since.
    """

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
def recorded(prior: Prior) -> Iterator[list[Call]]:
    """The list of the network calls of a prior that are made inside the block."""
    calls: list[Call] = []
    places = [(network, name) for part, names in (("unet", ["forward"]), ("vae", ["encode", "decode"]))
              if (network := getattr(prior, part, None)) for name in names]  # fmt: skip

    def recording(network: Callable[..., Any]) -> Callable[..., Any]:
        def call(x: Tensor, *args: Any, **keywords: Any) -> Any:
            output = network(x, *args, **keywords)
            made, tensor = Call(network, x.shape, x.dtype, (args, keywords)), tensor_of(output)
            calls.append(made)
            if tensor.requires_grad:
                made.graph = True

                def count(gradient: Tensor) -> None:
                    made.backwards += 1

                tensor.register_hook(count)
            return output

        return call

    for network, name in places:
        setattr(network, name, recording(getattr(network, name)))
    try:
        yield calls
    finally:
        for network, name in places:
            delattr(network, name)
