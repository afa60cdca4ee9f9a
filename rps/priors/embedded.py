"""The priors that ship with the package: of 32x32 grey Fashion-MNIST images, and of patches of photographs."""

from __future__ import annotations

from typing import Any

from rps.cost import RelativeCost
from rps.priors.diffusers_prior import DiffusersPrior
from rps.priors.latent_prior import LatentPrior, load_autoencoder
from rps.priors.loading import EMBEDDED, SchedulerLoader, load, load_network
from rps.priors.speed import Speed


class EmbeddedPrior(DiffusersPrior):
    """The pixel prior, trained by tools/train_prior.py.

    Args:
        dtype: precision of the network's weights: float32, float16 or bfloat16. Everything else runs in float32.
        speed: compilation and memory layout of the network.
    """

    map_timestep = 100  # the best in 10 .. 200 over the embedded tasks (docs/embedded.md)
    relative_cost = RelativeCost(backward=1.15)  # tools/benchmark.py ratios

    def __init__(self, dtype: str = "float32", speed: Speed = Speed()) -> None:
        unet, scheduler = _parts("prior", dtype)
        super().__init__(unet, scheduler, speed=speed)


class EmbeddedConditionalPrior(DiffusersPrior):
    """The class-conditional pixel prior: the network of EmbeddedPrior with a table of classes, trained by
    tools/train_prior.py --conditional. Classes 0 .. 9 are those of Fashion-MNIST; 10 is "no class".

    Args:
        class_label: class of all images; None uses each sample's class, which datamodules.Embedded has.
        guidance_scale: g of u + g (c - u), see DiffusersPrior; 4 is c + 3 (c - u), the guidance of the ImageNet
            experiment of arXiv 2605.28711. 1 is none.
        dtype: precision of the network's weights: float32, float16 or bfloat16. Everything else runs in float32.
        speed: compilation and memory layout of the network.
    """

    map_timestep = EmbeddedPrior.map_timestep
    relative_cost = EmbeddedPrior.relative_cost

    def __init__(
        self,
        class_label: int | None = None,
        guidance_scale: float = 4.0,
        dtype: str = "float32",
        speed: Speed = Speed(),
    ) -> None:
        unet, scheduler = _parts("conditional_prior", dtype)
        super().__init__(unet, scheduler, class_label, speed=speed, guidance_scale=guidance_scale)


class EmbeddedLatentPrior(LatentPrior):
    """The latent prior: latents of 4x8x8, trained by tools/train_latent.py.

    Args:
        dtype: precision of the networks' weights: float32, float16 or bfloat16. Everything else runs in float32.
        speed: compilation and memory layout of the networks.
    """

    relative_cost = RelativeCost(backward=1.1, decoder_call=1.25, decoder_backward=1.2)  # tools/benchmark.py ratios

    def __init__(self, dtype: str = "float32", speed: Speed = Speed()) -> None:
        unet, scheduler = _parts("latent_prior", dtype)
        vae = load_autoencoder(str(EMBEDDED / "latent_prior"), dtype, local_files_only=True)
        super().__init__(unet, vae, scheduler, speed=speed)


class PhotoPrior(DiffusersPrior):
    """RGB patches of 64x64 pixels of photographs, trained by tools/train_photos.py (rps/assets/photo_prior/README.md).

    It knows edges and textures, no objects. rps.priors.TiledPrior restores pictures of any size with it.

    Args:
        dtype: precision of the network's weights: float32, float16 or bfloat16. Everything else runs in float32.
        speed: compilation and memory layout of the network.
    """

    def __init__(self, dtype: str = "float32", speed: Speed = Speed()) -> None:
        unet, scheduler = _parts("../photo_prior", dtype)
        super().__init__(unet, scheduler, speed=speed)


def _parts(name: str, dtype: str) -> tuple[Any, Any]:
    """(network, scheduler) of a shipped prior."""
    from diffusers import UNet2DModel

    path, options = str(EMBEDDED / name), {"local_files_only": True}
    return load_network(UNet2DModel, path, "unet", dtype, **options), load(
        SchedulerLoader, path, "scheduler", **options
    )
