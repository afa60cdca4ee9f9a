"""Checks of numeric settings."""

from __future__ import annotations

import math


def not_negative(**settings: float | None) -> None:
    """Errors: ValueError for the first setting that is not a finite number >= 0; None counts as not given."""
    for name, value in settings.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number >= 0, got {value}")


def at_least_one(**settings: int | None) -> None:
    """Errors: ValueError for the first setting that is less than 1; None counts as not given."""
    for name, value in settings.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
