"""High dynamic range: the sensor saturates."""

from __future__ import annotations

from torch import Tensor

from rps.operators.base import Operator


class HighDynamicRange(Operator):
    """A(x) = clip(scale x, -1, 1), nonlinear.  x, y: [N, C, H, W].

    Stage 1 starts from y itself, as published.

    Args:
        scale: contrast before clipping; 2 in DPS, DAPS and MAP-RPS.
    """

    def __init__(self, scale: float = 2.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale must be > 0, got {scale}")
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return (self.scale * x).clamp(-1, 1)
