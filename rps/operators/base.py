"""What an operator is: A in y = A(x) + noise. Images are [N, C, H, W] in [-1, 1]; measurements are [N, ...]."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rps.randomness import Streams
from rps.shallow import shallow_copy

Gain = Callable[[Tensor], Tensor]
"""A function of the singular values, element by element, e.g. lambda s: s for the adjoint.

s has four dimensions, the first of which is the row (1 where all rows share it). The result may therefore bring in a
constant of each row, e.g. lambda s: s / (r2 * s**2 + noise_std**2) with r2 of shape [N, 1, 1, 1].
"""


class NoPseudoInverse(ValueError):
    """An operator leads from its measurement to no image."""


class Operator(nn.Module):
    """A(x), differentiable, acting on each image of the batch by itself.

    A user's operator needs `forward` alone. One with random parameters (a mask, a kernel) draws them in `bind`, keeps
    them in attributes whose first dimension is the batch, and names those attributes in `per_sample`.
    """

    per_sample: tuple[str, ...] = ()
    image_shape: tuple[int, int, int] | None = None
    """[C, H, W] of the images, where bind keeps it."""

    def _shape(self) -> tuple[int, int, int]:
        if self.image_shape is None:
            raise RuntimeError(f"{type(self).__name__} is not bound: call operator.bind(shape, streams) first")
        return self.image_shape

    def forward(self, x: Tensor) -> Tensor:
        """A(x).  x: [N, C, H, W] -> y: [N, ...]."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> Operator:
        """The operator of these images: their shape [C, H, W] is known, and random parameters are drawn per sample.

        The default has neither. An override returns a copy (see `bound`) and leaves self as it was.
        """
        return self

    def bound(self, **attributes: Any) -> Any:
        """A shallow copy of this operator with these attributes set."""
        return shallow_copy(self, **attributes)

    def bound_rows(self) -> int | None:
        """To how many images the random parameters are bound; None for an operator without any."""
        return len(getattr(self, self.per_sample[0])) if self.per_sample else None

    def check_rows(self, batch: Tensor) -> None:
        """Raises ValueError for a batch of another number of images than this operator is bound to."""
        if len(batch) != self.bound_rows():
            raise ValueError(
                f"this {type(self).__name__} is bound to {self.bound_rows()} images, got {len(batch)}; "
                "take operator.rows(index) for some of them"
            )

    def rows(self, index: Tensor | slice) -> Any:
        """The operator of some rows of the batch (a row may be taken more than once)."""
        if not self.per_sample:
            return self
        return self.bound(**{name: getattr(self, name)[index] for name in self.per_sample})

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        """A rough image from the measurement, where stage 1 starts: y itself, if it is an image and A is nonlinear."""
        if y.ndim == 4:
            return y
        raise NoPseudoInverse(
            f"{type(self).__name__} has no pinv(y) and its measurement of shape {tuple(y.shape[1:])} is not an image; "
            "define pinv(self, y, rcond) to return a starting image"
        )


def check_divisible(operator: Operator, shape: tuple[int, int, int], factor: int) -> None:
    """Raises ValueError for images [C, H, W] whose height or width is not divisible by a factor."""
    _, h, w = shape
    if h % factor or w % factor:
        raise ValueError(
            f"{type(operator).__name__}(factor={factor}) needs images whose height and width are divisible by "
            f"{factor}, got {h} x {w}"
        )


class LinearOperator(Operator):
    """A linear A. With `forward` alone, the adjoint comes from autograd and A^+ y from conjugate gradients.

    `bind` must have been called, so that the shape of the images is known.
    """

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> LinearOperator:
        return self.bound(image_shape=tuple(shape))

    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y, the vector-Jacobian product of `forward`.  y: [N, ...] -> [N, C, H, W]."""
        differentiable = torch.is_grad_enabled() and y.requires_grad
        with torch.enable_grad():
            x = torch.zeros(len(y), *self._shape(), dtype=y.dtype, device=y.device, requires_grad=True)
            (gradient,) = torch.autograd.grad(self(x), x, grad_outputs=y, create_graph=differentiable)
        return gradient

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        """A^+ y: the least-squares image of least norm, by conjugate gradients on A^T A x = A^T y from x = 0.

        rcond: stop once ||A^T (y - A x)|| is below max(rcond, 1e-6) ||A^T y||, so that a rough solve stops early.
        """
        return conjugate_gradient(lambda x: self.adjoint(self(x)), self.adjoint(y), tolerance=max(rcond, 1e-6))

    @torch.no_grad()
    def matrix(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """The dense A of one row, for small images: column i is A applied to the i-th unit image.  -> [m, C*H*W].

        Takes memory and time of C*H*W images. An operator with random parameters must be bound to one row.
        """
        shape, own = self._shape(), [getattr(self, name) for name in self.per_sample]
        if self.bound_rows() not in (None, 1):
            raise ValueError(
                f"matrix() is of one row, but this {type(self).__name__} is bound to {self.bound_rows()}; "
                "call operator.rows(slice(i, i + 1)).matrix()"
            )
        device = next((tensor.device for tensor in (*own, *self.buffers(), *self.parameters())), None)
        units = torch.eye(math.prod(shape), dtype=dtype, device=device).view(-1, *shape)
        every = self.rows(torch.zeros(len(units), dtype=torch.int64, device=device))
        return every(units).flatten(1).T


class SpectralOperator(LinearOperator):
    """A linear A = U S V^T whose singular values are known, so that every function of A^T A is one call."""

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        """V f(S) U^T y.  y: [N, ...] -> image [N, C, H, W].

        gain f: the singular values, see `Gain`. f(s) = s is the adjoint, 1/s the pseudo-inverse,
        s / (r^2 s^2 + sigma^2) the guidance of PiGDM. Directions with singular value zero contribute nothing. f is
        called once, on all singular values.
        """
        raise NotImplementedError(f"{type(self).__name__} must define spectral(y, gain)")

    def adjoint(self, y: Tensor) -> Tensor:
        return self.spectral(y, lambda s: s)

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        """A^+ y, with the singular values below rcond times the largest one left out (numpy's meaning)."""

        def inverse(s: Tensor) -> Tensor:
            largest = s.amax(dim=(1, 2, 3), keepdim=True)
            return torch.where(s > rcond * largest, 1.0 / s, torch.zeros_like(s))

        return self.spectral(y, inverse)


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor], b: Tensor, tolerance: float = 1e-6, max_iterations: int = 200
) -> Tensor:
    """x with apply(x) = b for a symmetric positive semi-definite map, one solve per row.

    b: [N, ...]. Stops when every row has ||b - apply(x)|| <= tolerance ||b||, or after max_iterations.
    """

    def dot(a: Tensor, c: Tensor) -> Tensor:
        return (a * c).flatten(1).sum(1).view(-1, *(1,) * (b.ndim - 1))

    x, residual = 0.0 * b, b  # not zeros: a row of b that holds NaN has no solution, and must say so
    direction, error = b, dot(b, b)
    target = tolerance**2 * error
    for _ in range(max_iterations):
        active = error > target
        if not bool(active.any()):
            break
        image = apply(direction)
        curvature = dot(direction, image)
        # A finished row takes steps of length zero, so its result does not depend on the rows beside it.
        step = torch.where(
            active & (curvature > 0), error / curvature.clamp(min=1e-300 if b.dtype == torch.float64 else 1e-30), 0.0
        )
        x, residual = x + step * direction, residual - step * image
        previous, error = error, torch.where(active, dot(residual, residual), error)
        direction = residual + torch.where(active, error / previous.clamp(min=1e-30), 0.0) * direction
    return x
