"""Reads tensors by name from a torch.save file (.pt, .ckpt) or .safetensors, without running any code in it."""

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
"""Packages whose classes PyTorch Lightning stores in checkpoints beside the tensors, for callbacks."""


WRAPPERS = ("module.", "model.")
"""Prefixes that DistributedDataParallel and training classes add to the name of every tensor."""
COMPILED = "_orig_mod."
"""Prefix that torch.compile adds to the names in the part of a network that it compiled."""


class Unfit(Exception):
    """The reason why a state dict cannot be used."""


class Inert:
    """A stand-in for a class of Lightning, which accepts any arguments and does nothing."""

    def __new__(cls, *arguments: Any, **options: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **options: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def read_tensors(path: str | Path) -> State:
    """The tensors in a file, by name, without the prefixes of wrapped networks (see `unwrap`); for a Lightning
    checkpoint, those in its "state_dict".

    Only tensors and plain values are unpickled (torch's weights_only), and no code runs: `Inert` replaces classes of
    Lightning, which is not imported.

    Errors: FileNotFoundError; Unfit if the file contains anything else, or is broken.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        hint = "; for a folder in diffusers format use DiffusersPrior.from_pretrained" if path.is_dir() else ""
        raise FileNotFoundError(f"there is no checkpoint file {path}{hint}")
    if path.suffix == ".safetensors":
        try:
            return unwrap(load_file(path))
        except Exception as error:
            raise Unfit("it is truncated or not a safetensors file; download it again") from error
    named = _named(path)
    try:
        with warnings.catch_warnings(), safe_globals([(Inert, name) for name in named if name.startswith(INERT)]):
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        other = [name for name in named if not name.startswith(INERT)]
        what = f" ({other[0]})" if other else ""
        raise Unfit(
            f"it contains more than tensors{what}, which could run code and is refused; if you trust its origin, save "
            "only the state dict of the network"
        ) from error
    except Exception as error:  # torch raises many exceptions, all of which mean that the file is unusable
        raise Unfit("it is truncated or not a file that torch.save wrote; download it again") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise Unfit("it is not a dictionary of tensors; save only the state dict of the network")
    return unwrap({str(name): value for name, value in state.items()})


def unwrap(state: State) -> State:
    """The state dict without COMPILED, and without those WRAPPERS with which all names begin.

    `model.diffusion_model.`, latent diffusion's name of its UNet, is kept.
    """
    state = {name.replace(COMPILED, ""): value for name, value in state.items()}
    while prefix := next((p for p in WRAPPERS if state and all(name.startswith(p) for name in state)), None):
        if all(name.startswith("model.diffusion_model.") for name in state):
            break
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _named(path: Path) -> list[str]:
    """Names of the globals in a file that have nothing to do with tensors; empty if the file cannot be inspected."""
    try:
        return sorted(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # torch raises many exceptions; reading the file reports what is wrong
        return []
