"""Finds where a config chooses levels and samples, as the classes that it names say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rps.cli.classes import find
from rps.records.choices import Choices, Place


def choices(config: Mapping[str, Any]) -> Choices:
    """config: with resolved class paths, as it is dumped."""
    levels = (_places(place, node, "level_arguments") for place, node in _nodes(config.get("model"), ("model",)))
    samples = (_places(place, node, "selection") for place, node in _nodes(config.get("data"), ("data",)))
    return Choices(next(filter(None, levels), ()), next(filter(None, samples), ()))


def _nodes(value: Any, place: Place) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """The mappings with a class_path, from the top."""
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            yield place, value
        for key, item in value.items():
            yield from _nodes(item, (*place, str(key)))


def _places(place: Place, node: Mapping[str, Any], attribute: str) -> tuple[Place, ...]:
    """Where the arguments stand that a class names in an attribute."""
    names = getattr(find(node["class_path"]), attribute, ())
    return tuple((*place, "init_args", name) for name in names)
