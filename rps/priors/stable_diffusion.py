"""Stable Diffusion 1.x, 2.x and XL in diffusers format: latent priors that are conditioned on texts."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rps.measurement import Measurement
from rps.priors.base import Need
from rps.priors.latent_prior import LatentPrior, Posterior, guided, load_autoencoder
from rps.priors.loading import SchedulerLoader, load, load_network
from rps.priors.text import TextEncoder


class Texts(NamedTuple):
    """hidden: [N, L, C]. pooled: [N, P], of SDXL."""

    hidden: Tensor
    pooled: Tensor | None


class StableDiffusionPrior(LatentPrior):
    """A LatentPrior whose network is conditioned on a text by cross-attention. It predicts eps or v, as the scheduler
    says.

    Args:
        unet: a UNet2DConditionModel. vae: an AutoencoderKL. scheduler: see DiffusersPrior.
        text: the text encoder.
        prompt: what the image shows. "{caption}" in it stands for the sample's own caption, which the batch must come
            with; "" is no text.
        negative_prompt: the text of the unconditional network.
        guidance_scale: g of u + g (c - u), c and u the network's output with prompt and negative_prompt (arXiv
            2207.12598). Other than 1, it takes two evaluations of the network, both of which are counted.
        image_size, scaling_factor, posterior, slicing, tiling, checkpointing: see LatentPrior.
    """

    def __init__(
        self,
        unet: nn.Module,
        vae: nn.Module,
        scheduler: Any,
        text: TextEncoder,
        prompt: str = "{caption}",
        negative_prompt: str = "",
        guidance_scale: float = 1.5,
        image_size: int | None = None,
        scaling_factor: float | None = None,
        posterior: Posterior = "sample",
        slicing: bool = False,
        tiling: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(
            unet, vae, scheduler, None, guidance_scale, image_size, scaling_factor, posterior, slicing, tiling,
            checkpointing,
        )  # fmt: skip
        self.text, self.prompt, self.negative_prompt = text, prompt, negative_prompt
        self.evaluations = 1 if guidance_scale == 1 else 2
        if self.classes:
            raise ValueError(
                f"the network knows {self.classes} classes, but this prior gives it texts; use LatentPrior"
            )
        if unknown := set(re.findall(r"{\w*}", prompt + negative_prompt)) - {"{caption}"}:
            raise ValueError(
                f"a prompt may hold {{caption}}, which stands for the sample's own, and no {', '.join(sorted(unknown))}"
            )
        if "{caption}" in negative_prompt:
            raise ValueError("negative_prompt is one text for all samples and cannot hold {caption}")
        self.needs = Need("caption", "prompt") if "{caption}" in prompt else None
        for own in [negative_prompt] if self.needs else [negative_prompt, prompt]:
            text(own)  # its errors, before any data are read

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        path: str,
        revision: str | None = None,
        dtype: str = "float32",
        local_files_only: bool = False,
        prompt: str = "{caption}",
        negative_prompt: str = "",
        guidance_scale: float = 1.5,
        image_size: int | None = None,
        scaling_factor: float | None = None,
        posterior: Posterior = "sample",
        slicing: bool = False,
        tiling: bool = False,
        checkpointing: bool = False,
    ) -> StableDiffusionPrior:
        """The model in a folder or under a hub id (e.g. stable-diffusion-v1-5/stable-diffusion-v1-5).

        Args:
            path: a folder as StableDiffusionPipeline.save_pretrained writes it, or StableDiffusionXLPipeline; or the id
                of such a repository on the Hugging Face hub. Of SDXL, its base model.
            revision: branch, tag or commit of a hub repository.
            dtype: of the networks' weights: float32, float16 or bfloat16. Everything else runs in float32.
            local_files_only: never ask the hub.
            prompt, negative_prompt, guidance_scale: see StableDiffusionPrior.
            image_size, scaling_factor, posterior, slicing, tiling, checkpointing: see LatentPrior.
        """
        from diffusers import UNet2DConditionModel

        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        unet = load_network(UNet2DConditionModel, path, "unet", dtype, **options)
        if unet.config.get("encoder_hid_dim"):
            raise ValueError(
                f"cannot load {path!r}: it is conditioned on a class; use rps.priors.LatentPrior.from_pretrained"
            )
        pair = unet.config.get("addition_embed_type") == "text_time"
        return cls(
            unet,
            load_autoencoder(path, dtype, **options),
            load(SchedulerLoader, path, "scheduler", **options),
            TextEncoder.from_pretrained(path, dtype, pair, **{k: v for k, v in options.items() if v is not None}),
            prompt, negative_prompt, guidance_scale, image_size, scaling_factor, posterior, slicing, tiling,
            checkpointing,
        )  # fmt: skip

    def condition(self, measurement: Measurement) -> Texts:
        """The texts of the rows, encoded."""
        captions = self._own(measurement, self.needs) if self.needs else [""] * len(measurement)
        return self._texts([self.prompt.replace("{caption}", caption) for caption in captions])

    def predict(self, x: Tensor, time: Tensor, condition: Texts | None = None) -> Tensor:
        output = self._conditioned(x, time, condition or self._texts([self.prompt] * len(x)))
        if self.evaluations == 1:
            return output
        none = self._texts([self.negative_prompt] * len(x))
        return guided(output, self._conditioned(x, time, none), self.guidance_scale)

    def _conditioned(self, x: Tensor, time: Tensor, texts: Texts) -> Tensor:
        """The network's output for these texts."""
        unet: Any = self.unet
        extra: dict[str, Any] = {}
        if texts.pooled is not None:
            # SDXL's other conditions: (height, width) before and (top, left) of a crop, and (height, width) after it.
            _, height, width = self.image_shape
            sizes = torch.tensor([height, width, 0, 0, height, width], device=x.device, dtype=x.dtype)
            added = {"text_embeds": texts.pooled.to(x.dtype), "time_ids": sizes.expand(len(x), 6)}
            extra["added_cond_kwargs"] = added
        return unet(x, time, encoder_hidden_states=texts.hidden.to(x.dtype), **extra).sample

    def _texts(self, texts: list[str]) -> Texts:
        encoded = [self.text(text) for text in texts or [""]]
        hidden = torch.cat([states for states, _ in encoded])[: len(texts)]
        pooled = [summary for _, summary in encoded if summary is not None]
        return Texts(hidden, torch.cat(pooled)[: len(texts)] if pooled else None)
