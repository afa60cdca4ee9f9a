"""Hashes of weights, in memory and in files, which identify the network that a figure was computed with."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from torch import nn


def network_hash(network: nn.Module) -> str:
    """SHA-256 of names, dtypes, shapes and bytes of all weights, on any device.  -> 64 hex digits."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file.  -> 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_file(path: str | Path, what: str, sha256: str | None = None) -> None:
    """Compares a file of weights with its SHA-256, or with the first digits of it at the end of its name.

    torchvision and torch-fidelity use such names, e.g. "vgg16-397923af.pth". A file with neither is accepted. what: the
    network, for messages. Errors: ValueError if they differ; FileNotFoundError.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path} with the weights of {what}")
    named = re.search("-([0-9a-f]{8,64})$", Path(path).stem)
    expected = (sha256 or (named.group(1) if named else "")).lower()
    if not expected:
        return
    digest = file_hash(path)
    if not digest.startswith(expected):
        raise ValueError(
            f"{path} is not the expected file of weights: its SHA-256 begins with {digest[: len(expected)]}, not "
            f"{expected}; download it again"
        )
