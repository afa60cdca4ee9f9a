"""The only loop over time: runs many reverse chains, with different samplers, starts and grids, in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rps.chunks import chunks
from rps.cost import Cost
from rps.measurement import Measurement
from rps.priors.counted import CountedPrior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.schedule import CLEAN, Schedule


@dataclass(frozen=True)
class Chain:
    """One reverse chain per image of a batch.

    x: [N, *sample_shape] at the first of `timesteps`, which descend; the last step goes to CLEAN.
    streams: N rows; the noise of a step is a function of the stream and of the timestep.
    sampler: the sampler that takes the steps.
    """

    x: Tensor
    timesteps: Sequence[int]
    streams: Streams
    sampler: Sampler

    @classmethod
    def renoised(
        cls, x0: Tensor, timesteps: Sequence[int], streams: Streams, schedule: Schedule, sampler: Sampler
    ) -> Chain:
        """A chain that starts from x_t = alpha x_0 + sigma z at the first timestep, or is x_0 if there is none."""
        if not timesteps:
            return cls(x0, timesteps, streams, sampler)
        t = torch.full((len(x0),), timesteps[0], dtype=torch.int64, device=x0.device)
        z = streams.at("renoise").normal(x0.shape[1:]).to(x0.dtype)
        return cls(schedule.add_noise(x0, z, t), timesteps, streams, sampler)


@torch.no_grad()
def run_chains(
    chains: Sequence[Chain], measurement: Measurement, prior: CountedPrior, micro_batch: int | None = None
) -> tuple[list[Tensor], list[Cost]]:
    """Runs all chains down to t = 0 together.

    The longest chain starts alone and shorter ones join so that all end at once. Each iteration takes one step of every
    chain that has started; chains of one sampler share network calls of at most `micro_batch` images. A row does not
    depend on the other rows.

    measurement: of the N images, shared by all chains.
    Returns, in the order of `chains`, the final samples [N, *sample_shape] and the cost per image. Chains that share a
    step share its cost equally.
    """
    if not len(measurement):
        return [chain.x for chain in chains], [Cost()] * len(chains)
    longest = max((len(chain.timesteps) for chain in chains), default=0)
    groups: dict[int, list[int]] = {}
    for k in sorted(range(len(chains)), key=lambda k: -len(chains[k].timesteps)):
        groups.setdefault(id(chains[k].sampler), []).append(k)
    n, device = len(measurement), measurement.y.device
    rows_of = torch.arange(n, device=device)
    wide = {key: measurement.rows(rows_of.repeat(len(group))) for key, group in groups.items()}
    streams = {key: Streams.cat([chains[k].streams for k in group]) for key, group in groups.items()}
    samples, costs = [chain.x for chain in chains], [Cost()] * len(chains)
    for left in range(longest, 0, -1):
        for key, group in groups.items():
            started = [k for k in group if len(chains[k].timesteps) >= left]  # a prefix of the group
            if not started:
                continue
            x, before = torch.cat([samples[k] for k in started]), prior.cost
            steps = [[*chains[k].timesteps, CLEAN][-left - 1 :][:2] for k in started]
            t, t_next = torch.tensor(steps, device=device).T.repeat_interleave(n, dim=1)
            moved = []
            for rows in chunks(len(x), micro_batch):
                part, noise = wide[key].rows(rows), streams[key][rows].at_step(t[rows])
                sampler = chains[started[0]].sampler
                after = sampler.step(x[rows], t[rows], t_next[rows], part, prior.given(part), noise)
                found = tuple(after.shape) if isinstance(after, Tensor) else type(after).__name__
                if found != (given := tuple(x[rows].shape)):
                    name = type(sampler).__name__
                    raise ValueError(f"{name}.step of samples {given} must return samples of that shape, got {found}")
                moved.append(after)
            for k, advanced in zip(started, torch.cat(moved).split(n), strict=True):
                samples[k] = advanced
                costs[k] += (prior.cost - before) / len(x)
    return samples, costs
