"""Held-out losses of an exported embedded prior by timestep band, and its unconditional samples.

python tools/evaluate_prior.py rps/assets/embedded/prior --samples sheet.png --count 256
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fashion_mnist
from train_prior import HELD_OUT, build_scheduler, to_float

BANDS = ((0, 50), (50, 200), (200, 500), (500, 1000))
SHEET = 64


@torch.no_grad()
def band_losses(unet: Any, images: np.ndarray, batch_size: int = 100, seed: int = 0) -> dict[str, dict[str, float]]:
    """Mean over images of the eps error (per pixel), t uniform in each band low <= t < high, and its standard error.
    images: uint8 [N,32,32].  The draws of t and eps depend on the seed alone, so two networks see the same ones."""
    abar = build_scheduler().alphas_cumprod
    x0, rows = to_float(images), {}
    for low, high in BANDS:
        generator = torch.Generator().manual_seed(seed)
        t = torch.randint(low, high, (len(x0),), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        a = abar[t].view(-1, 1, 1, 1)
        batches = zip((a.sqrt() * x0 + (1 - a).sqrt() * eps).split(batch_size), t.split(batch_size), strict=True)
        error = (torch.cat([unet(x, s).sample for x, s in batches]) - eps).square().mean((1, 2, 3))
        rows[f"{low}-{high}"] = {"loss": error.mean().item(), "standard_error": error.std().item() / len(error) ** 0.5}
    return rows


def sample(pipeline: Any, n: int, steps: int = 100, seed: int = 0) -> Tensor:
    """n ancestral DDPM samples (arXiv 2006.11239, algorithm 2) on a grid of `steps` timesteps: [n,1,32,32] in [0,1]."""
    images = pipeline(n, torch.Generator().manual_seed(seed), num_inference_steps=steps, output_type="np").images
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@torch.no_grad()
def sqrt_distance(samples: Tensor) -> float:
    """sqrt of the Frechet distance of samples [n,1,32,32] in [0,1] to the exported reference statistics."""
    from rps.metrics import EmbeddedFeatures, Statistics, frechet_distance

    network, pixels = EmbeddedFeatures(), (samples * 255).round() / 255
    statistics = Statistics.from_features(network(pixels))
    return frechet_distance(statistics, Statistics.load(network.reference)) ** 0.5


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="diffusers DDPMPipeline folder")
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEFAULT_FOLDER, help="folder of the idx files")
    parser.add_argument("--samples", type=Path, help=f"PNG to write: the first {SHEET} samples")
    parser.add_argument("--count", type=int, default=SHEET, help=f"samples to draw, in groups of {SHEET}")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args(arguments)
    from diffusers import DDPMPipeline

    pipeline: Any = DDPMPipeline.from_pretrained(a.model, torch_dtype=torch.float32)
    result: dict[str, Any] = {"model": str(a.model), "parameters": sum(p.numel() for p in pipeline.unet.parameters())}
    result["eps_loss"] = band_losses(pipeline.unet, fashion_mnist.load("train", a.data)[0][-HELD_OUT:], seed=a.seed)
    if a.samples:
        import torchvision

        groups = [sample(pipeline, SHEET, a.steps, a.seed + i) for i in range(a.count // SHEET)]
        result["sqrt_frechet_of_each_64"] = [sqrt_distance(g) for g in groups]
        a.samples.parent.mkdir(parents=True, exist_ok=True)
        torchvision.utils.save_image(groups[0], a.samples, nrow=8)
        result["sheet"] = str(a.samples)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
