"""MAP-RPS: the MAP estimate, re-noised to t0 and sampled from there (arXiv 2605.28711)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from rps.chunks import chunks
from rps.estimators.base import Estimator
from rps.estimators.map import MapEstimator
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.priors.counted import CountedPrior
from rps.progress import Progress, silent
from rps.restoration import Restoration
from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.traversals.base import Traversal
from rps.traversals.chains import Chain, run_chains


class MapRps(Traversal):
    """Stage 1: x_1 = estimate of x from y. Stage 2, for each t0 > 0: x_t = alpha x_1 + sigma z at t = t0 - 1, then
    posterior-sampling steps down to 0. t0 = 0 is x_1 itself, t0 = T is posterior sampling.

    All levels share stage 1 and one running batch, so the network calls per image are those of the estimator plus the
    sum of the levels' own steps. Levels share the noise z of an image, so that turning t0 changes it gradually.

    Args:
        t0: noise levels as counts of timesteps, in any order, without repeats.
        estimator: of stage 1. sampler: of stage 2.
        steps: a sub-grid of so many of the T timesteps for stage 2; None is all of them.
        micro_batch: at most so many images in one network call; None is all at once.
    """

    knob = "t0"

    def __init__(
        self,
        t0: Sequence[int] = (0, 100, 300),
        estimator: Estimator | None = None,
        sampler: Sampler | None = None,
        steps: int | None = None,
        micro_batch: int | None = None,
    ) -> None:
        self.levels: list[int] = [int(level) for level in t0]
        if not self.levels or len(set(self.levels)) != len(self.levels):
            raise ValueError(f"t0 must be a list of different levels, got {list(t0)}")
        if micro_batch is not None and micro_batch < 1:
            raise ValueError(f"micro_batch must be at least 1, got {micro_batch}")
        self.estimator = estimator or MapEstimator()
        self.sampler = sampler or Dps()
        self.steps = steps
        self.micro_batch = micro_batch

    def run(self, measurement: Measurement, prior: Prior, progress: Progress = silent) -> Restoration:
        grids = {level: prior.schedule.grid(level, self.steps) for level in self.levels}
        counted = CountedPrior(prior, progress)
        n, device = max(len(measurement), 1), measurement.y.device

        start = _now(device)
        counted.phase = f"stage 1: {type(self.estimator).__name__}"
        x1 = self._estimate(measurement, counted)
        stage1_calls, stage1_seconds = counted.calls // n, _now(device) - start

        counted.phase = f"stage 2: {type(self.sampler).__name__}"
        streams = measurement.streams.at("stage2")
        chains = [Chain.renoised(x1, grids[level], streams, prior.schedule) for level in self.levels]
        samples, calls = run_chains(chains, measurement, self.sampler, counted, self.micro_batch)
        with torch.no_grad():
            images = {level: prior.decode(x) for level, x in zip(self.levels, samples, strict=True)}
        stage2_seconds = _now(device) - start - stage1_seconds

        def per_image(count: int) -> Tensor:
            return torch.full((len(measurement),), count, dtype=torch.int64)

        # Stage 2 is shared by the levels; its time is split by their steps, which network calls are a multiple of.
        total_steps = max(sum(len(grid) for grid in grids.values()), 1)
        seconds = {k: (stage1_seconds + stage2_seconds * len(grids[k]) / total_steps) / n for k in self.levels}
        return Restoration(
            knob=self.knob,
            levels=self.levels,
            images=images,
            network_calls={k: per_image(stage1_calls + c) for k, c in zip(self.levels, calls, strict=True)},
            total_network_calls=per_image(counted.calls // n),
            seconds=seconds,
        )

    def _estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        parts = [measurement.rows(rows) for rows in chunks(len(measurement), self.micro_batch)]
        estimates = [self.estimator.estimate(part, prior) for part in parts]
        return torch.cat(estimates) if estimates else measurement.y.new_empty(0, *prior.sample_shape)

    def network_calls_per_image(self, prior: Prior) -> int:
        steps = sum(len(prior.schedule.grid(level, self.steps)) for level in self.levels)
        return self.estimator.network_calls + self.sampler.calls_per_step * steps


def _now(device: torch.device) -> float:
    """Seconds on the clock, once the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
