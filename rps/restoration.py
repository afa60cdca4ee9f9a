"""What solvers return, and what the predict loop hands to callbacks.

Treat them as values. They are not frozen only because Lightning, when it collects predictions, copies dataclasses field
by field to move their tensors to the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rps.measurement import Measurement

Level = int | float
"""One value of a traversal's knob, e.g. t0 = 300."""


@dataclass
class Restoration:
    """The images of a batch along a traversal's knob.

    knob: its name, "t0" for MAP-RPS. levels: its values, as asked for.
    images: level -> [N, C, H, W] in about [-1, 1], not clipped; a row that diverged holds NaN or infinity.
    network_calls: level -> calls of the prior per image to reach this level when it is run alone, [N].
    total_network_calls: [N], what the one pass over all levels really took.
    seconds: level -> wall-clock seconds per image, the batch's time shared out in proportion to the calls.
    spread: level -> [N, C, H, W], the pixel-wise standard deviation over the chains of those levels whose image is the
        mean of several; empty where there are none. It says how sure the image is.
    """

    knob: str
    levels: Sequence[Level]
    images: dict[Level, Tensor]
    network_calls: dict[Level, Tensor]
    total_network_calls: Tensor
    seconds: dict[Level, float]
    spread: dict[Level, Tensor] = field(default_factory=dict)

    @classmethod
    def cat(cls, parts: Sequence[Restoration]) -> Restoration:
        """The images of all parts, of the same levels, in one; seconds are their mean over the images."""
        first, counts = parts[0], [len(part.total_network_calls) for part in parts]

        def joined(dicts: Sequence[dict[Level, Tensor]]) -> dict[Level, Tensor]:
            return {level: torch.cat([values[level] for values in dicts]) for level in dicts[0]}

        def mean(level: Level) -> float:
            shares = (part.seconds[level] * n for part, n in zip(parts, counts, strict=True))
            return sum(shares) / max(sum(counts), 1)

        return cls(
            first.knob,
            first.levels,
            joined([part.images for part in parts]),
            joined([part.network_calls for part in parts]),
            torch.cat([part.total_network_calls for part in parts]),
            {level: mean(level) for level in first.seconds},
            joined([part.spread for part in parts]),
        )


@dataclass
class Prediction:
    """What `predict_step` of every module in modules/ returns, and what a callback's on_predict_batch_end gets.

    ids: names of the N samples that were restored. reference: the clean images [N, C, H, W] in [-1, 1], or None when
    the data were already degraded. measurement, restoration: of the same N samples.
    failures: id -> reason, for samples of this batch that have no images at all (they are not among ids).
    """

    ids: list[str]
    reference: Tensor | None
    measurement: Measurement
    restoration: Restoration
    failures: dict[str, str] = field(default_factory=dict)
