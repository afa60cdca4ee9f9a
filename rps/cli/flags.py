"""Reads and rewrites flags of the command line that set a value of the config: --model.sampler.step_size 0.5."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rps.bounded_yaml import load_yaml

Place = tuple[str, ...]
"""Keys from the top of a config, without "init_args" and "class_path": ("model", "sampler")."""


def read_flags(options: Sequence[str]) -> Iterator[tuple[int, Place, Any]]:
    """(index, place, value) of every --a.b value and --a.b=value."""
    for i, option in enumerate(options):
        name, equals, text = option.partition("=")
        if not name.startswith("--") or (not equals and (i + 1 == len(options) or options[i + 1].startswith("--"))):
            continue
        place = tuple(key for key in name[2:].split(".") if key not in ("init_args", "class_path"))
        try:
            value = load_yaml(text if equals else options[i + 1])
        except ValueError:  # the parser reports what is wrong
            continue
        if len(place) > 1 or isinstance(value, str) or (isinstance(value, dict) and place != ("config",)):
            yield i, place, value


def write_flag(options: list[str], i: int, value: Any) -> None:
    """Replaces the value of the flag at i.

    --place.class_path becomes --place, as the value now names the class. For null, --model.sampler.step_size becomes
    --model.sampler {"init_args": {"step_size": null}}, because the parser would take it for a text.
    """
    name, equals, _ = options[i].partition("=")
    name = name.removesuffix(".class_path")
    if value is None:
        name, _, key = name.rpartition(".")
        name, value = name.removesuffix(".init_args"), {"init_args": {key: None}}
    text = value if isinstance(value, str) else json.dumps(value)
    if equals:
        options[i] = f"{name}={text}"
    else:
        options[i : i + 2] = [name, text]
