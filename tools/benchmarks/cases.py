"""Priors and images of the benchmarks: the embedded ones, and random networks of published sizes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rps.measurement import Measurement, degrade
from rps.operators import Operator, SuperResolution
from rps.priors import DiffusersPrior, EmbeddedLatentPrior, EmbeddedPrior, Prior, StableDiffusionPrior
from rps.priors.speed import Speed

Builder = Callable[..., Any]


def cast(network: nn.Module, dtype: str) -> nn.Module:
    """The network in this precision; diffusers' own `to` warns."""
    return nn.Module.to(network, getattr(torch, dtype))


def ffhq(dtype: str = "float32", speed: Speed = Speed()) -> Prior:
    """The network of ffhq_10m.pt: 128 channels, multiples 1 1 2 2 4 4, one residual block, attention at 16 x 16."""
    from diffusers import DDPMScheduler, UNet2DModel

    down, up = "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"
    unet = UNet2DModel(
        sample_size=256, in_channels=3, out_channels=6, layers_per_block=1,
        block_out_channels=(128, 128, 256, 256, 512, 512), attention_head_dim=64, resnet_time_scale_shift="scale_shift",
        downsample_type="resnet", upsample_type="resnet",
        down_block_types=(down, down, down, down, "AttnDownBlock2D", down),
        up_block_types=(up, "AttnUpBlock2D", up, up, up, up),
    )  # fmt: skip
    return DiffusersPrior(cast(unet, dtype), DDPMScheduler(), speed=speed)


class RandomText(nn.Module):
    """Replaces a text encoder by zeros of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hidden", torch.zeros(1, 77, 768))

    def forward(self, text: str) -> tuple[Any, None]:
        return self.hidden, None


def stable_diffusion(dtype: str = "float32", speed: Speed = Speed(), checkpointing: bool = False) -> Prior:
    """Stable Diffusion 1.5 at 512 x 512 with guidance: two network outputs per call."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    text: Any = RandomText()
    return StableDiffusionPrior(
        cast(unet, dtype), cast(vae, dtype), scheduler, text, prompt="", checkpointing=checkpointing, speed=speed,
    )  # fmt: skip


CASES: dict[str, Builder] = {
    "embedded": EmbeddedPrior,
    "embedded-latent": EmbeddedLatentPrior,
    "ffhq-256": ffhq,
    "sd-1.5-512": stable_diffusion,
    "sd-1.5-512, checkpointing": lambda *args, **options: stable_diffusion(*args, **options, checkpointing=True),
}


def images(prior: Prior, number: int) -> Tensor:
    """Embedded test images if they fit the prior, else random ones.  -> [N, C, H, W] on the prior's device."""
    device = prior.schedule.alpha_table.device
    if prior.image_shape == (1, 32, 32):
        from datamodules import Embedded  # imported here to keep it out of the processes that measure memory

        data = Embedded(limit=number, batch_size=number)
        data.setup("predict")
        return next(iter(data.predict_dataloader()))["image"].to(device)
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(number, *prior.image_shape, generator=generator) * 2 - 1).to(device)


def measure(prior: Prior, number: int, operator: Operator | None = None) -> Measurement:
    """Mean pooling by 4, or another operator, with noise of standard deviation .1."""
    return degrade(images(prior, number), operator or SuperResolution(4), 0.1)


def timed(job: Callable[[], Any], device: str = "cpu") -> tuple[float, Any]:
    """(seconds, the result) of a job: wall-clock time on a GPU; on the CPU that of the process, which other jobs on the
    machine affect least."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    start = clock()
    result = job()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start, result


def seconds(job: Callable[[], Any], device: str = "cpu") -> float:
    return timed(job, device)[0]
