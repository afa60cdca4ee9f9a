"""LatentPrior: latent diffusion models in diffusers format, a UNet on the latents of an autoencoder
(arXiv 2112.10752)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from rps.priors.diffusers_prior import DiffusersPrior, sample_size
from rps.priors.loading import SchedulerLoader, load, load_network
from rps.priors.speed import Speed

Posterior = Literal["mean", "sample"]


class LatentPrior(DiffusersPrior):
    """z = (E(x) - m) c / s, x = D(z s / c + m): the diffusion runs in z. c is the autoencoder's scaling_factor, m its
    latents_mean (one number per channel) or shift_factor, s its latents_std. Without them m = 0 and s = 1; a VQModel
    whose config has no scaling_factor has c = 1.

    A VQModel encodes without quantisation and quantises in the decoder, with a straight-through gradient; an
    AutoencoderKL encodes to a Gaussian.

    Args:
        unet: diffusion network on the latents.
        vae: a diffusers AutoencoderKL or VQModel, or an object with the same interface.
        scheduler: see DiffusersPrior.
        class_label: class of all images, for a class-conditional network; None uses each sample's class.
        guidance_scale: g of u + g (c - u), c and u the network's output with the sample's class and with the last
            class, which means "no class". The ImageNet model's published c + 3 (c - u) is g = 4. Any g other than 1
            needs two evaluations of the network, both of which are counted.
        image_size: height and width of the images; None derives it from the network's latents.
        scaling_factor: c, if the config does not have the one that the network was trained with.
        posterior: latents of an AutoencoderKL: their "mean", or a "sample", which is a function of (seed, id).
        slicing: whether to decode image by image, which needs less memory.
        tiling: whether to decode in overlapping tiles, which needs less memory but leaves seams.
        checkpointing: whether to recompute activations in the backward pass, with less memory and more time.
        speed: compilation and memory layout of the networks.
    """

    map_timestep, data_std = 50, math.inf
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
        speed: Speed = Speed(),
    ) -> None:
        config: Any = vae.config
        stride = 2 ** (len(config.block_out_channels) - 1)
        size = sample_size(unet.config, image_size, stride)
        super().__init__(unet, scheduler, class_label, size, speed, guidance_scale)
        if posterior not in ("mean", "sample"):
            raise ValueError(f"posterior must be mean or sample, got {posterior!r}")
        if config.latent_channels != self.sample_shape[0]:
            raise ValueError(
                f"the UNet has {self.sample_shape[0]} channels, but the autoencoder has {config.latent_channels}; "
                "use a UNet and an autoencoder from one model"
            )
        self.stride = stride
        self._image_shape = (int(config.out_channels), stride * size, stride * size)
        self.vae = vae.eval().requires_grad_(False)
        self.scaling_factor = _scaling_factor(config) if scaling_factor is None else scaling_factor
        if not 0 < self.scaling_factor < math.inf:
            raise ValueError(f"scaling_factor must be a finite number > 0, got {self.scaling_factor}")
        self.latents_mean = _per_channel(config, "latents_mean") or [float(config.get("shift_factor") or 0.0)]
        self.latents_std = _per_channel(config, "latents_std") or [1.0]
        if min(self.latents_std) <= 0:
            raise ValueError(f"latents_std of the autoencoder's config must be > 0, got {self.latents_std}")
        self.encodes = posterior
        for wanted, name in ((slicing, "slicing"), (tiling, "tiling"), (checkpointing, "gradient_checkpointing")):
            for network in (vae,) if name != "gradient_checkpointing" else (vae, unet):
                if wanted:
                    _enable(network, name)
        for part in ("encoder", "decoder"):
            speed.apply(getattr(vae, part, vae))

    @classmethod
    def from_pretrained(  # type: ignore[override]
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
        speed: Speed = Speed(),
    ) -> LatentPrior:
        """Loads a model from a folder or from the hub (e.g. CompVis/ldm-celebahq-256).

        Args:
            path: a folder as a pipeline's save_pretrained writes it: unet/, scheduler/, and vae/ or vqvae/; or the id
                of such a repository on the Hugging Face hub.
            revision: branch, tag or commit of a hub repository.
            dtype: precision of the networks' weights: float32, float16 or bfloat16. Everything else runs in float32.
            local_files_only: whether to use only local files and never contact the hub.
            class_label: class of all images, for a class-conditional network; None uses each sample's class.
            guidance_scale: scale of classifier-free guidance, see LatentPrior; 1 is none.
            image_size: height and width of the images; None derives it from the network's latents.
            scaling_factor: scale of the latents, if the config does not have the one used in training.
            posterior: latents of an AutoencoderKL: their "mean", or a "sample", which is a function of (seed, id).
            slicing: whether to decode image by image, which needs less memory.
            tiling: whether to decode in overlapping tiles, which needs less memory but leaves seams.
            checkpointing: whether to recompute activations in the backward pass, with less memory and more time.
            speed: compilation and memory layout of the networks.
        """
        options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
        kind = load(_UNetKind, path, "unet", **options)
        return cls(
            load_network(kind, path, "unet", dtype, **options),
            load_autoencoder(path, dtype, **options),
            load(SchedulerLoader, path, "scheduler", **options),
            class_label, guidance_scale, image_size, scaling_factor, posterior, slicing, tiling, checkpointing,
            speed,
        )  # fmt: skip

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._image_shape

    def encode(self, image: Tensor) -> Tensor:
        """Image [N, C, H, W] in [-1, 1] -> z [N, *sample_shape].

        With posterior = "sample", a prior that is bound to a measurement (`given`) draws from the random numbers of its
        rows; an unbound one uses the mean.
        """
        vae: Any = self.vae
        encoded = vae.encode(image.to(vae.dtype))
        if hasattr(encoded, "latents"):
            z = encoded.latents.to(image.dtype)
        else:
            law = encoded.latent_dist
            z = law.mean.to(image.dtype)
            if self.encodes == "sample" and self.streams is not None:
                z = z + law.std.to(image.dtype) * self.streams.at("encode").normal(z.shape[1:]).to(z)
        mean, std = self._normalisation(z)
        return (z - mean) * self.scaling_factor / std

    def decode(self, sample: Tensor) -> Tensor:
        """z [N, *sample_shape] -> image [N, C, H, W], differentiable."""
        vae: Any = self.vae
        mean, std = self._normalisation(sample)
        z = sample * std / self.scaling_factor + mean
        return vae.decode(z.to(vae.dtype)).sample.to(sample.dtype)

    def _normalisation(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """(m, s), shaped to broadcast over latents [N, C, H, W]."""
        mean, std = like.new_tensor(self.latents_mean), like.new_tensor(self.latents_std)
        return mean.view(-1, 1, 1), std.view(-1, 1, 1)


def load_autoencoder(path: str, dtype: str, **options: Any) -> Any:
    """The AutoencoderKL or VQModel in vae/ or vqvae/ of a folder or a hub repository; in float32 if its config states
    that it overflows in half precision (force_upcast)."""
    folder = Path(path)
    places = ["vae", "vqvae"]
    if folder.is_dir():
        places = [place for place in places if (folder / place / "config.json").is_file()]
        if not places:
            raise FileNotFoundError(
                f"{path} has neither vae/config.json nor vqvae/config.json; give the folder of a latent model in "
                "diffusers format"
            )
    reason: ValueError | None = None
    for place in places:
        try:
            kind, upcast = load(_AutoencoderKind, path, place, **options)
            return load_network(kind, path, place, "float32" if upcast and dtype == "float16" else dtype, **options)
        except ValueError as error:
            reason = reason or error
    assert reason is not None
    raise reason


class _UNetKind:
    """Loads the class named in a UNet's config: unconditional, or with classes by class_labels or cross-attention."""

    config_name, what = "config.json", "a UNet"

    @staticmethod
    def from_pretrained(place: str, **options: Any) -> Any:
        from diffusers import UNet2DConditionModel, UNet2DModel

        config = UNet2DModel.load_config(place, **options)
        if config.get("_class_name") != "UNet2DConditionModel":
            return UNet2DModel
        if not config.get("encoder_hid_dim"):
            raise ValueError("it is conditioned on texts; use rps.priors.StableDiffusionPrior.from_pretrained")
        return UNet2DConditionModel


