"""StableDiffusionPrior: Stable Diffusion 1.x, 2.x and XL in diffusers format, latent priors conditioned on text."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rps.measurement import Measurement
from rps.priors.base import Need
from rps.priors.diffusers_prior import guide
from rps.priors.latent_prior import LatentPrior, Posterior, load_autoencoder
from rps.priors.loading import SchedulerLoader, load, load_network
from rps.priors.speed import Speed
from rps.priors.text import TextEncoder


class Texts(NamedTuple):
    """Encoded texts.  hidden: [N, L, C]. pooled: [N, P] for SDXL, else None."""

    hidden: Tensor
    pooled: Tensor | None


class StableDiffusionPrior(LatentPrior):
    """A LatentPrior whose network is conditioned on a text by cross-attention and predicts eps or v.

    Args:
        unet: a UNet2DConditionModel.
        vae: an AutoencoderKL.
        scheduler: see DiffusersPrior.
        text: text encoder.
        prompt: description of the image. "{caption}" is replaced by the sample's caption, which the batch must contain;
            "" is no text.
        negative_prompt: text for the unconditional prediction u.
        guidance_scale: g of u + g (c - u), c and u the network's output with prompt and negative_prompt (arXiv
            2207.12598). Any g other than 1 needs two evaluations of the network, both of which are counted.
        image_size, scaling_factor, posterior, slicing, tiling, checkpointing, speed: see LatentPrior.
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
        speed: Speed = Speed(),
    ) -> None:
        super().__init__(
            unet, vae, scheduler, None, guidance_scale, image_size, scaling_factor, posterior, slicing, tiling,
            checkpointing, speed,
        )  # fmt: skip
        self.text, self.prompt, self.negative_prompt = text, prompt, negative_prompt
        self.evaluations = 1 if guidance_scale == 1 else 2
        if self.classes:
            raise ValueError(
                f"the network is conditioned on {self.classes} classes, but this prior gives it texts; use LatentPrior"
            )
        if unknown := set(re.findall(r"{\w*}", prompt + negative_prompt)) - {"{caption}"}:
            raise ValueError(
                f"a prompt contains {', '.join(sorted(unknown))}, but may only contain {{caption}}, the sample's own"
            )
        if "{caption}" in negative_prompt:
            raise ValueError("negative_prompt contains {caption}, but it is one text for all samples; remove {caption}")
        self.needs = Need("caption", "prompt") if "{caption}" in prompt else None
        for own in [negative_prompt] if self.needs else [negative_prompt, prompt]:
            text(own)  # raises errors before any data are read

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
        speed: Speed = Speed(),
    ) -> StableDiffusionPrior:
        """Loads a model from a folder or from the hub (e.g. stable-diffusion-v1-5/stable-diffusion-v1-5).

        Args:
            path: a folder as save_pretrained of StableDiffusionPipeline or StableDiffusionXLPipeline writes it, or the
                id of such a repository on the Hugging Face hub. For SDXL, the base model.
            revision: branch, tag or commit of a hub repository.
            dtype: precision of the networks' weights: float32, float16 or bfloat16. Everything else runs in float32.
            local_files_only: whether to use only local files and never contact the hub.
            prompt: description of the image. "{caption}" is replaced by the sample's caption; "" is no text.
            negative_prompt: text for the unconditional prediction.
            guidance_scale: scale of classifier-free guidance, see StableDiffusionPrior; 1 is none.
            image_size: height and width of the images; None derives it from the network's latents.
            scaling_factor: scale of the latents, if the config does not have the one used in training.
            posterior: latents of the autoencoder: their "mean", or a "sample", which is a function of (seed, id).
            slicing: whether to decode image by image, which needs less memory.
            tiling: whether to decode in overlapping tiles, which needs less memory but leaves seams.
            checkpointing: whether to recompute activations in the backward pass, with less memory and more time.
            speed: compilation and memory layout of the networks.
        """
        from diffusers import UNet2DConditionModel

        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        unet = load_network(UNet2DConditionModel, path, "unet", dtype, **options)
        if unet.config.get("encoder_hid_dim"):
            raise ValueError(
                f"cannot load {path!r}: it is conditioned on classes; use rps.priors.LatentPrior.from_pretrained"
            )
        pair = unet.config.get("addition_embed_type") == "text_time"
        return cls(
            unet,
            load_autoencoder(path, dtype, **options),
            load(SchedulerLoader, path, "scheduler", **options),
            TextEncoder.from_pretrained(path, dtype, pair, **{k: v for k, v in options.items() if v is not None}),
            prompt, negative_prompt, guidance_scale, image_size, scaling_factor, posterior, slicing, tiling,
            checkpointing, speed,
        )  # fmt: skip

    def condition(self, measurement: Measurement) -> Texts:
        """The encoded texts of the rows."""
        captions = self._own(measurement, self.needs) if self.needs else [""] * len(measurement)
        return self._texts([self.prompt.replace("{caption}", caption) for caption in captions])

    def predict(self, x: Tensor, time: Tensor, condition: Texts | None = None) -> Tensor:
        output = self._conditioned(x, time, condition or self._texts([self.prompt] * len(x)))
        if self.evaluations == 1:
            return output
        none = self._texts([self.negative_prompt] * len(x))
        return guide(output, self._conditioned(x, time, none), self.guidance_scale)

    def _conditioned(self, x: Tensor, time: Tensor, texts: Texts) -> Tensor:
        """The network's output for these texts."""
        unet: Any = self.unet
        extra: dict[str, Any] = {}
        if texts.pooled is not None:
            # SDXL's other conditions: (height, width) before a crop, its (top, left), and (height, width) after it.
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
