"""Train and export the embedded diffusion prior (Fashion-MNIST, 1x32x32, eps prediction; arXiv 2006.11239).

python tools/train_prior.py train --max-minutes 90        # the same command again resumes
python tools/train_prior.py export --output FOLDER        # the averaged weights, as a diffusers DDPMPipeline folder
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fashion_mnist

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


def ema_update(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
    """average <- d average + (1 - d) current, d = min(.999, (1 + updates) / (10 + updates)).
    The smaller d of the first updates lets a short run forget its start."""
    return average.lerp(current, 1 - min(0.999, float((1 + updates) / (10 + updates))))


class PriorTraining(lightning.LightningModule):
    """min E |eps_theta(alpha_t x0 + sigma_t eps, t) - eps|^2.  AdamW, warm-up, then a cosine to 0 over a budget.

    The cosine follows whichever budget is nearer its end.  A resumed run with another budget goes on from the rate it
    had and reaches 0 at the end of the new budget.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 96),
        lr: float = 1e-3,
        warmup: int = 200,
        max_steps: int = 10000,
        max_minutes: float = math.inf,
    ) -> None:
        super().__init__()
        self.unet = build_unet(channels)
        self.channels, self.lr, self.warmup = tuple(channels), lr, warmup
        self.budget: dict[str, float] = {"steps": max_steps, "minutes": max_minutes}
        self.anchor: dict[str, float] = {"steps": 0, "minutes": 0.0, "factor": 1.0}
        self.abar: Tensor
        self.register_buffer("abar", build_scheduler().alphas_cumprod, persistent=False)
        self.started = time.monotonic()

    def minutes(self) -> float:
        """Training minutes so far, those before a resume included."""
        return (time.monotonic() - self.started) / 60

    def progress(self) -> float:
        """0 at the anchor, 1 at the end of the nearer budget."""
        now = {"steps": self.global_step, "minutes": self.minutes()}
        parts = ((now[k] - self.anchor[k]) / max(self.budget[k] - self.anchor[k], 1e-9) for k in now)
        return min(1.0, max(parts))

    def cosine(self) -> float:
        return self.anchor["factor"] * (1 + math.cos(math.pi * self.progress())) / 2

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.unet.parameters(), lr=self.lr)

    def on_train_batch_start(self, batch: list[Tensor], batch_idx: int) -> None:
        self.rate = self.lr * self.cosine() * min(1.0, (self.global_step + 1) / self.warmup)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.rate

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        (x0,) = batch
        flip = torch.rand(len(x0), 1, 1, 1, device=x0.device) < 0.5
        x0 = torch.where(flip, x0.flip(-1), x0)
        t = stratified_timesteps(len(x0)).to(x0.device)
        abar = self.abar[t].view(-1, 1, 1, 1)
        eps = torch.randn_like(x0)
        prediction = self.unet(abar.sqrt() * x0 + (1 - abar).sqrt() * eps, t).sample
        loss = torch.nn.functional.mse_loss(prediction.float(), eps)
        self.log("loss", loss, prog_bar=True)
        self.log("lr", self.rate)
        self.log("minutes", self.minutes())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: list[Tensor], batch_idx: int) -> None:
        if self.progress() >= 1:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["prior"] = {"channels": list(self.channels), "budget": self.budget, "anchor": self.anchor,
                               "minutes": self.minutes(), "factor": self.cosine()}  # fmt: skip

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved, step = checkpoint["prior"], checkpoint["global_step"]
        if tuple(saved["channels"]) != self.channels:
            raise ValueError(f"the checkpoint has channels {saved['channels']}, this run {list(self.channels)}")
        self.started = time.monotonic() - 60 * saved["minutes"]
        torch.manual_seed(torch.initial_seed() + step)  # fresh draws after a resume
        if saved["budget"] == self.budget:
            self.anchor = saved["anchor"]
        else:
            self.anchor = {"steps": step, "minutes": saved["minutes"], "factor": saved["factor"]}


def train(
    images: np.ndarray,
    folder: Path,
    module: PriorTraining,
    batch_size: int = 32,
    every: int = 250,
    precision: Any = "32-true",
    progress: bool = True,
) -> None:
    """images: uint8 [N,32,32].  Trains to the module's budget, going on from folder/last.ckpt if there is one."""
    loader = DataLoader(TensorDataset(to_float(images)), batch_size, shuffle=True, drop_last=True)
    checkpoint = ModelCheckpoint(folder, "last", every_n_train_steps=every, enable_version_counter=False)
    callbacks = [WeightAveraging(avg_fn=ema_update), checkpoint] + [TQDMProgressBar(10)] * progress
    trainer = lightning.Trainer(
        accelerator="cpu", precision=precision, max_steps=int(module.budget["steps"]), max_epochs=-1,
        gradient_clip_val=1.0, callbacks=callbacks, logger=CSVLogger(folder, name="log"), log_every_n_steps=10,
        enable_progress_bar=progress, enable_model_summary=False,
    )  # fmt: skip
    last = folder / "last.ckpt"
    trainer.fit(module, loader, ckpt_path=last if last.is_file() else None, weights_only=True)
    trainer.save_checkpoint(last)
    print(f"{trainer.global_step} steps, {module.minutes():.1f} minutes: {last}")


def export(checkpoint: Path, output: Path) -> None:
    """The averaged weights of a checkpoint -> a diffusers DDPMPipeline folder, fp16 safetensors."""
    from diffusers import DDPMPipeline

    if not checkpoint.is_file():
        raise FileNotFoundError(f"no checkpoint at {checkpoint}: run `train` first or pass --checkpoint FILE")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    unet = build_unet(state["prior"]["channels"])
    prefix = "unet."
    unet.load_state_dict({k[len(prefix) :]: v for k, v in state["state_dict"].items() if k.startswith(prefix)})
    pipeline: Any = DDPMPipeline(unet.half(), build_scheduler())
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
    module = PriorTraining(a.channels, max_steps=a.max_steps, max_minutes=a.max_minutes)
    return train(images, a.folder, module, a.batch_size, precision=a.precision)


if __name__ == "__main__":
    main()
