"""Measurement, y = A(x) + noise, and its creation from clean or already degraded images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from rps.image_checks import check_tensor, extent, warn_of_range
from rps.noise import Gaussian, Noise, Rounded, estimate_noise
from rps.operators.base import NoPseudoInverse, Operator
from rps.randomness import Streams
from rps.settings import check_part


class PictureMismatch(ValueError):
    """A degraded picture cannot be the measurement because it has the wrong size."""


@dataclass(repr=False)
class Measurement:
    """y = A(x) + noise_std n, n ~ N(0, I), for a batch of images: the only input of a solver.

    y: [N, ...]. operator: bound to these N images. noise_std: in [-1, 1] image units. image_shape: [C, H, W] of x.
    streams: random numbers of these samples, from which solvers draw. noise: law of y given A(x), Gaussian(noise_std)
    by default; for any other law, noise_std is the standard deviation of the Gaussian that solvers assume. conditions:
    N values under "caption" (texts) or "label" (classes, as integers), for conditional priors. image_range: least and
    largest value of the clean images that were degraded, zeros if they are not known.
    """

    y: Tensor
    operator: Operator
    noise_std: float
    image_shape: tuple[int, int, int]
    streams: Streams
    noise: Noise = None  # type: ignore[assignment]
    conditions: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    image_range: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.noise = self.noise or Gaussian(self.noise_std)

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        image, y = (" x ".join(map(str, shape)) for shape in (self.image_shape, self.y.shape[1:]))
        given = f", given a {' and a '.join(self.conditions)} each" if self.conditions else ""
        return f"Measurement of {len(self)} images of {image}: y of {y}, {self.operator!r}, {self.noise!r}{given}"

    def rows(self, index: Tensor | slice) -> Measurement:
        """The measurement of some rows of the batch (a row may be taken more than once)."""
        taken = torch.arange(len(self), device=self.y.device)[index].tolist() if self.conditions else []
        conditions = {name: [values[i] for i in taken] for name, values in self.conditions.items()}
        return replace(
            self,
            y=self.y[index],
            operator=self.operator.rows(index),
            streams=self.streams[index],
            conditions=conditions,
        )

    def residual(self, x: Tensor) -> Tensor:
        """y - A(x).  x: [N, C, H, W] -> [N, ...]."""
        return self.y - self.operator(x)

    def residual_norm(self, x: Tensor) -> Tensor:
        """||y - A(x)||_2, one norm per image.  x: [N, C, H, W] -> [N]."""
        return torch.linalg.vector_norm(self.residual(x).flatten(1), dim=1)

    def pseudo_inverse(self, rcond: float = 0.1) -> Tensor | None:
        """A^+ y without the singular values below rcond times the largest: the image that y gives without a prior.

        -> [N, C, H, W], or None if the operator gives no image.
        """
        try:
            x = self.operator.pinv(self.y, rcond)
        except NoPseudoInverse:
            return None
        return x if tuple(x.shape[1:]) == tuple(self.image_shape) else None


def degrade(
    images: Tensor, operator: Operator, noise: float | Noise, ids: Sequence[str] | None = None, seed: int = 0
) -> Measurement:
    """y = A(x) + noise, where mask, kernel and noise are functions of (seed, id) only.

    images: [N, C, H, W] in [-1, 1]. noise: standard deviation in the same units, or a Noise such as Poisson(peak=255).
    ids: N different names; None is "0", "1", ... The measurement of a sample is bit-identical in any batch.
    Errors: ValueError for images of another form, with NaN, or in 0 .. 255. Warns of images that seem to be in [0, 1].
    Other values outside [-1, 1] are refused by `Traversal.run`, unless its prior is analytic.
    """
    noise = noise if isinstance(noise, Noise) else Gaussian(noise)
    ids, image_shape = _check(images, operator, ids)
    image_range = extent(images)
    warn_of_range(*image_range)
    if not ids:
        # The shape of y comes from one image, because some operators reject an empty batch (an FFT does).
        return degrade(images.new_zeros(1, *image_shape), operator, noise, [""], seed).rows(slice(0, 0))
    streams = Streams(seed, ids, images.device)
    bound = operator.bind(image_shape, streams.at("operator"))
    noise = Rounded(noise, bound) if bound.rounding_std else noise
    y = noise.add(_apply(bound, images), streams.at("measurement"))
    return Measurement(y, bound, noise.std, image_shape, streams, noise, image_range=image_range)


def measured(
    pictures: Tensor,
    operator: Operator,
    noise: float | Noise | None,
    image_shape: tuple[int, int, int],
    ids: Sequence[str] | None = None,
    seed: int = 0,
) -> Measurement:
    """The measurement for pictures that are already degraded.

    pictures: [N, C, h, w] in [-1, 1]. Either y itself (small for super-resolution, blurred for deblurring) or, if y is
    not a picture (the kept pixels of a mask), a picture of the image's size that agrees with y, so y = A(pictures).
    If y is a picture, pictures are never degraded further. noise: their noise, as in `degrade`; None estimates one
    level for all of them (rps.noise.estimate_noise).
    Errors: PictureMismatch for pictures of another shape.
    """
    noise = noise if noise is None or isinstance(noise, Noise) else Gaussian(noise)  # refused early
    ids, _ = _check(pictures, operator, ids)
    image_shape = (image_shape[0], image_shape[1], image_shape[2])
    streams = Streams(seed, ids, pictures.device)
    bound = operator.bind(image_shape, streams.at("operator"))
    with torch.no_grad():
        y_shape = tuple(bound(pictures.new_zeros(len(pictures), *image_shape)).shape[1:])
        if tuple(pictures.shape[1:]) == y_shape:
            y = pictures
        elif tuple(pictures.shape[1:]) == image_shape and len(y_shape) != 3:
            y = _apply(bound, pictures)
        else:
            wanted = f"the measurement {y_shape}" if len(y_shape) == 3 else f"the image {image_shape}"
            raise PictureMismatch(
                f"degraded pictures have shape {tuple(pictures.shape[1:])}, expected the shape of {wanted} of "
                f"{type(operator).__name__}; give pictures of that shape, a prior of any size (rps.TiledPrior), or "
                "clean ones to degrade (degraded: false)"
            )
    if noise is None:
        noise = estimate_noise(y if y.ndim == 4 else bound.pinv(y))
    noise = Rounded(noise, bound) if bound.rounding_std else noise
    return Measurement(y, bound, noise.std, image_shape, streams, noise)


@torch.no_grad()
def _apply(operator: Operator, images: Tensor) -> Tensor:
    """A(x), one image at a time and in double precision, because a matrix product or a convolution may round
    differently in another batch, and measurements must not. In the images' precision if the operator has tensors of
    less than double precision (a network, a user's kernel), or if the device has no double.
    """
    held = [v for module in operator.modules() for v in vars(module).values() if isinstance(v, Tensor)]
    held += [*operator.parameters(), *operator.buffers()]
    single = images.device.type == "mps" or any(v.is_floating_point() and v.dtype != torch.float64 for v in held)
    exact = images.dtype if single else torch.float64
    every = torch.arange(len(images), device=images.device)
    y = [operator.rows(every[i : i + 1])(images[i : i + 1].to(exact)).to(images.dtype) for i in range(len(images))]
    return torch.cat(y) if y else operator(images)


def _check(images: Tensor, operator: Any, ids: Sequence[str] | None) -> tuple[list[str], tuple[int, int, int]]:
    check_tensor(images)
    check_part("operator", operator, Operator, "SuperResolution(4)")
    if isinstance(ids, str):
        raise ValueError(f"ids must be a list of names, got the text {ids!r}; give [{ids!r}] for one image")
    names = [str(i) for i in range(len(images))] if ids is None else [str(i) for i in ids]
    if len(names) != len(images):
        raise ValueError(f"got {len(names)} ids for {len(images)} images; give one id per image")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"two images have the id {twice!r} and would have the same noise; give different ids")
    _, c, h, w = images.shape
    return names, (c, h, w)
