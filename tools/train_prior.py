"""Train and export the embedded diffusion prior (Fashion-MNIST, 1x32x32, eps prediction; arXiv 2006.11239).

python tools/train_prior.py train --max-minutes 90        # the same command again resumes
python tools/train_prior.py export --output FOLDER        # the averaged weights, as a diffusers DDPMPipeline folder
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fashion_mnist
from training import BudgetedTraining, averaged, fit

HELD_OUT = 1000  # the last images of the training set, never trained on


def build_unet(channels: Sequence[int]) -> Any:
    """One residual layer a block, attention at the coarsest scale (8x8).  (32, 64, 96): 1.8 M parameters."""
    from diffusers import UNet2DModel

    plain = len(channels) - 1
    return UNet2DModel(
        sample_size=fashion_mnist.SIZE,
        in_channels=1,
        out_channels=1,
        block_out_channels=tuple(channels),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
        norm_num_groups=8,
        attention_head_dim=32,
    )


def build_scheduler() -> Any:
    """beta_t linear from 1e-4 to 0.02, T = 1000 (arXiv 2006.11239, section 4)."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")


def to_float(images: np.ndarray) -> Tensor:
    """uint8 [N,32,32] -> float [N,1,32,32] in [-1,1]."""
    return torch.from_numpy(images)[:, None].float() / 127.5 - 1


def stratified_timesteps(n: int, total: int = 1000) -> Tensor:
    """One t from each of n equal bins of 0..total-1, in random order: [n] int64."""
    u = (torch.randperm(n) + torch.rand(n)) / n
    return (u * total).long().clamp(max=total - 1)


class PriorTraining(BudgetedTraining):
    """min E |eps_theta(alpha_t x0 + sigma_t eps, t) - eps|^2; x0 is flipped in half of the draws."""

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 96),
        lr: float = 1e-3,
        warmup: int = 200,
        max_steps: int = 10000,
        max_minutes: float = math.inf,
        restart: float | None = None,
    ) -> None:
        super().__init__(channels, lr, warmup, max_steps, max_minutes, restart)
        self.unet, scheduler = self.build(channels)
        self.abar: Tensor
        self.register_buffer("abar", scheduler.alphas_cumprod, persistent=False)

    @staticmethod
    def build(channels: Sequence[int]) -> tuple[Any, Any]:
        """(network, scheduler)."""
        return build_unet(channels), build_scheduler()

    def draw(self, batch: list[Tensor]) -> Tensor:
        """x0 of a step."""
        (x0,) = batch
        return torch.where(torch.rand(len(x0), 1, 1, 1, device=x0.device) < 0.5, x0.flip(-1), x0)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x0 = self.draw(batch)
        t = stratified_timesteps(len(x0)).to(x0.device)
        abar = self.abar[t].view(-1, 1, 1, 1)
        eps = torch.randn_like(x0)
        prediction = self.unet(abar.sqrt() * x0 + (1 - abar).sqrt() * eps, t).sample
        return self.report(torch.nn.functional.mse_loss(prediction.float(), eps))


def train(images: np.ndarray, folder: Path, module: PriorTraining, batch_size: int = 32, **options: Any) -> None:
    """images: uint8 [N,32,32].  options: of training.fit."""
    fit(module, TensorDataset(to_float(images)), folder, batch_size, **options)


def export(checkpoint: Path, output: Path) -> None:
    """The averaged weights of a checkpoint -> a diffusers DDPMPipeline folder, fp16 safetensors."""
    from diffusers import DDPMPipeline

    state, weights = averaged(checkpoint, "unet")
    unet, scheduler = PriorTraining.build(state["prior"]["channels"])
    unet.load_state_dict(weights)
    pipeline: Any = DDPMPipeline(unet.half(), scheduler)
    pipeline.save_pretrained(output, safe_serialization=True)
    print(f"step {state['global_step']}, {sum(p.numel() for p in unet.parameters())} parameters: {output}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    t = commands.add_parser("train", help="train, or resume with the same command")
    t.add_argument("--data", type=Path, default=fashion_mnist.DEFAULT_FOLDER, help="folder of the idx files")
    t.add_argument("--folder", type=Path, default=Path("runs/train_prior"), help="checkpoint and log")
    t.add_argument("--max-steps", type=int, default=10000, help="those before a resume included")
    t.add_argument("--max-minutes", type=float, default=math.inf, help="those before a resume included")
    t.add_argument("--restart", type=float, help="fraction of the rate at which a resumed run with more time begins")
    t.add_argument("--batch-size", type=int, default=32)
    t.add_argument("--channels", type=int, nargs="+", default=[32, 64, 96])
    t.add_argument("--precision", default="32-true", help="bf16-mixed pays only on hardware with bf16 arithmetic")
    t.add_argument("--seed", type=int, default=0)
    e = commands.add_parser("export", help="checkpoint -> diffusers folder")
    e.add_argument("--output", type=Path, required=True)
    e.add_argument("--checkpoint", type=Path, default=Path("runs/train_prior/last.ckpt"))
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    a = parse(arguments)
    if a.command == "export":
        return export(a.checkpoint, a.output)
    images = fashion_mnist.load("train", a.data)[0][:-HELD_OUT]
    lightning.seed_everything(a.seed)
    module = PriorTraining(a.channels, max_steps=a.max_steps, max_minutes=a.max_minutes, restart=a.restart)
    return train(images, a.folder, module, a.batch_size, precision=a.precision)


if __name__ == "__main__":
    main()
