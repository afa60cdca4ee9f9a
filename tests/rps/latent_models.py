"""Latent models for tests: tiny random ones on disk, in the real format, and a Gaussian one that is solved exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors import GaussianMixturePrior
from rps.priors.analytic.base import dense
from rps.priors.analytic.gaussian_mixture import GaussianMixture

Z_SHAPE = (1, 2, 4)
X_SHAPE = (1, 4, 4)


class LinearLatentPrior(GaussianMixturePrior):
    """z ~ N(0, S) in 8 dimensions, decoded by x = W z + b to 16 pixels; E is its pseudo-inverse."""

    latent = True

    def __init__(self, covariance: Tensor | float) -> None:
        means = torch.zeros(1, *Z_SHAPE, dtype=torch.float64)
        super().__init__(means, covariance if isinstance(covariance, float) else covariance[None])
        generator = torch.Generator().manual_seed(5)
        self.weight = torch.randn(16, 8, generator=generator, dtype=torch.float64) / 2
        self.offset = torch.randn(16, generator=generator, dtype=torch.float64) / 4

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return X_SHAPE

    def encode(self, image: Tensor) -> Tensor:
        inverse = torch.linalg.pinv(self.weight).to(image)
        return ((image.flatten(1) - self.offset.to(image)) @ inverse.T).view(-1, *Z_SHAPE)

    def decode(self, sample: Tensor) -> Tensor:
        return (sample.flatten(1) @ self.weight.T.to(sample) + self.offset.to(sample)).view(-1, *X_SHAPE)

    def posterior(self, measurement: Measurement) -> GaussianMixture:
        """p(z | y)."""
        operator: Any = measurement.operator
        y, n = measurement.y, len(measurement)
        shift = operator(self.offset.to(y).expand(n, -1).view(-1, *X_SHAPE))
        matrix = dense(measurement, y.flatten(1)) @ self.weight.to(y)
        return self.law(y).given_linear((y - shift).flatten(1), matrix, measurement.noise_std)


def latent_draws(prior: LinearLatentPrior, n: int) -> Tensor:
    """n images of the prior."""
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn(n, 8, generator=generator, dtype=torch.float64)
    z = prior.mixture.sample(torch.full((n, 1), 0.5, dtype=torch.float64), normal)
    return prior.decode(z.view(n, *Z_SHAPE))


def vae(**changes: Any) -> Any:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "in_channels": 3, "out_channels": 3, "latent_channels": 4, "block_out_channels": (8, 8), "norm_num_groups": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2, "sample_size": 16,
    }  # fmt: skip
    return AutoencoderKL(**settings | changes)


def vqvae(**changes: Any) -> Any:
    from diffusers import VQModel

    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "in_channels": 3, "out_channels": 3, "latent_channels": 3, "block_out_channels": (8, 8), "norm_num_groups": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
        "num_vq_embeddings": 32, "sample_size": 16,
    }  # fmt: skip
    model = VQModel(**settings | changes)
    model.quantize.embedding.weight.data.normal_()
    return model


def unet(channels: int = 4, **changes: Any) -> Any:
    from diffusers import UNet2DModel

    torch.manual_seed(1)
    settings: dict[str, Any] = {
        "sample_size": 8, "in_channels": channels, "out_channels": channels, "layers_per_block": 1,
        "block_out_channels": (8, 8), "down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2,
        "norm_num_groups": 4,
    }  # fmt: skip
    return UNet2DModel(**settings | changes)


def scheduler(**changes: Any) -> Any:
    from diffusers import DDIMScheduler

    settings = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    return DDIMScheduler(**settings | changes)


def save_ldm(folder: Path, autoencoder: Any = None, network: Any = None) -> str:
    """As CompVis/ldm-celebahq-256 lies on the hub: unet, vqvae, scheduler."""
    from diffusers import LDMPipeline

    LDMPipeline(vqvae=autoencoder or vqvae(), unet=network or unet(3), scheduler=scheduler()).save_pretrained(folder)
    return str(folder)


def save_stable_diffusion(folder: Path, xl: bool = False, prediction_type: str = "epsilon") -> str:
    """As Stable Diffusion and SDXL lie on the hub: vae, unet, scheduler, and tokenizer and text_encoder, once or
    twice."""
    from diffusers import UNet2DConditionModel

    width, projected = 8, 6
    more: dict[str, Any] = {}
    if xl:
        more = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4,
                "projection_class_embeddings_input_dim": projected + 6 * 4}  # fmt: skip
    torch.manual_seed(2)
    network = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width * (2 if xl else 1), attention_head_dim=2, norm_num_groups=4, **more,
    )  # fmt: skip
    network.save_pretrained(folder / "unet")
    vae(force_upcast=False).save_pretrained(folder / "vae")
    scheduler(prediction_type=prediction_type).save_pretrained(folder / "scheduler")
    for suffix in ("", "_2") if xl else ("",):
        save_text_encoder(folder, suffix, width, projected)
    return str(folder)


def save_text_encoder(folder: Path, suffix: str, width: int, projected: int) -> None:
    """A CLIP text encoder and a tokenizer of single letters, of at most 12 tokens."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    place = folder / f"tokenizer{suffix}"
    place.mkdir(parents=True)
    letters = [c + end for c in "abcdefghijklmnopqrstuvwxyz" for end in ("", "</w>")]
    vocabulary = {token: k for k, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (place / "vocab.json").write_text(json.dumps(vocabulary))
    (place / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(place, model_max_length=12)
    tokenizer.save_pretrained(place)
    torch.manual_seed(3)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=width, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=12, projection_dim=projected, bos_token_id=len(vocabulary) - 2,
        eos_token_id=len(vocabulary) - 1, pad_token_id=len(vocabulary) - 1,
    )  # fmt: skip
    kind = CLIPTextModelWithProjection if suffix else CLIPTextModel
    kind(config).save_pretrained(folder / f"text_encoder{suffix}")
