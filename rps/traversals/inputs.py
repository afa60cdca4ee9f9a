"""Checks of what traversals are given: levels, and a measurement and a prior that fit each other."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from rps.image_checks import check_range
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.restoration import Level


def whole_levels(name: str, given: Any) -> list[int]:
    """The levels as integers, from a list of whole numbers or one of them.  Errors: ValueError for anything else."""
    numbers = level_numbers(name, given)
    if any(number != int(number) for number in numbers):
        raise ValueError(f"{name} must be a whole number or a list of them, such as [0, 100, 300], got {given}")
    return [int(number) for number in numbers]


def level_numbers(name: str, given: Any) -> list[Level]:
    """The levels as Python numbers, from a list of numbers or one of them.  Errors: ValueError for anything else."""
    plain = given.tolist() if hasattr(given, "tolist") else given  # arrays and tensors
    listed = list(plain) if isinstance(plain, Iterable) and not isinstance(plain, str | bytes) else [plain]
    if not all(isinstance(level, int | float) and math.isfinite(level) for level in listed) or any(
        isinstance(level, bool) for level in listed
    ):
        raise ValueError(f"{name} must be a finite number or a list of them, got {given!r}")
    return listed


def check_inputs(measurement: Measurement, prior: Prior) -> None:
    """Errors: ValueError for anything but a measurement of images of the prior's shape and range, and a prior."""
    if not isinstance(measurement, Measurement):
        raise ValueError(
            f"run needs a Measurement, got {type(measurement).__name__}; rps.degrade makes one from clean images, "
            "rps.measured from pictures that are already degraded"
        )
    if not isinstance(prior, Prior):
        raise ValueError(
            f"run needs an rps.priors.Prior, got {type(prior).__name__}; wrap a network of diffusers in "
            "rps.DiffusersPrior(unet, scheduler)"
        )
    check_range(*measurement.image_range, prior.largest_value)
    compared = 1 if prior.any_size else 3
    if tuple(measurement.image_shape)[:compared] != tuple(prior.image_shape)[:compared]:
        what = "channels" if measurement.image_shape[0] != prior.image_shape[0] else "size"
        raise ValueError(
            f"the measurement is of images of {_shape(measurement.image_shape)} but the prior's images are "
            f"{_shape(prior.image_shape)} (channels x height x width); give images with the {what} of the prior, or "
            "another prior (rps.TiledPrior takes any size)"
        )


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
