"""Base classes of operators: A in y = A(x) + noise. Images are [N, C, H, W] in [-1, 1], measurements [N, ...]."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rps.randomness import Streams
from rps.shallow import shallow_copy
from rps.shown import Shown

Gain = Callable[[Tensor], Tensor]
"""A function of the singular values, element by element, e.g. lambda s: s for the adjoint.

s has four dimensions, the first of which is the row (1 if all rows share it), so the function may use a constant per
row, e.g. lambda s: s / (r2 * s**2 + noise_std**2) with r2 of shape [N, 1, 1, 1].
"""


ONE_BY_ONE = "make batches of one (batch_size: 1)"
"""The advice where the measurements of a batch differ in size."""


class NoPseudoInverse(ValueError):
    """The operator cannot turn its measurement into an image."""


class Operator(Shown, nn.Module):
    """A(x), differentiable, acting on each image of the batch by itself.

    A subclass only needs `forward`. If it has random parameters (a mask, a kernel), it draws them in `bind`, keeps them
    in attributes whose first dimension is the batch, and lists the names of those attributes in `per_sample`.
    """

    per_sample: tuple[str, ...] = ()
    alike: bool = True
    """Whether measurements of different samples have the same size; if not, our datamodules make batches of one."""
    image_shape: tuple[int, int, int] | None = None
    """[C, H, W] of the images, if `bind` stores it."""
    rounding_std: float = 0.0
    """Standard deviation of stored(y) - y."""

    def _shape(self) -> tuple[int, int, int]:
        if self.image_shape is None:
            raise RuntimeError(f"{type(self).__name__} is not bound; call operator.bind(shape, streams) first")
        return self.image_shape

    def forward(self, x: Tensor) -> Tensor:
        """A(x).  x: [N, C, H, W] -> y: [N, ...]."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> Operator:
        """The operator for a batch of images: sets their shape [C, H, W] and finds the parameters of each sample.

        Random ones are drawn from `streams`, others, such as a mask in a file, are found by the ids in `streams.ids`.
        The default does neither. An override returns a copy (see `bound`) and leaves self unchanged.
        """
        return self

    def stored(self, y: Tensor) -> Tensor:
        """The numbers that the instrument keeps of y: y itself, or y rounded."""
        return y

    def image_shape_of(self, picture: tuple[int, int, int]) -> tuple[int, int, int]:
        """[C, H, W] of the images whose measurement has the shape of this picture, or that are given as pictures with
        holes; by default the same. For restoring pictures of any size (rps.priors.TiledPrior)."""
        return picture

    def bound(self, **attributes: Any) -> Any:
        """A shallow copy of this operator with these attributes set."""
        return shallow_copy(self, **attributes)

    def bound_rows(self) -> int | None:
        """The number of images that the random parameters are bound to; None without random parameters."""
        return len(getattr(self, self.per_sample[0])) if self.per_sample else None

    def check_rows(self, batch: Tensor) -> None:
        """Errors: ValueError if the batch does not have as many images as this operator is bound to."""
        if len(batch) != self.bound_rows():
            raise ValueError(
                f"this {type(self).__name__} is bound to {self.bound_rows()} images, got {len(batch)}; "
                "use operator.rows(index) for some of them"
            )

    def rows(self, index: Tensor | slice) -> Any:
        """The operator of some rows of the batch (a row may be taken more than once)."""
        if not self.per_sample:
            return self
        return self.bound(**{name: getattr(self, name)[index] for name in self.per_sample})

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        """A rough image from which stage 1 starts: for a nonlinear A, y itself if it is an image."""
        if y.ndim == 4:
            return y
        raise NoPseudoInverse(
            f"{type(self).__name__} has no pinv(y) and its measurement of shape {tuple(y.shape[1:])} is not an image; "
            "define pinv(self, y, rcond) to return a starting image"
        )


