"""The settings of an object as text, from its class and attributes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor


def fingerprint(value: Any) -> str:
    """The same text for objects of the same class with the same attributes, in any process.

    Objects may consist of numbers, texts, tensors, lists, mappings, modules and other objects of this kind. Errors:
    TypeError for anything else, such as a function, and for an object that contains itself.
    """
    return json.dumps(_described(value, ()), sort_keys=True)


def _described(value: Any, outer: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) in outer:
        raise TypeError(f"{type(value).__name__} contains itself")
    inner = (*outer, id(value))
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return ["tensor", str(value.dtype), list(value.shape), hashlib.sha256(content).hexdigest()]
    if isinstance(value, torch.dtype | torch.device | PurePath):
        return str(value)
    if isinstance(value, Mapping):
        pairs = [[_described(key, inner), _described(item, inner)] for key, item in value.items()]
        return ["mapping", sorted(pairs, key=json.dumps)]
    if isinstance(value, Set):
        return ["set", sorted((_described(item, inner) for item in value), key=json.dumps)]
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_described(item, inner) for item in value]
    kind: Any = type(value)
    if kind.__reduce_ex__ is not object.__reduce_ex__ or kind.__reduce__ is not object.__reduce__:
        raise TypeError(f"the settings of {kind.__name__} are not known")
    # What pickle would write of the object; a class written in C may have state elsewhere, and raises TypeError.
    parts = value.__reduce_ex__(2)
    return [f"{kind.__module__}.{kind.__qualname__}", _described(parts[1][1:], inner), _described(parts[2], inner)]
