"""An operator whose random parameters are the same for all images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rps.operators.base import Operator
from rps.randomness import Streams

ID = "mask"
"""The sample id in whose place the parameters are drawn: recorded results have the mask of this one."""


class Shared(Operator):
    """The given operator with one mask, kernel or permutation for the whole run, not one per sample id.

        Shared(Inpaint(0.5)), Shared(MotionBlur(), seed=3)

    Args:
        operator: operator whose `bind` draws random parameters, of rps.operators or your own.
        seed: seed of the draw; the seed of the run does not matter.
    """

    def __init__(self, operator: Operator, seed: int = 0) -> None:
        super().__init__()
        self.operator, self.seed = operator, seed

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> Any:
        one = self.operator.bind(shape, Streams(self.seed, [ID], streams.keys.device))
        return one.rows(torch.zeros(len(streams), dtype=torch.int64, device=streams.keys.device))

    def image_shape_of(self, picture: tuple[int, int, int]) -> tuple[int, int, int]:
        return self.operator.image_shape_of(picture)

    def forward(self, x: Tensor) -> Tensor:
        return self.operator(x)
