"""Checks that images are tensors [N, C, H, W] in [-1, 1]."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

LARGEST = 1.5
"""Largest absolute value of a clean picture: resampling overshoots 1 by less."""


def check_tensor(images: Any) -> None:
    """Errors: ValueError for anything but finite floating-point numbers [N, C, H, W]."""
    if not isinstance(images, Tensor):
        raise ValueError(f"images must be a tensor [N, C, H, W], got {type(images).__name__}; use torch.as_tensor")
    if images.ndim != 4:
        one = "; give images[None] for one image" if images.ndim == 3 else ""
        raise ValueError(f"images must be [N, C, H, W], got shape {tuple(images.shape)}{one}")
    if not images.is_floating_point():
        raise ValueError(
            f"images must be floating point in [-1, 1], got {images.dtype}; scale them (8-bit values v to "
            "v / 127.5 - 1)"
        )
    if not bool(images.isfinite().all()):
        bad = (~images.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        raise ValueError(
            f"images must be finite, got NaN or infinity in {len(bad)} of {len(images)}, the first at index {bad[0]}; "
            "leave these out"
        )


def extent(images: Tensor) -> tuple[float, float]:
    """Least and largest value; zeros if there is none."""
    return (float(images.min()), float(images.max())) if images.numel() else (0.0, 0.0)


def check_range(low: float, high: float, largest: float = LARGEST) -> None:
    """Errors: ValueError for images whose values, from low to high, are beyond -largest or largest."""
    if max(-low, high) > largest:
        raise ValueError(range_reason(low, high))


def warn_of_range(low: float, high: float) -> None:
    """Errors: ValueError for images in 8 or 16 bits, without a negative value and beyond LARGEST. Warns of images that
    seem to be in [0, 1]: a batch in [-1, 1] rarely lacks every value below 0."""
    if low >= 0:
        check_range(low, high)
    if 0 <= low < high <= 1:
        warnings.warn(
            "images have no value below 0; if they are in [0, 1], give 2 * images - 1, since images are in [-1, 1]",
            stacklevel=3,
        )


def range_reason(low: float, high: float) -> str:
    """The sentence on images outside [-1, 1]."""
    return (
        f"pictures must be in [-1, 1], got values from {low:.4g} to {high:.4g}; scale them (8-bit values v to "
        "v / 127.5 - 1)"
    )
