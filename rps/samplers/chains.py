"""The one loop over time: many reverse chains, of different starts and grids, in one running batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rps.chunks import chunks
from rps.measurement import Measurement
from rps.priors.counted import CountedPrior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.schedule import CLEAN, Schedule


@dataclass(frozen=True)
class Chain:
    """One reverse chain for each image of a batch.

    x: [N, *sample_shape] at the first of `timesteps`, which descend; after the last comes CLEAN.
    streams: N rows; the noise of a step is a function of the stream and of the timestep.
    settings: hyper-parameters of the sampler that are this chain's own, e.g. {"step_size": 2.0}.
    """

    x: Tensor
    timesteps: Sequence[int]
    streams: Streams
    settings: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def renoised(
        cls,
        x0: Tensor,
        timesteps: Sequence[int],
        streams: Streams,
        schedule: Schedule,
        settings: Mapping[str, float] | None = None,
    ) -> Chain:
        """A chain that starts from x_t = alpha x_0 + sigma z at the first timestep; x_0 itself if there is none."""
        settings = settings or {}
        if not timesteps:
            return cls(x0, timesteps, streams, settings)
        t = torch.full((len(x0),), timesteps[0], dtype=torch.int64, device=x0.device)
        z = streams.at("renoise").normal(x0.shape[1:]).to(x0.dtype)
        return cls(schedule.add_noise(x0, z, t), timesteps, streams, settings)


@torch.no_grad()
def run_chains(
    chains: Sequence[Chain],
    measurement: Measurement,
    sampler: Sampler,
    prior: CountedPrior,
    micro_batch: int | None = None,
) -> tuple[list[Tensor], list[int]]:
    """Runs all chains down to t = 0 together.

    The longest starts alone and shorter ones join so that all end at once: each iteration is one step of every chain
    that has begun, in network calls of at most `micro_batch` images. A row never sees the rows beside it.

    measurement: of the N images, shared by all chains. sampler: likewise, but for what the chains' settings replace
    (all chains have the same ones, each with its own numbers).
    Returns, in the order of `chains`, the final samples [N, *sample_shape] and the network calls per image.
    """
    if not chains:
        return [], []
    order = sorted(range(len(chains)), key=lambda k: -len(chains[k].timesteps))
    longest = len(chains[order[0]].timesteps)
    n, device = len(measurement), measurement.y.device
    wide = measurement.rows(torch.arange(n, device=device).repeat(len(chains)))
    streams = Streams.cat([chains[k].streams for k in order])
    # Right-aligned grids, [longest + 1, chains * N]; the places before a chain begins are never read.
    times = torch.full((longest + 1, len(chains)), CLEAN, dtype=torch.int64)
    for column, k in enumerate(order):
        steps = chains[k].timesteps
        times[longest - len(steps) : longest, column] = torch.tensor(list(steps), dtype=torch.int64)
    times = times.to(device).repeat_interleave(n, dim=1)
    settings = {
        name: torch.tensor([chains[k].settings[name] for k in order], device=device).repeat_interleave(n)
        for name in chains[0].settings
    }

    calls = [0] * len(chains)
    x = chains[0].x[:0]
    for iteration in range(longest):
        x = torch.cat([x, *(chains[k].x for k in order if len(chains[k].timesteps) == longest - iteration)])
        advanced, before = [], prior.calls
        for rows in chunks(len(x), micro_batch):
            t, t_next = times[iteration, rows], times[iteration + 1, rows]
            own = sampler.with_settings(**{name: values[rows] for name, values in settings.items()})
            part = wide.rows(rows)
            advanced.append(own.step(x[rows], t, t_next, part, prior.given(part), streams[rows].at_step(t)))
        x = torch.cat(advanced) if advanced else x
        for k in order:
            if len(chains[k].timesteps) >= longest - iteration:
                calls[k] += (prior.calls - before) // max(len(x), 1)
    finished = {k: x[i * n : (i + 1) * n] for i, k in enumerate(order) if len(chains[k].timesteps) > 0}
    return [finished.get(k, chain.x) for k, chain in enumerate(chains)], calls