class _AutoencoderKind:
    """Loads the class named in an autoencoder's config, and whether it must run in float32."""

    config_name, what = "config.json", "an autoencoder"

    @staticmethod
    def from_pretrained(place: str, **options: Any) -> tuple[Any, bool]:
        import diffusers

        config = diffusers.AutoencoderKL.load_config(place, **options)
        name = config.get("_class_name")
        if name not in ("AutoencoderKL", "VQModel"):
            raise ValueError(f"its config names {name!r}, expected AutoencoderKL or VQModel")
        return getattr(diffusers, name), bool(config.get("force_upcast", False))


def _scaling_factor(config: Any) -> float:
    """c from the config; 1 for a quantised autoencoder whose config does not set it."""
    unset = "scaling_factor" in config.get("_use_default_values", [])
    return 1.0 if unset and "num_vq_embeddings" in config else float(config.get("scaling_factor", 1.0))


def _per_channel(config: Any, name: str) -> list[float] | None:
    """The entry of an autoencoder's config with this name, one number per channel; None if there is none."""
    values = config.get(name)
    if values is None:
        return None
    numbers = [float(value) for value in values]
    if len(numbers) != config.latent_channels or not all(math.isfinite(number) for number in numbers):
        raise ValueError(
            f"{name} in the autoencoder's config must be {config.latent_channels} finite numbers, one per channel, got "
            f"{numbers}"
        )
    return numbers


def _enable(network: Any, name: str) -> None:
    try:
        getattr(network, f"enable_{name}")()
    except (AttributeError, NotImplementedError, ValueError) as error:
        raise ValueError(f"{type(network).__name__} does not support {name.replace('_', ' ')}; leave it out") from error
