"""Staged, the base of all traversals: an estimate, reverse chains from it or from noise, and levels made of both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rps.chunks import chunks
from rps.cost import Cost
from rps.estimators.base import Estimator
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.priors.counted import CountedPrior
from rps.progress import Progress, silent
from rps.restoration import Level, Restoration
from rps.samplers.base import Sampler
from rps.samplers.chains import Chain, run_chains
from rps.schedule import Schedule
from rps.settings import at_least_one, check_part
from rps.traversals.base import Traversal
from rps.traversals.inputs import check_inputs


@dataclass(frozen=True)
class ChainPlan:
    """One reverse chain per image.

    timesteps: descending; an empty list returns the estimate itself. index: number of the chain among the independent
    chains of an image; chains with equal indices share their noise. sampler: takes the steps; None is the traversal's
    sampler. from_noise: whether the chain starts from x_T = sigma_T z and not from the estimate.
    """

    timesteps: Sequence[int]
    index: int = 0
    sampler: Sampler | None = None
    from_noise: bool = False


class Staged(Traversal):
    """Runs stage 1 once, then all chains of all levels in one batch. Subclasses define the chains (`plan`), the chains
    that each level uses (`chains_of`) and, unless it is their mean, the image made of them (`image`).

    estimator: stage 1; None where all chains start from noise. micro_batch: largest number of images in one network
    call; None puts no limit.
    """

    def __init__(
        self, levels: Sequence[Level], estimator: Estimator | None, sampler: Sampler, micro_batch: int | None = None
    ) -> None:
        if not levels or len(set(levels)) != len(levels):
            raise ValueError(f"{self.knob} must be a non-empty list of different levels, got {list(levels)}")
        at_least_one(micro_batch=micro_batch)
        check_part("sampler", sampler, Sampler, "Dps()")
        if estimator is not None:
            check_part("estimator", estimator, Estimator, "ProximalMap()")
        self.levels = list(levels)
        self.estimator, self.sampler, self.micro_batch = estimator, sampler, micro_batch

    def plan(self, schedule: Schedule) -> list[ChainPlan]:
        """All chains of the run."""
        raise NotImplementedError(f"{type(self).__name__} must define plan(schedule)")

    def chains_of(self, level: Level) -> Sequence[int]:
        """Indices of the chains of the plan that a level uses."""
        raise NotImplementedError(f"{type(self).__name__} must define chains_of(level)")

    def needs_estimate(self, level: Level) -> bool:
        """Whether a level needs stage 1 when it is run alone."""
        return self.estimator is not None

    def shows_estimate(self, level: Level) -> bool:
        """Whether `image` uses the decoded estimate; by default where a level has no chains."""
        return self.estimator is not None and not self.chains_of(level)

    def image(self, level: Level, estimate: Tensor | None, samples: Tensor) -> Tensor:
        """The image of a level.  estimate: [N, C, H, W], None unless a level shows it; samples: [chains, N, C, H, W].
        -> [N, C, H, W]."""
        return samples.mean(0)

    def run(self, measurement: Measurement, prior: Prior, progress: Progress = silent) -> Restoration:
        check_inputs(measurement, prior)
        plan = self.plan(prior.schedule)
        for sampler in {id(s): s for s in (c.sampler or self.sampler for c in plan if c.timesteps)}.values():
            sampler.check(measurement, prior)
        prior = prior.given(measurement)
        counted = CountedPrior(prior, progress)
        n, device = max(len(measurement), 1), measurement.y.device

        start = _now(device)
        counted.meter.phase = f"stage 1: {type(self.estimator).__name__}"
        x1, spread = self._estimate(measurement, counted)
        stage1_cost, measured = counted.cost / n, _now(device) - start
        stage1_seconds = measured + counted.meter.stored_seconds

        counted.meter.phase = f"stage 2: {type(self.sampler).__name__}"
        stage2 = measurement.streams.at("stage2")
        noise = torch.zeros(len(measurement), *prior.sample_shape, dtype=measurement.y.dtype, device=device)
        chains = [
            Chain.renoised(
                noise if x1 is None or chain.from_noise else x1,
                chain.timesteps,
                stage2.at("chain", chain.index) if chain.index else stage2,
                prior.schedule,
                chain.sampler or self.sampler,
            )
            for chain in plan
        ]
        finished, costs = run_chains(chains, measurement, counted, self.micro_batch)
        before = counted.cost
        decoded = [self._decode(x, counted) for x in finished]
        shown = {level: self.shows_estimate(level) for level in self.levels}
        estimate = self._decode(x1, counted) if x1 is not None and any(shown.values()) else None
        decoding = (counted.cost - before) / (n * max(len(decoded) + (estimate is not None), 1))
        stage2_seconds = _now(device) - start - measured

        total = counted.cost / n
        restoration = Restoration(self.knob, self.levels, {}, {}, total, {}, stored_cost=counted.meter.stored / n)
        for level in self.levels:
            used, stage1 = self.chains_of(level), self.needs_estimate(level)
            samples = torch.stack([decoded[k] for k in used]) if used else noise.new_empty(0, *noise.shape)
            restoration.images[level] = self.image(level, estimate, samples)
            if len(used) > 1:
                # Written out, because std() warns of an empty batch.
                deviations = (samples - samples.mean(0)).square().sum(0)
                restoration.spread[level] = (deviations / (len(used) - 1)).sqrt()
                restoration.samples[level] = [decoded[k] for k in used]  # no copies
            elif spread is not None and shown[level] and not prior.latent:
                restoration.spread[level] = spread
            stage2_cost = sum((costs[k] for k in used), decoding * (len(used) + shown[level]))
            restoration.cost[level] = stage2_cost + (stage1_cost if stage1 else Cost())
            # Levels share stage 2; its time is split by their cost, or by their chains where nothing has a cost.
            whole = (total - stage1_cost).forward_equivalents(prior.relative_cost)
            part = stage2_cost.forward_equivalents(prior.relative_cost)
            share = part / whole if whole else len(used) / max(len(plan), 1)
            restoration.seconds[level] = (stage1 * stage1_seconds + stage2_seconds * share) / n
        return restoration

    @property
    def _runs_stage1(self) -> bool:
        return self.estimator is not None and any(map(self.needs_estimate, self.levels))

    def _estimate(self, measurement: Measurement, prior: Prior) -> tuple[Tensor | None, Tensor | None]:
        """The estimate and the spread of its chains; None if there is none."""
        if self.estimator is None or not self._runs_stage1:
            return None, None
        parts = [measurement.rows(rows) for rows in chunks(len(measurement), self.micro_batch)]
        found = [self.estimator.estimate_and_spread(part, prior.given(part)) for part in parts]
        if not found:
            return measurement.y.new_empty(0, *prior.sample_shape), None
        spreads = [spread for _, spread in found if spread is not None]
        return torch.cat([x for x, _ in found]), torch.cat(spreads) if spreads else None

    @torch.no_grad()
    def _decode(self, x: Tensor, prior: Prior) -> Tensor:
        images = [prior.decode(x[rows]) for rows in chunks(len(x), self.micro_batch)]
        return torch.cat(images) if images else x.new_empty(0, *prior.image_shape)

    def network_calls_per_image(self, prior: Prior) -> int:
        stage2 = sum((c.sampler or self.sampler).network_calls(len(c.timesteps)) for c in self.plan(prior.schedule))
        stage1 = self.estimator.network_calls(prior.schedule) if self.estimator and self._runs_stage1 else 0
        return (stage1 + stage2) * prior.evaluations


def _now(device: torch.device) -> float:
    """Seconds on the clock, once the device has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
