"""Train and export the embedded latent prior: a KL autoencoder (1x32x32 to 4x8x8) and a UNet on its latents
(arXiv 2112.10752), on Fashion-MNIST.

python tools/train_latent.py autoencoder --max-minutes 40    # repeating the command resumes
python tools/train_latent.py unet --max-minutes 60           # needs the autoencoder's checkpoint
python tools/train_latent.py export --output FOLDER          # vae, unet and scheduler in diffusers format, fp16
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fashion_mnist
import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset
from train_prior import PriorTraining
from training import HELD_OUT, BudgetedTraining, add_arguments, averaged, budget, build_unet, either, fit, to_float

LATENT = (4, 8, 8)
OUTPUT = Path(__file__).resolve().parent.parent / "rps/assets/embedded/latent_prior"


def build_vae(channels: Sequence[int]) -> Any:
    """One residual layer per block, stride 4.  (16, 32, 64): .7 M parameters."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=LATENT[0], sample_size=fashion_mnist.SIZE,
        block_out_channels=tuple(channels), down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels), layers_per_block=1, norm_num_groups=8,
    )  # fmt: skip


class AutoencoderTraining(BudgetedTraining):
    """min E |x - D(z)|_1 + |grad x - grad D(z)|_1 + kl_weight KL(q(z|x) || N(0, I)), z ~ q(z|x), summed per image.

    The differences of neighbouring pixels keep edges sharp. There is no feature loss, because the Frechet distance is
    measured with the embedded classifier.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 64), kl_weight: float = 1e-6, **budget: Any) -> None:
        super().__init__(channels, **budget)
        self.vae, self.kl_weight = build_vae(channels), kl_weight

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        (x,) = batch
        x = either(x, x.flip(-1))
        posterior = self.vae.encode(x).latent_dist
        error = (self.vae.decode(posterior.sample()).sample - x).float()
        pixels = error.abs().sum() / len(x)
        edges = sum(error.diff(dim=axis).abs().sum() for axis in (2, 3)) / len(x)
        kl = posterior.kl().mean()
        return self.report(pixels + edges + self.kl_weight * kl, pixels=pixels, edges=edges, kl=kl)


class LatentTraining(PriorTraining):
    """PriorTraining on scaled latents.  A batch has the latents of the images and of the flipped images."""

    @staticmethod
    def build(channels: Sequence[int], classes: int | None = None) -> tuple[Any, Any]:
        """(network, scheduler): sqrt(beta_t) linear from sqrt(.0015) to sqrt(.0195), T = 1000, as in latent diffusion
        (arXiv 2112.10752).  channels (64, 96): 1.9 M parameters."""
        from diffusers import DDPMScheduler

        betas: dict[str, Any] = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear"}
        scheduler = DDPMScheduler(num_train_timesteps=1000, clip_sample=False, **betas)
        return build_unet(channels, LATENT[1], LATENT[0], LATENT[0], len(channels), classes), scheduler

    def draw(self, batch: list[Tensor]) -> Tensor:
        z, flipped = batch
        return either(z, flipped)


@torch.no_grad()
def latents(vae: Any, images: Tensor, batch_size: int = 500) -> Tensor:
    """The means of q(z|x), not scaled.  images: [N,1,32,32] in [-1,1] -> [N,4,8,8]."""
    return torch.cat([vae.encode(x).latent_dist.mode() for x in images.split(batch_size)])


def load_vae(checkpoint: Path) -> Any:
    """The averaged autoencoder of a checkpoint."""
    state, weights = averaged(checkpoint, "vae", "autoencoder")
    vae = build_vae(state["prior"]["channels"])
    vae.load_state_dict(weights)
    return vae.eval()


def train_unet(images: np.ndarray, autoencoder: Path, folder: Path, module: LatentTraining, **options: Any) -> None:
    """Trains on the latents of the images, scaled to unit variance; the factor is saved in folder/scaling.json.
    images: uint8 [N,32,32]. options: passed to training.fit."""
    vae, x = load_vae(autoencoder), to_float(images)
    z, flipped = latents(vae, x), latents(vae, x.flip(-1))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scaling.json"
    if not path.is_file():
        path.write_text(json.dumps({"scaling_factor": 1 / float(torch.cat([z, flipped]).std())}) + "\n")
    factor = json.loads(path.read_text())["scaling_factor"]
    print(f"scaling factor {factor:.4f}: {path}")
    fit(module, TensorDataset(z * factor, flipped * factor), folder, **options)


def export(autoencoder: Path, unet_folder: Path, output: Path) -> None:
    """The averaged weights -> output/{vae,unet,scheduler,model_index.json}, fp16 safetensors."""
    import diffusers

    vae = load_vae(autoencoder)
    state, weights = averaged(unet_folder / "last.ckpt", "unet", "unet")
    unet, scheduler = LatentTraining.build(state["prior"]["channels"])
    unet.load_state_dict(weights)
    vae.register_to_config(scaling_factor=json.loads((unet_folder / "scaling.json").read_text())["scaling_factor"])
    parts = {"vae": vae.half(), "unet": unet.half(), "scheduler": scheduler}
    for name, part in parts.items():
        part.save_pretrained(output / name)
    index = {name: ["diffusers", type(part).__name__] for name, part in parts.items()}
    header = {"_class_name": "DiffusionPipeline", "_diffusers_version": diffusers.__version__}
    (output / "model_index.json").write_text(json.dumps(header | index, indent=2) + "\n")
    sizes = ", ".join(f"{name} {sum(p.numel() for p in parts[name].parameters())}" for name in ("vae", "unet"))
    print(f"step {state['global_step']}, parameters: {sizes}: {output}")


@torch.no_grad()
def reconstruction_rmse(vae: Any, images: np.ndarray) -> float:
    """Mean over images of sqrt(mean((x - D(E(x)))^2)), in [0,1], D(E(x)) clipped.  images: uint8 [N,32,32]."""
    x = to_float(images)
    decoded = torch.cat([vae.decode(z).sample for z in latents(vae, x).split(500)]).clamp(-1, 1)
    return float(((x - decoded) / 2).square().flatten(1).mean(1).sqrt().mean())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    defaults = {"autoencoder": (20000, [16, 32, 64]), "unet": (40000, [64, 96])}
    for name, (steps, channels) in defaults.items():
        t = commands.add_parser(name, help=f"train the {name}, or resume")
        add_arguments(t, "runs/train_latent", channels, steps, 64)
    e = commands.add_parser("export", help="checkpoints -> diffusers folder")
    e.add_argument("--output", type=Path, default=OUTPUT)
    e.add_argument("--folder", type=Path, default=Path("runs/train_latent"))
    a = parser.parse_args(arguments)
    autoencoder, unet = a.folder / "autoencoder", a.folder / "unet"
    if a.command == "export":
        return export(autoencoder / "last.ckpt", unet, a.output)
    images = fashion_mnist.load("train", a.data)[0]
    lightning.seed_everything(a.seed)
    options: dict[str, Any] = {"batch_size": a.batch_size, "precision": a.precision}
    if a.command == "unet":
        module = LatentTraining(a.channels, **budget(a))
        return train_unet(images[:-HELD_OUT], autoencoder / "last.ckpt", unet, module, **options)
    fit(
        AutoencoderTraining(a.channels, **budget(a)),
        TensorDataset(to_float(images[:-HELD_OUT])),
        autoencoder,
        **options,
    )
    rmse = reconstruction_rmse(load_vae(autoencoder / "last.ckpt"), images[-HELD_OUT:])
    return print(f"RMSE of D(E(x)) on {HELD_OUT} held-out images, in [0,1]: {rmse:.4f}")


if __name__ == "__main__":
    main()
