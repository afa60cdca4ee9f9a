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


def check_range(images: Tensor) -> None:
    """Errors: ValueError for images in 8 or 16 bits, without a negative value and beyond LARGEST. Warns of images that
    seem to be in [0, 1]: they fill it, and a batch in [-1, 1] rarely lacks every value below 0."""
    if not images.numel():
        return
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high > LARGEST:
        raise ValueError(range_reason(images))
    if 0 <= low < 0.1 and 0.5 < high <= 1:
        warnings.warn(
            "images have no value below 0; if they are in [0, 1], give 2 * images - 1, since images are in [-1, 1]",
            stacklevel=3,
        )


def range_reason(images: Tensor) -> str:
    """The sentence on images outside [-1, 1]."""
    return (
        f"pictures must be in [-1, 1], got values from {float(images.min()):.4g} to {float(images.max()):.4g}; scale "
        "them (8-bit values v to v / 127.5 - 1)"
    )
