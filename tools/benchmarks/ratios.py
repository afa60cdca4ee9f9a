"""Measure the relative costs of a prior (rps.cost.RelativeCost): network and decoder, each forward under no_grad, and
forward and vector-Jacobian product with respect to the input. The four alternate; a line has their medians.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor

from benchmarks.cases import CASES, seconds
from rps.cost import RelativeCost
from rps.priors import Prior


def relative_cost(prior: Prior, batch: int, repeats: int, device: str) -> RelativeCost:
    """The relative costs of a prior for batches of this size."""
    x, t = torch.randn(batch, *prior.sample_shape, device=device), torch.full((batch,), 100, device=device)

    def job(function: Callable[[Tensor], Tensor], differentiated: bool) -> None:
        with torch.set_grad_enabled(differentiated):
            row = x.clone().requires_grad_(differentiated)
            output = function(row)
            if differentiated:
                torch.autograd.grad(output, row, grad_outputs=torch.ones_like(output))

    functions = [lambda x: prior.denoise(x, t).x0, prior.decode]
    kinds = [(function, differentiated) for function in functions for differentiated in (False, True)]
    for kind in kinds:
        job(*kind)  # a warm-up
    took = [[seconds(lambda kind=kind: job(*kind), device) for kind in kinds] for _ in range(repeats)]
    forward, both, decode, both_of_decoder = (statistics.median(times) for times in zip(*took, strict=True))
    one = forward / prior.evaluations
    decoder = (decode / one, (both_of_decoder - decode) / one) if prior.latent else (0.0, 0.0)
    return RelativeCost((both - forward) / forward, *decoder)


def ratios(cases: list[str], batch_sizes: list[int], repeats: int, device: str, dtype: str) -> None:
    for case in cases:
        prior = CASES[case](dtype).to(device)
        for batch in batch_sizes:
            found = relative_cost(prior, batch, repeats, device)
            rounded = {name: round(value, 2) for name, value in asdict(found).items()}
            print(f"{case}, batch of {batch}: --model.relative_cost '{json.dumps(rounded)}'", flush=True)
