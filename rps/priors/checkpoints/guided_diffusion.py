"""Checkpoints of the guided-diffusion code base (arXiv 2105.05233): a prior from the tensors in a .pt file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from rps.priors.checkpoints.guided_unet import Architecture, AttentionOrder, fill, translate
from rps.priors.checkpoints.torch_files import State, Unfit, read_tensors
from rps.priors.diffusers_prior import DiffusersPrior
from rps.priors.loading import dtype_of

NoiseSchedule = Literal["linear", "cosine"]
LATENT = "model.diffusion_model."
"""How the names of latent diffusion's networks begin."""


class GuidedDiffusionPrior(DiffusersPrior):
    """The network in a .pt file: `ffhq_10m.pt` of DPS, `256x256_diffusion_uncond.pt` and their class-conditional and
    other relatives. Only tensors are read from it. What the shapes do not say are the flags of its training:

    Args:
        path: the .pt file.
        class_label: the class of all images, for class-conditional networks; None is each sample's own.
        head_channels: num_head_channels.
        attention_order: "new" where use_new_attention_order was set (64x64_diffusion.pt).
        noise_schedule: of T = 1000 timesteps; "cosine" for 64x64_diffusion.pt.
        image_size: of square images; None derives it from the number of levels, 8 pixels at the last.
        dtype: of the network's weights: float32, float16 or bfloat16. Everything else runs in float32.
        num_heads: of every attention layer, for networks trained with num_heads and without num_head_channels. With
            neither, a network of a published shape has the published heads (64 channels each; 4 heads in
            128x128_diffusion.pt), and another is refused.
    """

    def __init__(
        self,
        path: str,
        class_label: int | None = None,
        head_channels: int | None = None,
        attention_order: AttentionOrder = "legacy",
        noise_schedule: NoiseSchedule = "linear",
        image_size: int | None = None,
        dtype: str = "float32",
        num_heads: int | None = None,
    ) -> None:
        flags = (head_channels, attention_order, noise_schedule, image_size)
        unet, scheduler = read_checkpoint(path, *flags, dtype=dtype_of(dtype), num_heads=num_heads)
        super().__init__(unet, scheduler, class_label)


def read_checkpoint(
    path: str | Path,
    head_channels: int | None = None,
    attention_order: AttentionOrder = "legacy",
    noise_schedule: NoiseSchedule = "linear",
    image_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    num_heads: int | None = None,
) -> tuple[Any, Any]:
    """(UNet2DModel, DDPMScheduler) of a .pt file; arguments as of GuidedDiffusionPrior.

    Errors: FileNotFoundError; ValueError where the file is not such a checkpoint.
    """
    if attention_order not in ("legacy", "new"):
        raise ValueError(f"attention_order must be legacy or new, got {attention_order!r}")
    if noise_schedule not in ("linear", "cosine"):
        raise ValueError(f"noise_schedule must be linear or cosine, got {noise_schedule!r}")
    try:
        theirs = read_tensors(path)
        architecture = architecture_of(theirs, head_channels, num_heads, image_size)
        return network_of(theirs, architecture, attention_order, noise_schedule, dtype)
    except Unfit as reason:
        raise ValueError(f"{path} is not a guided-diffusion checkpoint that can be used: {reason}") from reason


def architecture_of(
    theirs: State, head_channels: int | None = None, num_heads: int | None = None, image_size: int | None = None
) -> Architecture:
    """That of a state dict of guided-diffusion.  Errors: Unfit."""
    if any(name.startswith(LATENT) for name in theirs):
        raise Unfit("it is of latent diffusion; tools/convert_checkpoint.py makes a folder for LatentPrior of it")
    return Architecture.of(theirs, head_channels, num_heads, image_size)


def network_of(
    theirs: State,
    architecture: Architecture,
    attention_order: AttentionOrder = "legacy",
    noise_schedule: NoiseSchedule = "linear",
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, Any]:
    """(UNet2DModel, DDPMScheduler) of a state dict of guided-diffusion.  Errors: Unfit."""
    from diffusers import DDPMScheduler

    unet = architecture.network()
    fill(unet, translate(theirs, architecture, attention_order), dtype)
    betas = {"linear": "linear", "cosine": "squaredcos_cap_v2"}[noise_schedule]
    variance = "learned_range" if architecture.learned_variance else "fixed_small"
    return unet.eval(), DDPMScheduler(beta_schedule=betas, variance_type=variance)
