"""Classes by the names that users give them: short ones of ours, and dotted paths."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

OURS = ("rps", "modules", "datamodules", "configs")
ROOMS = ("modules", "datamodules", "rps.operators", "rps.priors", "rps.estimators", "rps.samplers", "rps.callbacks")

_PLAIN = (bool, int, float, str, list, tuple)


def find(class_path: str) -> Any:
    """The class or function of a dotted path, or the one of ours of a short name; None where there is none."""
    module, _, name = class_path.rpartition(".")
    for room in [module] if module else ROOMS:
        try:
            return getattr(_import(room), name)
        except Exception:  # a user's module raises what it likes; the parser imports it again and tells what is wrong
            continue
    return None


def is_ours(name: str) -> bool:
    """Is it the short name or the dotted path of a class of ours? Nothing else is imported to answer."""
    if "." in name:
        return name.partition(".")[0] in OURS and isinstance(find(name), type)
    return name in our_classes()


def our_classes() -> list[str]:
    """The short names."""
    return [name for room in ROOMS for name in names_in(room) if name[:1].isupper()]


def names_in(path: str) -> list[str]:
    """What a module, or a class, has; nothing when there is no such module."""
    try:
        return dir(_import(path)) if path else []
    except (ImportError, AttributeError):
        return []


def parameters(class_path: str) -> list[str]:
    """What a class or function takes, by its name; nothing when it cannot be found."""
    return list(_signature(class_path))


def defaults(class_path: str) -> dict[str, Any]:
    """What a class or function takes if not told otherwise, where that is plain data."""
    values = {name: parameter.default for name, parameter in _signature(class_path).items()}
    return {name: value for name, value in values.items() if value is None or isinstance(value, _PLAIN)}


def _signature(class_path: str) -> Mapping[str, inspect.Parameter]:
    try:
        found = inspect.signature(find(class_path)).parameters
    except (TypeError, ValueError):  # not found, or without a signature
        return {}
    return {name: parameter for name, parameter in found.items() if name not in ("args", "kwargs")}


def _import(path: str) -> Any:
    """A module, or a class inside one."""
    try:
        return import_module(path)
    except ImportError:
        module, _, name = path.rpartition(".")
        return getattr(import_module(module), name) if module else None
