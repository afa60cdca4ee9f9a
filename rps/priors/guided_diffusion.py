"""Checkpoints of the guided-diffusion code base (arXiv 2105.05233): a prior from the tensors in a .pt file."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rps.priors.diffusers_prior import DiffusersPrior, _dtype
from rps.priors.guided_unet import Architecture, AttentionOrder, State, Unfit, translate

NoiseSchedule = Literal["linear", "cosine"]


class GuidedDiffusionPrior(DiffusersPrior):
    """The network in a .pt file: `ffhq_10m.pt` of DPS, `256x256_diffusion_uncond.pt` and their class-conditional and
    other relatives. Only tensors are read from it. What the shapes do not say are the flags of its training:

    Args:
        path: the .pt file.
        class_label: the class of all images, for class-conditional networks.
        head_channels: num_head_channels.
        attention_order: "new" where use_new_attention_order was set (64x64_diffusion.pt).
        noise_schedule: of T = 1000 timesteps; "cosine" for 64x64_diffusion.pt.
        image_size: of square images; None derives it from the number of levels, 8 pixels at the last.
        dtype: of the network's weights: float32, float16 or bfloat16. Everything else runs in float32.
    """

    def __init__(
        self,
        path: str,
        class_label: int | None = None,
        head_channels: int = 64,
        attention_order: AttentionOrder = "legacy",
        noise_schedule: NoiseSchedule = "linear",
        image_size: int | None = None,
        dtype: str = "float32",
    ) -> None:
        flags = (head_channels, attention_order, noise_schedule, image_size)
        unet, scheduler = read_checkpoint(path, *flags, dtype=_dtype(dtype))
        super().__init__(unet, scheduler, class_label)


def read_checkpoint(
    path: str | Path,
    head_channels: int = 64,
    attention_order: AttentionOrder = "legacy",
    noise_schedule: NoiseSchedule = "linear",
    image_size: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, Any]:
    """(UNet2DModel, DDPMScheduler) of a .pt file; arguments as of GuidedDiffusionPrior.

    Errors: FileNotFoundError; ValueError where the file is not such a checkpoint.
    """
    from diffusers import DDPMScheduler, UNet2DModel

    if attention_order not in ("legacy", "new"):
        raise ValueError(f"attention_order must be legacy or new, got {attention_order!r}")
    if noise_schedule not in ("linear", "cosine"):
        raise ValueError(f"noise_schedule must be linear or cosine, got {noise_schedule!r}")
    try:
        theirs = read_tensors(path)
        architecture = Architecture.of(theirs, head_channels, image_size)
        ours = translate(theirs, architecture, attention_order)
        with torch.device("meta"):
            unet = UNet2DModel(**architecture.config())
        for name, parameter in unet.state_dict().items():
            if name not in ours or ours[name].shape != parameter.shape:
                found = tuple(ours[name].shape) if name in ours else "nothing"
                raise Unfit(f"for {name} it has {found} instead of {tuple(parameter.shape)}")
        unet.load_state_dict({name: value.to(dtype) for name, value in ours.items()}, assign=True)
    except Unfit as reason:
        raise ValueError(f"{path} is not a guided-diffusion checkpoint that can be used: {reason}") from reason
    betas = {"linear": "linear", "cosine": "squaredcos_cap_v2"}[noise_schedule]
    variance = "learned_range" if architecture.learned_variance else "fixed_small"
    return unet.eval(), DDPMScheduler(beta_schedule=betas, variance_type=variance)


def read_tensors(path: str | Path) -> State:
    """The tensors in a .pt file, by name. Nothing else is unpickled, and no code runs.  Errors: Unfit."""
    path = Path(path).expanduser()
    if not path.is_file():
        hint = "; a folder in diffusers format goes to DiffusersPrior.from_pretrained" if path.is_dir() else ""
        raise FileNotFoundError(f"there is no checkpoint file {path}{hint}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise Unfit("it is no file of tensors alone; what else a pickle holds could run code and is refused") from error
    except Exception as error:  # torch raises many kinds; every one of them means that the file is unusable
        raise Unfit("it is truncated, or no file that torch.save wrote; download it again") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise Unfit("it holds something else than tensors by name; save the state dict of the network alone")
    return {str(name): value for name, value in state.items()}
