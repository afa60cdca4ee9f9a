"""Checks of numbers and parts that are given as settings."""

from __future__ import annotations

import math
from typing import Any


def is_number(value: Any) -> bool:
    """Whether this is one finite number, of Python, NumPy or torch, and no truth value."""
    return hasattr(value, "__float__") and not isinstance(value, bool) and math.isfinite(value)


def not_negative(**settings: float | None) -> None:
    """Errors: ValueError for the first setting that is not a finite number >= 0; None counts as not given."""
    for name, value in settings.items():
        if value is not None and not (is_number(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number >= 0, got {value!r}")


def at_least_one(**settings: int | None) -> None:
    """Errors: ValueError for the first setting that is not a whole number >= 1; None counts as not given."""
    for name, value in settings.items():
        if value is not None and not (is_number(value) and value == int(value)):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_part(name: str, given: Any, kind: type, example: str) -> None:
    """Errors: ValueError for anything but an object of this base class of a room.  example: such an object."""
    if not isinstance(given, kind):
        room = ".".join(kind.__module__.split(".")[:2])
        own = f"the class {given.__name__}; call it" if isinstance(given, type) else type(given).__name__
        raise ValueError(f"{name} must be an {room}.{kind.__name__} such as {example}, got {own}")
