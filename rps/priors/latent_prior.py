"""Latent diffusion models in diffusers format: a UNet on the latents of an autoencoder (arXiv 2112.10752)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.priors.diffusers_prior import EMBEDDED, DiffusersPrior, _load, _load_network, _Scheduler
from rps.priors.given import GivenPrior
from rps.randomness import Streams

Posterior = Literal["mean", "sample"]


class LatentPrior(DiffusersPrior):
    """z = c (E(x) - m), x = D(z / c + m): the diffusion runs in z. c and m are the autoencoder's scaling_factor and
    shift_factor; a VQModel whose config names no scaling_factor has c = 1.

    A VQModel encodes to what comes before the quantisation and quantises when it decodes, with a straight-through
    gradient; an AutoencoderKL encodes to a Gaussian.

    Args:
        unet: of the latents. vae: an AutoencoderKL or a VQModel of diffusers, or what is called like one.
        scheduler: see DiffusersPrior.
        class_label: the class of all images, for a network that is conditioned on one; None is each sample's own. See
            DiffusersPrior.
        guidance_scale: g of u + g (c - u), c and u the network's output with the sample's class and with its last
            class, which stands for none. The ImageNet model's published c + 3 (c - u) is g = 4. Other than 1, g doubles
            the network's time, and a call still counts as one.
        image_size: of square images; None is that of the network's own latents.
        scaling_factor: c, where the config has another one than the network was trained with.
        posterior: of an AutoencoderKL, the mean of the latents or a sample, which is a function of (seed, id).
        slicing, tiling: decode image by image or in overlapping tiles, in less memory. Tiles have seams.
        checkpointing: compute activations again in the backward pass, in less memory and more time.
    """

    latent = True

    def __init__(
        self,
        unet: nn.Module,
        vae: nn.Module,
        scheduler: Any,
        class_label: int | None = None,
        guidance_scale: float = 1.0,
        image_size: int | None = None,
        scaling_factor: float | None = None,
        posterior: Posterior = "mean",
        slicing: bool = False,
        tiling: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(unet, scheduler, class_label)
        config: Any = vae.config
        if posterior not in ("mean", "sample"):
            raise ValueError(f"posterior must be mean or sample, got {posterior!r}")
        if config.latent_channels != self.sample_shape[0]:
            raise ValueError(
                f"the UNet works on {self.sample_shape[0]} channels but the autoencoder has {config.latent_channels}; "
                "take both from one model"
            )
        self.stride = 2 ** (len(config.block_out_channels) - 1)
        size = self.sample_shape[1] * self.stride if image_size is None else image_size
        steps = self.stride * 2 ** (len(getattr(unet.config, "block_out_channels", (0,))) - 1)
        if image_size is not None and image_size % steps:
            raise ValueError(f"image_size must be a multiple of {steps} for this network, got {image_size}")
        self.sample_shape = (self.sample_shape[0], size // self.stride, size // self.stride)
        self._image_shape = (int(config.out_channels), size, size)
        self.vae = vae.eval().requires_grad_(False)
        self.scaling_factor = _scaling_factor(config) if scaling_factor is None else scaling_factor
        if not 0 < self.scaling_factor < math.inf:
            raise ValueError(f"scaling_factor must be a finite number > 0, got {self.scaling_factor}")
        if not math.isfinite(guidance_scale):
            raise ValueError(f"guidance_scale must be a finite number, got {guidance_scale}")
        self.shift_factor = float(config.get("shift_factor") or 0.0)
        self.guidance_scale, self.posterior = guidance_scale, posterior
        for wanted, name in ((slicing, "slicing"), (tiling, "tiling"), (checkpointing, "gradient_checkpointing")):
            for network in (vae,) if name != "gradient_checkpointing" else (vae, unet):
                if wanted:
                    _enable(network, name)

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        revision: str | None = None,
        dtype: str = "float32",
        local_files_only: bool = False,
        class_label: int | None = None,
        guidance_scale: float = 1.0,
        image_size: int | None = None,
        scaling_factor: float | None = None,
        posterior: Posterior = "mean",
        slicing: bool = False,
        tiling: bool = False,
        checkpointing: bool = False,
    ) -> LatentPrior:
        """The model in a folder or under a hub id (e.g. CompVis/ldm-celebahq-256).

        Args:
            path: a folder as a pipeline's save_pretrained writes it: unet/, scheduler/, and vae/ or vqvae/; or the id
                of such a repository on the Hugging Face hub.
            revision: branch, tag or commit of a hub repository.
            dtype: of the networks' weights: float32, float16 or bfloat16. Everything else runs in float32.
            local_files_only: never ask the hub.
            class_label, guidance_scale, image_size, scaling_factor, posterior, slicing, tiling, checkpointing: see
                LatentPrior.
        """
        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        kind = _load(_UNetKind, path, "unet", **options)
        return cls(
            _load_network(kind, path, "unet", dtype, **options),
            load_autoencoder(path, dtype, **options),
            _load(_Scheduler, path, "scheduler", **options),
            class_label, guidance_scale, image_size, scaling_factor, posterior, slicing, tiling, checkpointing,
        )  # fmt: skip

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._image_shape

    def given(self, measurement: Measurement) -> Prior:
        return GivenPrior(self, measurement) if self.posterior == "sample" else super().given(measurement)

    def predict(self, x: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        output = super().predict(x, time, condition)
        if self.guidance_scale == 1 or not self.classes:
            return output
        none = torch.full_like(time, self.classes - 1, dtype=torch.int64)
        return guided(output, super().predict(x, time, none), self.guidance_scale)

    def encode(self, image: Tensor, streams: Streams | None = None) -> Tensor:
        """Image [N, C, H, W] in [-1, 1] -> z [N, *sample_shape].

        streams: of the rows, for posterior = "sample"; without them it is the mean.
        """
        vae: Any = self.vae
        encoded = vae.encode(image.to(vae.dtype))
        if hasattr(encoded, "latents"):
            z = encoded.latents.to(image.dtype)
        else:
            law = encoded.latent_dist
            z = law.mean.to(image.dtype)
            if self.posterior == "sample" and streams is not None:
                z = z + law.std.to(image.dtype) * streams.at("encode").normal(z.shape[1:]).to(z)
        return (z - self.shift_factor) * self.scaling_factor

    def decode(self, sample: Tensor) -> Tensor:
        """z [N, *sample_shape] -> image [N, C, H, W], differentiable."""
        vae: Any = self.vae
        z = sample / self.scaling_factor + self.shift_factor
        return vae.decode(z.to(vae.dtype)).sample.to(sample.dtype)


class EmbeddedLatentPrior(LatentPrior):
    """The latent prior that ships with the package: 32x32 grey Fashion-MNIST images in latents of 4x8x8, trained by
    tools/train_latent.py."""

    def __init__(self) -> None:
        from diffusers import UNet2DModel

        path = str(EMBEDDED.parent / "latent_prior")
        options: dict[str, Any] = {"local_files_only": True}
        super().__init__(
            _load_network(UNet2DModel, path, "unet", "float32", **options),
            load_autoencoder(path, "float32", **options),
            _load(_Scheduler, path, "scheduler", **options),
        )


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """u + g (c - u), classifier-free guidance (arXiv 2207.12598)."""
    return unconditional + scale * (conditional - unconditional)


def load_autoencoder(path: str, dtype: str, **options: Any) -> Any:
    """The AutoencoderKL or VQModel in vae/ or vqvae/ of a folder or a hub repository; in float32 where its config says
    that it overflows in half precision (force_upcast)."""
    folder = Path(path)
    places = ["vae", "vqvae"]
    if folder.is_dir():
        places = [place for place in places if (folder / place / "config.json").is_file()]
        if not places:
            raise FileNotFoundError(
                f"{path} has no vae/config.json and no vqvae/config.json; give a folder of a latent model in diffusers "
                "format"
            )
    reason: ValueError | None = None
    for place in places:
        try:
            kind, upcast = _load(_AutoencoderKind, path, place, **options)
            return _load_network(kind, path, place, "float32" if upcast and dtype == "float16" else dtype, **options)
        except ValueError as error:
            reason = reason or error
    assert reason is not None
    raise reason


class _UNetKind:
    """The class that a UNet's config names: unconditional or with class_labels, or told a class by cross-attention."""

    config_name, what = "config.json", "a UNet"

    @staticmethod
    def from_pretrained(place: str, **options: Any) -> Any:
        from diffusers import UNet2DConditionModel, UNet2DModel

        config = UNet2DModel.load_config(place, **options)
        if config.get("_class_name") != "UNet2DConditionModel":
            return UNet2DModel
        if not config.get("encoder_hid_dim"):
            raise ValueError("it is told texts; use rps.priors.StableDiffusionPrior.from_pretrained")
        return UNet2DConditionModel


class _AutoencoderKind:
    """The class that an autoencoder's config names, and whether it must run in float32."""

    config_name, what = "config.json", "an autoencoder"

    @staticmethod
    def from_pretrained(place: str, **options: Any) -> tuple[Any, bool]:
        import diffusers

        config = diffusers.AutoencoderKL.load_config(place, **options)
        name = config.get("_class_name")
        if name not in ("AutoencoderKL", "VQModel"):
            raise ValueError(f"its config names {name!r}; an AutoencoderKL or a VQModel is needed")
        return getattr(diffusers, name), bool(config.get("force_upcast", False))


def _scaling_factor(config: Any) -> float:
    """c as the config has it; 1 for a quantised autoencoder whose config does not say."""
    unsaid = "scaling_factor" in config.get("_use_default_values", [])
    return 1.0 if unsaid and "num_vq_embeddings" in config else float(config.get("scaling_factor", 1.0))


def _enable(network: Any, name: str) -> None:
    try:
        getattr(network, f"enable_{name}")()
    except (AttributeError, NotImplementedError, ValueError) as error:
        raise ValueError(f"{type(network).__name__} has no {name.replace('_', ' ')}; leave it out") from error
