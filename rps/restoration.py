"""Restoration, the result of a solver, and Prediction, which the predict loop passes to callbacks.

Treat them as immutable. They are not frozen only because Lightning copies the dataclasses of predictions field by field
to move their tensors to the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rps.cost import Cost
from rps.measurement import Measurement
from rps.printable import printable

Level = int | float
"""One value of a traversal's knob, e.g. t0 = 300."""


@dataclass(repr=False)
class Restoration:
    """The images of a batch along a traversal's knob.

    knob: its name, "t0" for MAP-RPS. levels: its values, in the given order.
    images: level -> [N, C, H, W] in about [-1, 1], not clipped; a row that diverged contains NaN or infinity.
    cost: level -> cost per image if this level is run alone. total_cost: that of the one pass over all levels.
    seconds: level -> wall-clock seconds per image, the batch's time split in proportion to the cost.
    spread: level -> [N, C, H, W], for levels that average several chains: their pixel-wise standard deviation, a
        measure of uncertainty. Other levels are absent.
    samples: level -> M tensors [N, C, H, W], these chains themselves, for levels that have a spread of their own.
    stored_cost: the part of total_cost whose results were read from a store (rps/estimators/store.py).
    """

    knob: str
    levels: Sequence[Level]
    images: dict[Level, Tensor]
    cost: dict[Level, Cost]
    total_cost: Cost
    seconds: dict[Level, float]
    spread: dict[Level, Tensor] = field(default_factory=dict)
    stored_cost: Cost = field(default_factory=Cost)
    samples: dict[Level, list[Tensor]] = field(default_factory=dict)

    def __repr__(self) -> str:
        number, *shape = self.images[self.levels[0]].shape if self.images else (0,)
        levels = f"{len(self.levels)} level{'s' if len(self.levels) != 1 else ''} of {self.knob}"
        size = f" of {' x '.join(map(str, shape))}" if shape else ""
        lines = [f"Restoration of {number} images{size} at {levels}; costs per image:"]
        for level in self.levels:
            broken = number - int(self.images[level].isfinite().flatten(1).all(1).sum())
            lines.append(
                f"  {self.knob} = {level:g}: {self.cost[level]}, {self.seconds[level]:.2g} s"
                + (f"; {broken} of {number} not finite" if broken else "")
            )
        return "\n".join([*lines, f"  all levels in one pass: {self.total_cost}"])

    @classmethod
    def cat(cls, parts: Sequence[Restoration]) -> Restoration:
        """Concatenates the images of parts with the same levels; costs and seconds are averaged over the images."""
        first = parts[0]
        counts = [len(part.images[first.levels[0]]) if first.levels else 0 for part in parts]
        n = max(sum(counts), 1)

        def concatenate(dicts: Sequence[dict[Level, Tensor]]) -> dict[Level, Tensor]:
            return {level: torch.cat([values[level] for values in dicts]) for level in dicts[0]}

        def mean(values: Sequence[Any], zero: Any) -> Any:
            return sum((value * count for value, count in zip(values, counts, strict=True)), zero) / n

        return cls(
            first.knob,
            first.levels,
            concatenate([part.images for part in parts]),
            {level: mean([part.cost[level] for part in parts], Cost()) for level in first.levels},
            mean([part.total_cost for part in parts], Cost()),
            {level: mean([part.seconds[level] for part in parts], 0) for level in first.levels},
            concatenate([part.spread for part in parts]),
            mean([part.stored_cost for part in parts], Cost()),
            {
                level: [torch.cat(chain) for chain in zip(*(part.samples[level] for part in parts), strict=True)]
                for level in first.samples
            },
        )


@dataclass(repr=False)
class Prediction:
    """The result of `predict_step` of every module in modules/, which a callback's on_predict_batch_end receives.

    ids: names of the N restored samples. reference: their clean images [N, C, H, W] in [-1, 1], or None if the data
    were already degraded. measurement, restoration: for the same N samples.
    failures: id -> reason, for samples of this batch without images (they are not in ids).
    """

    ids: list[str]
    reference: Tensor | None
    measurement: Measurement
    restoration: Restoration
    failures: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = ", ".join([*self.ids[:3], *(["..."] if len(self.ids) > 3 else [])])
        failed = [f"  failed: {name}: {reason}" for name, reason in list(self.failures.items())[:3]]
        more = [f"  and {len(self.failures) - 3} more failures"] if len(self.failures) > 3 else []
        about = f"Prediction of {len(self.ids)} samples{f' ({names})' if names else ''}"
        about += ", with their clean images" if self.reference is not None else ", without clean images"
        return "\n".join([*map(printable, [about, *failed, *more]), repr(self.measurement), repr(self.restoration)])
