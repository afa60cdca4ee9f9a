"""GuidedDiffusionPrior: a prior from a .pt checkpoint of the guided-diffusion code base (arXiv 2105.05233)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from rps.priors.checkpoints.guided_unet import Architecture, AttentionOrder, fill, translate
from rps.priors.checkpoints.torch_files import State, Unfit, read_tensors
from rps.priors.diffusers_prior import DiffusersPrior
from rps.priors.loading import dtype_of
from rps.priors.speed import Speed

NoiseSchedule = Literal["linear", "cosine"]
LATENT = "model.diffusion_model."
"""Prefix of the UNet in latent-diffusion checkpoints."""


class GuidedDiffusionPrior(DiffusersPrior):
    """The network in a .pt file: `ffhq_10m.pt` of DPS, `256x256_diffusion_uncond.pt` and similar networks, also
    class-conditional ones. Only tensors are read. The arguments are training flags that the shapes do not reveal.

    Args:
        path: .pt file.
        class_label: class of all images, for class-conditional networks; None uses each sample's class.
        head_channels: channels per attention head, num_head_channels in training.
        attention_order: "new" if use_new_attention_order was set in training (64x64_diffusion.pt), else "legacy".
        noise_schedule: schedule over T = 1000 timesteps, "linear" or "cosine" (64x64_diffusion.pt).
        image_size: height and width of the images; None derives it from the number of levels, 8 pixels at the last.
        dtype: precision of the network's weights: float32, float16 or bfloat16. Everything else runs in float32.
        num_heads: heads of every attention layer, for networks trained with num_heads and not num_head_channels. With
            neither, a published shape uses its published heads (64 channels each; 4 heads in 128x128_diffusion.pt),
            and any other shape is refused.
        speed: compilation and memory layout of the network.
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
        speed: Speed = Speed(),
    ) -> None:
        flags = (head_channels, attention_order, noise_schedule, image_size)
        unet, scheduler = read_checkpoint(path, *flags, dtype=dtype_of(dtype), num_heads=num_heads)
        super().__init__(unet, scheduler, class_label, speed=speed)


def read_checkpoint(
    path: str | Path,
    head_channels: int | None = None,
    attention_order: AttentionOrder = "legacy",
    noise_schedule: NoiseSchedule = "linear",
    image_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    num_heads: int | None = None,
) -> tuple[Any, Any]:
    """(UNet2DModel, DDPMScheduler) from a .pt file; for the arguments see GuidedDiffusionPrior.

    Errors: FileNotFoundError; ValueError if the file is not such a checkpoint.
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
        raise ValueError(f"{path} is not a usable guided-diffusion checkpoint: {reason}") from reason


def architecture_of(
    theirs: State, head_channels: int | None = None, num_heads: int | None = None, image_size: int | None = None
) -> Architecture:
    """The architecture of a guided-diffusion state dict.  Errors: Unfit."""
    if any(name.startswith(LATENT) for name in theirs):
        raise Unfit("it is of latent diffusion; tools/convert_checkpoint.py converts it into a folder for LatentPrior")
    return Architecture.of(theirs, head_channels, num_heads, image_size)


def network_of(
    theirs: State,
    architecture: Architecture,
    attention_order: AttentionOrder = "legacy",
    noise_schedule: NoiseSchedule = "linear",
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, Any]:
    """(UNet2DModel, DDPMScheduler) from a guided-diffusion state dict.  Errors: Unfit."""
    from diffusers import DDPMScheduler

    unet = architecture.network()
    fill(unet, translate(theirs, architecture, attention_order), dtype)
    betas = {"linear": "linear", "cosine": "squaredcos_cap_v2"}[noise_schedule]
    variance = "learned_range" if architecture.learned_variance else "fixed_small"
    return unet.eval(), DDPMScheduler(beta_schedule=betas, variance_type=variance)
