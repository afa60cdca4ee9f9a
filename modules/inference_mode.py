"""Leaves PyTorch's inference mode, in which a Trainer predicts by default and which forbids gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def no_inference_mode() -> Iterator[None]:
    """A context without inference mode and, as in Trainer(inference_mode=False), without gradients by default."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def normal(value: Any) -> Any:
    """A batch with clones of its tensors that were made in inference mode; everything else is the same object."""
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if isinstance(value, dict):
        return {name: normal(item) for name, item in value.items()}
    return value


def make_normal(module: nn.Module) -> None:
    """Replaces the tensors of a module that was built in inference mode by clones, tied ones by the same clone."""
    clones: dict[Tensor, Any] = {}
    held: dict[str, Any]
    for part in module.modules():
        for held in (part._parameters, part._buffers, vars(part)):
            for name, value in held.items():
                if isinstance(value, Tensor) and value.is_inference():
                    if value not in clones:
                        clone = value.detach().clone()
                        is_parameter = isinstance(value, nn.Parameter)
                        clones[value] = nn.Parameter(clone, value.requires_grad) if is_parameter else clone
                    held[name] = clones[value]
