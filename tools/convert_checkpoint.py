"""Turn a checkpoint of guided-diffusion (ffhq_10m.pt, 256x256_diffusion_uncond.pt, ...) into a diffusers folder.

    python tools/convert_checkpoint.py ffhq_10m.pt models/ffhq
    python tools/convert_checkpoint.py 64x64_diffusion.pt models/in64 --attention-order new --noise-schedule cosine

The folder is what DiffusersPrior.from_pretrained and diffusers' DDPMPipeline read; weights are in safetensors. The same
.pt file goes to GuidedDiffusionPrior as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rps.priors.guided_diffusion import read_checkpoint


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="the .pt file")
    parser.add_argument("output", type=Path, help="folder to write; it must not exist or be empty")
    parser.add_argument("--head-channels", type=int, default=64, help="num_head_channels of its training")
    parser.add_argument("--attention-order", default="legacy", choices=["legacy", "new"])
    parser.add_argument("--noise-schedule", default="linear", choices=["linear", "cosine"])
    parser.add_argument("--image-size", type=int, help="default: 8 pixels at the last level")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    a = parse(arguments)
    try:
        if a.output.exists() and (not a.output.is_dir() or any(a.output.iterdir())):
            raise ValueError(f"{a.output} is not empty; give a new folder")
        unet, scheduler = read_checkpoint(
            a.checkpoint, a.head_channels, a.attention_order, a.noise_schedule, a.image_size
        )
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from diffusers import DDPMPipeline

    pipeline: Any = DDPMPipeline(unet, scheduler)
    pipeline.save_pretrained(a.output, safe_serialization=True)
    size, count = unet.config.sample_size, sum(p.numel() for p in unet.parameters())
    print(f"{size} x {size} pixels, {count} parameters: {a.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
