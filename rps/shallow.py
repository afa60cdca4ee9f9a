"""Shallow copies of modules with some attributes set, which bind operators and priors to a batch."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def shallow_copy(module: Module, **attributes: Any) -> Module:
    """A copy of a module that shares its parameters and buffers and has these attributes; the module is unchanged."""
    clone = copy.copy(module)
    for own in ("_modules", "_parameters", "_buffers"):
        object.__setattr__(clone, own, dict(getattr(module, own)))
    for name, value in attributes.items():
        if isinstance(value, nn.Module):
            vars(clone).pop(name, None)
            clone._modules[name] = value
        else:
            object.__setattr__(clone, name, value)
    return clone
