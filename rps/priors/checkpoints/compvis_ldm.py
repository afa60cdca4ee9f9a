"""Converts checkpoints of the latent-diffusion code base (.ckpt, arXiv 2112.10752), unconditional or class-conditional,
to a UNet, an autoencoder and a scheduler of diffusers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rps.priors.checkpoints.compvis_autoencoder import AutoencoderShape, translate_autoencoder
from rps.priors.checkpoints.guided_unet import Architecture, fill, translate
from rps.priors.checkpoints.torch_files import State, Unfit

UNET, AVERAGED, FIRST, CLASSES = "model.diffusion_model.", "model_ema.", "first_stage_model.", "cond_stage_model."
TEXTS = ("cond_stage_model.transformer.", "cond_stage_model.model.", "conditioner.embedders.")
"""Prefixes of the text encoders of Stable Diffusion 1, 2 and XL."""
STABLE_DIFFUSION = (
    "it is Stable Diffusion, which rps.priors.StableDiffusionPrior.from_pretrained reads from a folder in diffusers "
    "format; convert it with diffusers' StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)"
)


class LatentDiffusion(NamedTuple):
    """The parts of a latent diffusion model.

    unet: a UNet2DModel or, if class-conditional, a UNet2DConditionModel whose encoder_hid_proj is the class table.
    autoencoder: a VQModel or an AutoencoderKL. scheduler: a DDIMScheduler.
    """

    unet: Any
    autoencoder: Any
    scheduler: Any


def is_latent_diffusion(state: State) -> bool:
    return any(name.startswith(UNET) for name in state)


def latent_diffusion(
    state: State,
    head_channels: int | None = None,
    num_heads: int | None = None,
    image_size: int | None = None,
    averaged: bool = True,
    scale_factor: float | None = None,
) -> LatentDiffusion:
    """The networks of a state dict: `model.diffusion_model.*`, `first_stage_model.*`, `cond_stage_model.embedding`.

    Args:
        state: see rps.priors.checkpoints.torch_files.read_tensors.
        head_channels, num_heads: heads of the UNet's attention layers, see rps.priors.checkpoints.heads.
        image_size: height and width of the images, which no tensor contains; None is 256.
        averaged: whether to use the moving averages of the UNet's weights (`model_ema.*`) if present, as CompVis do.
        scale_factor: scale of the latents. None uses the tensor of that name, which exists if training measured it;
            without it, a quantised autoencoder has 1, and a Gaussian one is refused.

    Errors: Unfit.
    """
    if any(name.startswith(TEXTS) for name in state):
        raise Unfit(STABLE_DIFFUSION)
    shape = AutoencoderShape.of(first := below(state, FIRST))
    stride, size = 2 ** (len(shape.channels) - 1), image_size or 256
    if size % stride:
        raise Unfit(f"image_size must be a multiple of {stride} for its autoencoder, got {size}")
    factor = scale_of(state, quantised=shape.codes is not None) if scale_factor is None else scale_factor
    if not 0 < factor < math.inf:
        raise Unfit(f"scale_factor must be a finite number > 0, got {factor}")
    theirs = unet_tensors(state, averaged)
    architecture = Architecture.of(theirs, head_channels, num_heads, size // stride, (shape.latent,))
    if feature := architecture.unsupported_feature():
        raise Unfit(f"the config of a UNet of diffusers cannot express {feature}")
    ours = translate(theirs, architecture)
    if architecture.context is None:
        unet = architecture.network()
    else:
        table = class_table(state, architecture.context)
        unet = class_conditional(architecture, len(table))
        # A one-hot class [1, K] times the table [K, C] is the class's row.
        ours["encoder_hid_proj.weight"] = table.T.contiguous()
        ours["encoder_hid_proj.bias"] = torch.zeros_like(table[0])
    fill(unet, ours)
    autoencoder = shape.network(size, factor)
    fill(autoencoder, translate_autoencoder(first, shape))
    return LatentDiffusion(unet.eval(), autoencoder.eval(), scheduler_of(state))


def below(state: State, prefix: str) -> State:
    """The tensors whose names begin with the prefix, named without it."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def unet_tensors(state: State, averaged: bool) -> State:
    """The tensors of the UNet, or their moving averages (whose names have no dots) if wanted and present."""
    last, means = below(state, UNET), below(state, AVERAGED)
    if not averaged or not means:
        return last
    names = {name: ("diffusion_model." + name).replace(".", "") for name in last}
    if lacking := [name for name, mean in names.items() if mean not in means]:
        raise Unfit(f"it has no moving average of {lacking[0]}; use the last weights instead (--last-weights)")
    return {name: means[mean] for name, mean in names.items()}


def scale_of(state: State, quantised: bool) -> float:
    """The scale_factor of the latents.  Errors: Unfit if only the YAML of the model has it."""
    if "scale_factor" in state:
        return float(state["scale_factor"])
    if not quantised:
        raise Unfit(
            "its autoencoder is Gaussian (KL), and the scale_factor of its latents is not among the tensors; give "
            "--scale-factor, the number under model.params.scale_factor in its YAML (1 if it has none)"
        )
    return 1.0


def class_table(state: State, context: int) -> Tensor:
    """The embedding of each class, [K, C].  Errors: Unfit."""
    table = state.get(CLASSES + "embedding.weight")
    if table is None or table.ndim != 2 or table.shape[1] != context:
        raise Unfit("it is not conditioned on classes; a model conditioned on texts must be in diffusers format")
    return table


def class_conditional(architecture: Architecture, classes: int) -> Any:
    """A UNet2DConditionModel without weights, on the meta device."""
    from diffusers import UNet2DConditionModel

    if architecture.updown:
        raise Unfit("it has both transformers and resblock_updown, which no UNet of diffusers supports")
    blocks = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")
    attended = [*architecture.attended[:-1], True]  # the middle has the heads of the last level
    levels = zip(architecture.channels, attended, strict=True)
    with torch.device("meta"):
        return UNet2DConditionModel(
            **architecture.shared_config(*blocks),
            cross_attention_dim=architecture.context,
            # UNet2DConditionModel takes the number of heads here.
            attention_head_dim=tuple(c // architecture.heads.width(c) if a else 1 for c, a in levels),
            encoder_hid_dim=classes,
            encoder_hid_dim_type="text_proj",
        )


def scheduler_of(state: State) -> Any:
    """A DDIMScheduler with the `betas` of the checkpoint; without any, with the published .0015 to .0195."""
    from diffusers import DDIMScheduler

    betas = state["betas"].double() if "betas" in state else _scaled_linear(0.0015, 0.0195, 1000)
    start, end = (round(betas[k].item(), 8) for k in (0, -1))  # they were float32
    options: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": start, "beta_end": end}
    if not torch.allclose(_scaled_linear(start, end, len(betas)), betas, rtol=1e-4, atol=0):
        options = {"trained_betas": betas.tolist()}
    return DDIMScheduler(num_train_timesteps=len(betas), clip_sample=False, set_alpha_to_one=False, **options)


def _scaled_linear(start: float, end: float, number: int) -> Tensor:
    return torch.linspace(start**0.5, end**0.5, number, dtype=torch.float64) ** 2
