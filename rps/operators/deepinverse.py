"""Operators of the deepinv library (pip install "map-rps[operators]")."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from rps.operators.base import LinearOperator, Operator
from rps.randomness import Streams


class DeepInverse(Operator):
    """A(x) = physics.A(x), for any deepinv.physics object whose measurement is one real tensor [N, ...].

        DeepInverse(deepinv.physics.Tomography(angles=60, img_width=64))

    The noise and sensor models of the physics are ignored: `degrade` adds the noise. All samples share the parameters
    of the object. Physics with A_adjoint is bound to a LinearOperator, whose adjoint comes from autograd (exact) and
    whose pseudo-inverse comes from conjugate gradients. Computed in the precision of the physics' tensors.

    Args:
        physics: deepinv.physics object.
    """

    physics: Any

    def __init__(self, physics: nn.Module) -> None:
        super().__init__()
        if not hasattr(physics, "A"):
            raise TypeError(f"physics must be a deepinv.physics object with a method A, got {type(physics)}")
        self.physics = physics.requires_grad_(False)

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> Operator:
        if not hasattr(self.physics, "A_adjoint"):
            return self
        return LinearDeepInverse(self.physics).bound(image_shape=tuple(shape))

    def forward(self, x: Tensor) -> Tensor:
        own = next((t for t in (*self.physics.buffers(), *self.physics.parameters()) if t.is_floating_point()), x)
        y = self.physics.A(x.to(own.dtype))
        if not isinstance(y, Tensor) or y.is_complex():
            raise TypeError(
                f"{type(self.physics).__name__} measures "
                f"{y.dtype if isinstance(y, Tensor) else type(y).__name__}; an operator must measure one real tensor"
            )
        return y.to(x.dtype)


class LinearDeepInverse(DeepInverse, LinearOperator):
    """DeepInverse for linear physics."""

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> LinearOperator:
        return LinearOperator.bind(self, shape, streams)
