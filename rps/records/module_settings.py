"""The settings of a module as names and plain values, which records keep: another module must not resume them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import PurePath
from typing import Any

from rps.priors.base import Prior
from rps.protocol import RunModule
from rps.records.changes import HOW
from rps.records.files import level_name
from rps.shown import Shown, stored_arguments

LONGEST = 200
"""Longer texts and lists are kept as their digest."""
DEEPEST = 8
"""Most objects inside one another that are looked into."""


def module_settings(module: object) -> dict[str, Any]:
    """Dotted name -> plain value: {"operator": "SuperResolution", "operator.factor": 4, "noise.std": 0.1, ...}.

    An object is the name of its class and, if it is a prior or its repr is its settings, the arguments that it stores.
    Tensors, networks and functions are the name of their class alone. Levels are left out; a setting that may have one
    value per level has a name for each.
    """
    parts = module.result_settings() if isinstance(module, RunModule) else {}
    found = {"module": type(module).__name__}
    for name, value in parts.items():
        found |= _flat(name, value)
    return found


def _flat(name: str, value: Any) -> dict[str, Any]:
    plain = _plain(value)
    found = {name: plain if len(text := json.dumps(plain)) <= LONGEST else _digest(text)}
    for key, item in _inside(value).items() if name.count(".") < DEEPEST else ():
        if isinstance(value, Shown | Prior) or _inside(item):
            found |= _flat(f"{name}.{key}", item)
    return found


def _plain(value: Any) -> Any:
    """What JSON holds: numbers, texts, lists and mappings of them; other objects as the names of their classes."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(item) for item in value]
    return type(value).__name__


def _inside(value: Any) -> dict[str, Any]:
    if isinstance(value, Shown | Prior):
        return _arguments(value)
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    listed = isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)
    return {str(i): item for i, item in enumerate(value)} if listed else {}


def _arguments(thing: Any) -> dict[str, Any]:
    """Those that affect results, without the list of levels."""
    found = {parameter.name: value for parameter, value in stored_arguments(thing) if parameter.name not in HOW}
    first, *per_level = getattr(thing, "level_arguments", ()) or ("",)
    found.pop(first, None)
    for name in found.keys() & set(per_level):
        value = found.pop(name)
        values = value if isinstance(value, Sequence) else [value] * len(thing.levels)
        found |= {f"{name}.{level_name(level)}": item for level, item in zip(thing.levels, values, strict=False)}
    return found


def _digest(text: str) -> str:
    return f"SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"
