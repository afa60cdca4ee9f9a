"""Representations of objects by their settings: Dps(step_size=0.15, per_timestep=True)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Set
from typing import Any

MOST_ITEMS = 10
"""Longer lists are shown by their first and last items."""


class Shown:
    """A class whose repr names the first argument of its constructor and those that differ from their defaults.

    Arguments are read from attributes of the same names; those that the object does not store are left out. Tensors and
    networks are shown by class and shape, never by their values.
    """

    def __repr__(self) -> str:
        found: list[str] = []
        for parameter, value in stored_arguments(self):
            text = shown(value)
            if not found or parameter.default is parameter.empty or text != shown(parameter.default):
                found.append(f"{parameter.name}={text}")
        return f"{type(self).__name__}({', '.join(found)})"


def stored_arguments(thing: object) -> Iterator[tuple[inspect.Parameter, Any]]:
    """The arguments of an object's constructor that it stores under their names, and their values."""
    for name, parameter in inspect.signature(type(thing)).parameters.items():
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) and hasattr(thing, name):
            yield parameter, getattr(thing, name)


def shown(value: Any) -> str:
    """A short text for a setting; for numbers, texts, lists and our own classes, Python that makes it again."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if value is None or isinstance(value, bool | int | float | str | Shown):
        return repr(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{type(value).__name__} of {' x '.join(map(str, value.shape)) or 'one number'}>"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{shown(key)}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Set) or (hasattr(value, "__len__") and hasattr(value, "__getitem__")):
        items = [shown(item) for item in value]
        if len(items) > MOST_ITEMS:
            items[MOST_ITEMS // 2 : -MOST_ITEMS // 2] = ["..."]
        return "[" + ", ".join(items) + "]"
    if hasattr(value, "__dataclass_fields__"):
        return repr(value)
    return f"<{getattr(value, '__qualname__', type(value).__name__)}>"
