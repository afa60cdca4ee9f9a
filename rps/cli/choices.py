"""Finds where a config chooses levels and samples, as the classes that it names say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rps.cli.classes import find
from rps.records.choices import Choices, Place


def choices(config: Mapping[str, Any]) -> Choices:
    """config: with resolved class paths, as it is dumped."""
    return Choices(
        _places(config.get("model"), ("model",), "level_arguments"), _places(config.get("data"), ("data",), "selection")
    )


def _places(value: Any, place: Place, attribute: str) -> tuple[Place, ...]:
    """Where the arguments stand that a class names in an attribute, of the first such class from the top."""
    if not isinstance(value, Mapping):
        return ()
    names = getattr(find(value["class_path"]), attribute, ()) if isinstance(value.get("class_path"), str) else ()
    below = (_places(item, (*place, str(key)), attribute) for key, item in value.items())
    return tuple((*place, "init_args", name) for name in names) or next(filter(None, below), ())
