"""Tensors by name from a file of torch.save (.pt, .ckpt) or .safetensors, without running anything that lies in it."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

State = dict[str, Tensor]

INERT = ("pytorch_lightning.", "lightning.")
"""Classes of these packages lie in the checkpoints of PyTorch Lightning, beside the tensors, as names of callbacks."""


WRAPPERS = ("module.", "model.")
"""What DistributedDataParallel and training classes put before the name of every tensor."""
COMPILED = "_orig_mod."
"""What torch.compile puts before the names in the part of a network that it compiled."""


class Unfit(Exception):
    """Why a state dict is not what it should be."""


class Inert:
    """What is made in place of a class of Lightning: something that takes anything and does nothing."""

    def __new__(cls, *arguments: Any, **options: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **options: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def read_tensors(path: str | Path) -> State:
    """The tensors in a file, by name; of a Lightning checkpoint, those of its "state_dict". Without the prefixes of a
    network that was wrapped, see `unwrapped`.

    Nothing but tensors and plain values is unpickled (torch's weights_only), and no code runs: classes of Lightning,
    which is not imported, are replaced by `Inert`.

    Errors: FileNotFoundError; Unfit where the file holds something else, or is broken.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        hint = "; a folder in diffusers format goes to DiffusersPrior.from_pretrained" if path.is_dir() else ""
        raise FileNotFoundError(f"there is no checkpoint file {path}{hint}")
    if path.suffix == ".safetensors":
        try:
            return unwrapped(load_file(path))
        except Exception as error:
            raise Unfit("it is truncated, or no file of safetensors; download it again") from error
    named = _named(path)
    try:
        with warnings.catch_warnings(), safe_globals([(Inert, name) for name in named if name.startswith(INERT)]):
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        other = [name for name in named if not name.startswith(INERT)]
        what = f" ({other[0]})" if other else ""
        raise Unfit(
            f"it is no file of tensors alone; what else a pickle holds{what} could run code and is refused; where you "
            "trust its origin, save the state dict of the network alone"
        ) from error
    except Exception as error:  # torch raises many kinds; every one of them means that the file is unusable
        raise Unfit("it is truncated, or no file that torch.save wrote; download it again") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise Unfit("it holds something else than tensors by name; save the state dict of the network alone")
    return unwrapped({str(name): value for name, value in state.items()})


def unwrapped(state: State) -> State:
    """The state dict without COMPILED, and without the WRAPPERS with which all names begin.

    Latent diffusion's own name of its UNet, `model.diffusion_model.`, is kept.
    """
    state = {name.replace(COMPILED, ""): value for name, value in state.items()}
    while prefix := next((p for p in WRAPPERS if state and all(name.startswith(p) for name in state)), None):
        if all(name.startswith("model.diffusion_model.") for name in state):
            break
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _named(path: Path) -> list[str]:
    """What a file names that is not a matter of tensors; nothing of a file that cannot be looked into."""
    try:
        return sorted(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # torch raises many kinds; reading the file reports what is wrong
        return []
