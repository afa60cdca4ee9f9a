"""DOT-DMax: the estimate, transported in latents to the statistics of clean images (arXiv 2306.02342)."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

import torch

from rps.chunks import chunks
from rps.estimators.base import Estimator
from rps.estimators.proximal_map import ProximalMap
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.priors.counted import CountedPrior
from rps.progress import Progress, silent
from rps.restoration import Level, Restoration
from rps.samplers.base import Sampler
from rps.schedule import Schedule
from rps.traversals.inputs import level_numbers
from rps.traversals.latent_map import LatentMap
from rps.traversals.staged import ChainPlan, Staged


class LatentTransport(Staged):
    """x_w = D((1 - w) z + w T(z)), z = E(x_1) the latents of the estimate x_1, T the optimal transport of restored to
    clean latents, both taken for Gaussians of patches (LatentMap). w = 0 is x_1 itself, without E and D, so a step from
    0 to the next level includes the loss of the autoencoder.

    No network call for a level: one encoding for all and one decoding for each. The map is fitted beforehand, on
    restorations of other images by the same estimator (tools/fit_transport.py); images that it was fitted on are
    refused, by their ids.

    Args:
        transport: the map: a file of tools/fit_transport.py, or "embedded/TASK" for one that ships with the package.
        levels: weights w, in [0, 1]; 1 is the transported estimate.
        estimator: estimator that gives x_1, the one that the map was fitted with.
        autoencoder: latent prior whose encoder and decoder are E and D; None is the run's own prior.
        micro_batch: largest number of images in one network call; None puts no limit.
    """

    level_arguments = ("levels",)
    knob = "transport"  # not the weight of Interpolation: figures are not smooth at 0

    def __init__(
        self,
        transport: str | LatentMap,
        levels: float | Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
        estimator: Estimator = ProximalMap(),
        autoencoder: Prior | None = None,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__([float(w) for w in level_numbers("levels", levels)], estimator, Sampler(), micro_batch)
        if not all(0 <= level <= 1 for level in self.levels):
            raise ValueError(f"levels must be weights between 0 and 1, got {self.levels}")
        self.transport, self.autoencoder = transport, autoencoder
        self.map = LatentMap.load(transport) if isinstance(transport, str) else transport

    def check_ids(self, ids: Collection[str]) -> None:
        if used := sorted(self.map.ids.intersection(ids)):
            named = ", ".join(used[:3]) + (f" and {len(used) - 3} more" if len(used) > 3 else "")
            raise ValueError(
                f"the transport was fitted on {named}, which cannot also be restored with it; restore other images "
                "(--data.skip), or fit it on others (tools/fit_transport.py)"
            )

    def plan(self, schedule: Schedule) -> list[ChainPlan]:
        return []

    def chains_of(self, level: Level) -> Sequence[int]:
        return []

    def image(self, level: Level, estimate: torch.Tensor | None, samples: torch.Tensor) -> torch.Tensor:
        assert estimate is not None  # every level shows it
        return estimate

    @torch.no_grad()
    def _moved(self, found: Restoration, space: Prior) -> None:
        """Replaces the estimate by the image of each level."""
        x = found.images[self.levels[0]]
        if x.shape[1:] != space.image_shape:
            sizes = (" x ".join(map(str, shape)) for shape in (x.shape[1:], space.image_shape))
            raise ValueError("the images are {} but the autoencoder takes {}; give another autoencoder".format(*sizes))
        parts = []
        for rows in chunks(len(x), self.micro_batch):
            z = space.encode(x[rows])
            moved = self.map(z)
            parts.append({w: space.decode(torch.lerp(z, moved, w)) for w in self.levels if w > 0})
        for w in self.levels:
            if w > 0 and parts:
                found.images[w] = torch.cat([part[w] for part in parts])
                found.spread.pop(w, None)  # is that of the estimate

    def run(self, measurement: Measurement, prior: Prior, progress: Progress = silent) -> Restoration:
        found = super().run(measurement, prior, progress)
        if any(self.levels):
            counted, start = CountedPrior(self.autoencoder or prior), time.perf_counter()
            self._moved(found, counted)
            n = max(len(measurement), 1)
            of_all, used = counted.cost / n, sum(w > 0 for w in self.levels)
            for w in self.levels:
                if w > 0:  # alone, a level has one encoding and one decoding of the 1 + `used`
                    found.cost[w] += of_all * (2 / (1 + used))
                    found.seconds[w] += (time.perf_counter() - start) / (n * used)
            found.total_cost += of_all
        return found
