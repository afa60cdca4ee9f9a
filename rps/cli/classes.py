"""Finds classes by the names that users give: short names of ours, and dotted paths."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

ROOM_OF = {
    "model": "modules",
    "data": "datamodules",
    "operator": "rps.operators",
    "prior": "rps.priors",
    "estimator": "rps.estimators",
    "sampler": "rps.samplers",
    "traversal": "rps.traversals",
    "callbacks": "rps.callbacks",
    "metrics": "rps.metrics",
    "logger": "lightning.pytorch.loggers",
}
"""Key of a config -> the room of the classes that it may name."""
ROOMS = (*ROOM_OF.values(), "rps.oracle")

_PLAIN = (bool, int, float, str, list, tuple)
_NO_CLASSES = (
    NoneType, bool, int, float, complex, str, bytes, Path, os.PathLike,
    list, tuple, set, frozenset, Sequence, Iterable, dict, Mapping, MutableMapping,
)  # fmt: skip
"""Types for which the parser never turns a mapping with class_path into an object, though it may do so inside it."""


def find(class_path: str) -> Any:
    """The class or function with this dotted path, or ours with this short name; None if there is none."""
    module, _, name = class_path.rpartition(".")
    for room in [module] if module else ROOMS:
        try:
            return resolve_name(f"{room}.{name}")
        except Exception:  # a user's module may raise anything; the parser imports it again and reports the error
            continue
    return None


def our_classes(*rooms: str) -> list[str]:
    """The short names of our classes, in these rooms or in all."""
    return [name for room in rooms or ROOMS for name in names_in(room) if name[:1].isupper()]


def spelled(name: str, key: str) -> str:
    """The dotted path of the class that a short name means in any case ("dps" is rps.samplers.Dps), else the name.

    key: where it is given, e.g. "sampler"; its room comes before the others. A name that is exact stays as it is.
    """
    if "." in name or not name.isidentifier():
        return name
    rooms = (ROOM_OF[key], *ROOMS)
    if name in our_classes(*rooms):
        return name
    meant = (f"{room}.{own}" for room in rooms for own in our_classes(room) if own.lower() == name.lower())
    return next(meant, name)


def class_of(section: Any) -> str | None:
    """The class that a section names, as a text or as class_path; None if it names none."""
    return section if isinstance(section, str) else section.get("class_path") if isinstance(section, dict) else None


def names_in(path: str) -> list[str]:
    """The attributes of a module or class; empty if it cannot be imported."""
    try:
        return dir(resolve_name(path))
    except (ImportError, AttributeError, ValueError):
        return []


def parameters(class_path: str) -> list[str]:
    """The arguments of a class or function; empty if it cannot be found."""
    return list(_all_defaults(class_path))


def _all_defaults(class_path: str) -> dict[str, Any]:
    """Argument -> default, None if it has none; the parser resolves **kwargs."""
    from jsonargparse import ArgumentParser

    found, parser = find(class_path), ArgumentParser(exit_on_error=False)
    if not callable(found):
        return {}
    add = parser.add_class_arguments if isinstance(found, type) else parser.add_function_arguments
    try:
        add(found, fail_untyped=False)
        return parser.get_defaults().as_dict()
    except Exception:  # a class that the parser cannot read; the parser reports why when the class is used
        return dict.fromkeys(_signature(class_path))


def defaults(class_path: str) -> dict[str, Any]:
    """The defaults of a class or function that are plain data."""
    required = {name for name, parameter in _signature(class_path).items() if parameter.default is parameter.empty}
    plain = {k: v for k, v in _all_defaults(class_path).items() if v is None or isinstance(v, _PLAIN)}
    return {name: value for name, value in plain.items() if name not in required}


def types(class_path: str) -> dict[str, Any]:
    """The annotations of the arguments of a class or function, as text if they cannot be evaluated."""
    return {name: parameter.annotation for name, parameter in _signature(class_path, evaluated=True).items()}


def may_be_class(kind: Any) -> bool:
    """Whether the parser may create an object for an argument of this type; False if all its types are plain."""
    if isinstance(kind, str):  # it cannot be evaluated
        names = re.sub(r"\[[^\[\]]*\]", "", kind).split("|")
        return not all(
            name.strip() in ("str", "int", "float", "bool", "None", "Path", "dict", "list") for name in names
        )
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return any(may_be_class(part) for part in get_args(kind))
    return not (kind is None or origin is Literal or (origin or kind) in _NO_CLASSES)


def item_type(kind: Any) -> Any:
    """The value type of a mapping type, also within a union; str if there is no mapping."""
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else [kind]
    for part in parts:
        if isinstance(origin := get_origin(part), type) and issubclass(origin, Mapping):
            return get_args(part)[-1]
    return str


def _signature(class_path: str, evaluated: bool = False) -> dict[str, inspect.Parameter]:
    """The parameters of a class or function, including those that **kwargs pass to base classes."""
    found = find(class_path)
    owners = [kind for kind in found.__mro__ if "__init__" in vars(kind)] if isinstance(found, type) else [found]
    result: dict[str, inspect.Parameter] = {}
    for owner in owners:
        try:
            own = inspect.signature(owner).parameters
        except (TypeError, ValueError):  # not found, or without a signature
            break
        if evaluated:
            with suppress(Exception):  # names that only a type checker imports
                own = inspect.signature(owner, eval_str=True).parameters
        result = {**own, **result}
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in own.values()):
            break
    return {name: p for name, p in result.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
