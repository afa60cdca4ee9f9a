"""Classes by the names that users give them: short ones of ours, and dotted paths."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

OURS = ("rps", "modules", "datamodules", "configs")
ROOMS = ("rps.operators", "rps.priors", "rps.estimators", "rps.samplers", "rps.callbacks", "modules", "datamodules")

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


def types(class_path: str) -> dict[str, Any]:
    """The annotations of what a class or function takes, as they are written."""
    return {name: parameter.annotation for name, parameter in _signature(class_path).items()}


def _signature(class_path: str) -> dict[str, inspect.Parameter]:
    """Of a class whose **kwargs go to its base class, with what that takes."""
    found = find(class_path)
    owners = [kind for kind in found.__mro__ if "__init__" in vars(kind)] if isinstance(found, type) else [found]
    taken: dict[str, inspect.Parameter] = {}
    for owner in owners:
        try:
            own = inspect.signature(owner).parameters
        except (TypeError, ValueError):  # not found, or without a signature
            break
        taken = {**own, **taken}
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in own.values()):
            break
    return {name: p for name, p in taken.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _import(path: str) -> Any:
    """A module, or a class inside one."""
    try:
        return import_module(path)
    except ImportError:
        module, _, name = path.rpartition(".")
        return getattr(import_module(module), name) if module else None
