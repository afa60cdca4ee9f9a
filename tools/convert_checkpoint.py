"""Convert a checkpoint of guided-diffusion (.pt) or CompVis' latent-diffusion (.ckpt) into a diffusers folder.

    python tools/convert_checkpoint.py ffhq_10m.pt models/ffhq
    python tools/convert_checkpoint.py 64x64_diffusion.pt models/in64 --attention-order new --noise-schedule cosine
    python tools/convert_checkpoint.py ldm/ffhq256/model.ckpt models/ffhq_ldm
    python tools/convert_checkpoint.py ldm/cin256-v2/model.ckpt models/imagenet_ldm
    python tools/convert_checkpoint.py kl/model.ckpt models/kl_ldm --scale-factor 0.18215

DiffusersPrior.from_pretrained and diffusers' DDPMPipeline read the folder of a .pt; GuidedDiffusionPrior reads the .pt
itself. LatentPrior.from_pretrained reads the folder of a .ckpt, unconditional or class-conditional. Weights are saved
as safetensors. Only tensors are read from a checkpoint; no code in it runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rps.priors.checkpoints.compvis_ldm import is_latent_diffusion, latent_diffusion
from rps.priors.checkpoints.guided_diffusion import architecture_of, network_of
from rps.priors.checkpoints.torch_files import State, Unfit, read_tensors


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="the .pt, .ckpt or .safetensors file")
    parser.add_argument("output", type=Path, help="folder to write; it must be new or empty")
    heads = parser.add_mutually_exclusive_group()
    heads.add_argument("--head-channels", type=int, help="num_head_channels in training; known for published shapes")
    heads.add_argument("--num-heads", type=int, help="num_heads in training, if it had no num_head_channels")
    parser.add_argument("--image-size", type=int, help="default: such that the last level has 8 pixels; 256 for .ckpt")
    parser.add_argument("--attention-order", default="legacy", choices=["legacy", "new"], help="for .pt")
    parser.add_argument("--noise-schedule", default="linear", choices=["linear", "cosine"], help="for .pt")
    parser.add_argument("--last-weights", action="store_true", help="for .ckpt: not the moving averages")
    parser.add_argument(
        "--scale-factor", type=float, help="for .ckpt without that tensor: model.params.scale_factor of its YAML"
    )
    a = parser.parse_args(arguments)
    try:
        if a.output.exists() and (not a.output.is_dir() or any(a.output.iterdir())):
            raise ValueError(f"{a.output} is not empty; give a new folder")
        state = read_tensors(a.checkpoint)
        pipeline, size = latent_pipeline(state, a) if is_latent_diffusion(state) else pixel_pipeline(state, a)
    except Unfit as reason:
        print(f"error: {a.checkpoint} cannot be converted: {reason}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    pipeline.save_pretrained(a.output, safe_serialization=True)
    networks = [part for part in pipeline.components.values() if hasattr(part, "parameters")]
    count = sum(p.numel() for network in networks for p in network.parameters())
    print(f"{size} x {size} pixels, {count} parameters: {a.output}")
    return 0


def pixel_pipeline(state: State, a: argparse.Namespace) -> tuple[Any, int]:
    """(DDPMPipeline, image size) of a guided-diffusion checkpoint.  Errors: Unfit."""
    from diffusers import DDPMPipeline

    architecture = architecture_of(state, a.head_channels, a.num_heads, a.image_size)
    if feature := architecture.unsupported_feature():
        raise Unfit(
            f"the config of a UNet2DModel cannot express {feature}; GuidedDiffusionPrior reads the .pt as it is"
        )
    return DDPMPipeline(*network_of(state, architecture, a.attention_order, a.noise_schedule)), architecture.image_size


def latent_pipeline(state: State, a: argparse.Namespace) -> tuple[Any, int]:
    """(LDMPipeline, image size) of a latent-diffusion checkpoint.  Errors: Unfit."""
    from diffusers import LDMPipeline

    unet, autoencoder, scheduler = latent_diffusion(
        state, a.head_channels, a.num_heads, a.image_size, not a.last_weights, a.scale_factor
    )
    return LDMPipeline(vqvae=autoencoder, unet=unet, scheduler=scheduler), autoencoder.config.sample_size


if __name__ == "__main__":
    sys.exit(main())