class LinearOperator(Operator):
    """A linear A. By default, autograd computes the adjoint and conjugate gradients compute A^+ y.

    Call `bind` first, which sets the shape of the images.
    """

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> LinearOperator:
        return self.bound(image_shape=tuple(shape))

    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y, the vector-Jacobian product of `forward`.  y: [N, ...] -> [N, C, H, W]."""
        differentiable = torch.is_grad_enabled() and y.requires_grad
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.zeros(len(y), *self._shape(), dtype=y.dtype, device=y.device, requires_grad=True)
            (gradient,) = torch.autograd.grad(self(x), x, grad_outputs=y, create_graph=differentiable)
        return gradient

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        """A^+ y: the least-squares image of least norm, by conjugate gradients on A^T A x = A^T y from x = 0.

        rcond: the iteration stops once ||A^T (y - A x)|| <= max(rcond, 1e-6) ||A^T y||.
        """
        return conjugate_gradient(lambda x: self.adjoint(self(x)), self.adjoint(y), tolerance=max(rcond, 1e-6))

    @torch.no_grad()
    def matrix(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """The dense A of one row, for small images: column i is A applied to the i-th unit image.  -> [m, C*H*W].

        Needs the memory and time of C*H*W images. An operator with random parameters must be bound to one row.
        """
        shape, own = self._shape(), [getattr(self, name) for name in self.per_sample]
        if self.bound_rows() not in (None, 1):
            raise ValueError(
                f"this {type(self).__name__} is bound to {self.bound_rows()} rows, but matrix() needs one; "
                "call operator.rows(slice(i, i + 1)).matrix()"
            )
        device = next((tensor.device for tensor in (*own, *self.buffers(), *self.parameters())), None)
        units = torch.eye(math.prod(shape), dtype=dtype, device=device).view(-1, *shape)
        every = self.rows(torch.zeros(len(units), dtype=torch.int64, device=device))
        return every(units).flatten(1).T


class SpectralOperator(LinearOperator):
    """A linear A = U S V^T with known singular values, so that one call applies any function of A^T A."""

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        """V f(S) U^T y.  y: [N, ...] -> image [N, C, H, W].

        gain f: function of the singular values, see `Gain`. f(s) = s gives the adjoint, 1/s the pseudo-inverse,
        s / (r^2 s^2 + sigma^2) the guidance of PiGDM. Directions with singular value zero contribute nothing. f is
        called once, on all singular values.
        """
        raise NotImplementedError(f"{type(self).__name__} must define spectral(y, gain)")

    def adjoint(self, y: Tensor) -> Tensor:
        return self.spectral(y, lambda s: s)

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        """A^+ y without the singular values below rcond times the largest, as in numpy.linalg.pinv."""

        def inverse(s: Tensor) -> Tensor:
            largest = s.amax(dim=(1, 2, 3), keepdim=True)
            return torch.where(s > rcond * largest, 1.0 / s, torch.zeros_like(s))

        return self.spectral(y, inverse)


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor], b: Tensor, tolerance: float = 1e-6, max_iterations: int = 200
) -> Tensor:
    """Solves apply(x) = b for a symmetric positive semi-definite map, one system per row.

    b: [N, ...]. Stops when every row has ||b - apply(x)|| <= tolerance ||b||, or after max_iterations.
    """

    def dot(a: Tensor, c: Tensor) -> Tensor:
        return (a * c).flatten(1).sum(1).view(-1, *(1,) * (b.ndim - 1))

    x, residual = 0.0 * b, b  # not zeros: a row of b that contains NaN has no solution, so x must be NaN too
    direction, error = b, dot(b, b)
    target = tolerance**2 * error
    for _ in range(max_iterations):
        active = error > target
        if not bool(active.any()):
            break
        image = apply(direction)
        curvature = dot(direction, image)
        # A finished row takes steps of length zero, so its result does not depend on the other rows.
        step = torch.where(
            active & (curvature > 0), error / curvature.clamp(min=1e-300 if b.dtype == torch.float64 else 1e-30), 0.0
        )
        x, residual = x + step * direction, residual - step * image
        previous, error = error, torch.where(active, dot(residual, residual), error)
        direction = residual + torch.where(active, error / previous.clamp(min=1e-30), 0.0) * direction
    return x
