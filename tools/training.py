"""Shared by the tools that train networks: images, a budget of steps or minutes, resuming, and averaged weights."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fashion_mnist
import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

HELD_OUT = 1000  # the last images of the training set, never trained on


def to_float(images: np.ndarray) -> Tensor:
    """uint8 [N,32,32] -> float [N,1,32,32] in [-1,1]."""
    return torch.from_numpy(images)[:, None].float() / 127.5 - 1


def ema_update(averages: Any, current: Any, updates: Tensor | int) -> None:
    """average <- d average + (1 - d) current in place, d = min(.999, (1 + updates) / (10 + updates)), for lists of
    tensors. The smaller d of the first updates lets a short run forget its initial weights."""
    torch._foreach_lerp_(averages, current, 1 - min(0.999, float((1 + updates) / (10 + updates))))


class BudgetedTraining(lightning.LightningModule):
    """AdamW, warm-up, then a cosine to 0 over a budget. Subclasses define training_step.

    The cosine follows the budget that is nearer its end. A resumed run with another budget continues from its last
    rate, or from `restart` times lr, and reaches 0 at the end of the new budget; a run that has used up its budget
    needs `restart`, since its rate is 0.

    Args:
        channels: channels of the network; a checkpoint must have the same.
        max_steps, max_minutes: the budget, including what came before a resume. lr: initial rate. warmup: steps.
        restart: fraction of lr from which a resumed run with another budget starts; None is its last rate.
    """

    def __init__(
        self,
        channels: Sequence[int],
        max_steps: int = 10000,
        max_minutes: float = math.inf,
        lr: float = 1e-3,
        warmup: int = 200,
        restart: float | None = None,
    ) -> None:
        super().__init__()
        self.restart = restart
        self.channels, self.lr, self.warmup = tuple(channels), lr, warmup
        self.budget: dict[str, float] = {"steps": max_steps, "minutes": max_minutes}
        self.anchor: dict[str, float] = {"steps": 0, "minutes": 0.0, "factor": 1.0}
        self.before, self.started = 0.0, math.inf  # minutes before a resume; when this run began

    def minutes(self) -> float:
        """Training minutes so far, including those before a resume."""
        return self.before + max(time.monotonic() - self.started, 0) / 60

    def on_train_start(self) -> None:
        self.started = time.monotonic()

    def progress(self) -> float:
        """0 at the anchor, 1 at the end of the nearer budget."""
        now = {"steps": self.global_step, "minutes": self.minutes()}
        parts = ((now[k] - self.anchor[k]) / max(self.budget[k] - self.anchor[k], 1e-9) for k in now)
        return min(1.0, max(parts))

    def cosine(self) -> float:
        return self.anchor["factor"] * (1 + math.cos(math.pi * self.progress())) / 2

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr)

    def on_train_batch_start(self, batch: list[Tensor], batch_idx: int) -> None:
        self.rate = self.lr * self.cosine() * min(1.0, (self.global_step + 1) / self.warmup)
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate

    def report(self, loss: Tensor, **parts: Tensor) -> Tensor:
        """Logs the loss and its parts.  -> the loss."""
        self.log("loss", loss, prog_bar=True)
        self.log_dict({**parts, "lr": self.rate, "minutes": self.minutes()})
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
            raise ValueError(
                f"the checkpoint has channels {saved['channels']}, but this run has {list(self.channels)}; give the "
                "same --channels or another --folder"
            )
        self.before = saved["minutes"]
        torch.manual_seed(torch.initial_seed() + step)  # fresh draws after a resume
        if saved["budget"] == self.budget:
            self.anchor = saved["anchor"]
        else:
            factor = saved["factor"] if self.restart is None else self.restart
            self.anchor = {"steps": step, "minutes": saved["minutes"], "factor": factor}


def fit(
    module: BudgetedTraining,
    data: TensorDataset,
    folder: Path,
    batch_size: int = 32,
    every: int = 250,
    precision: Any = "32-true",
    progress: bool = True,
) -> None:
    """Trains to the module's budget, on a GPU if there is one, resuming from folder/last.ckpt if there is one; its
    weights are the averages."""
    checkpoint = ModelCheckpoint(folder, "last", every_n_train_steps=every, enable_version_counter=False)
    callbacks = [WeightAveraging(multi_avg_fn=ema_update), checkpoint] + [TQDMProgressBar(10)] * progress
    trainer = lightning.Trainer(
        accelerator="auto", devices=1, precision=precision, max_steps=int(module.budget["steps"]), max_epochs=-1,
        gradient_clip_val=1.0 if module.automatic_optimization else None, callbacks=callbacks, log_every_n_steps=10,
        logger=CSVLogger(folder, name="log"), enable_progress_bar=progress, enable_model_summary=False,
    )  # fmt: skip
    device = trainer.strategy.root_device
    module.to(device)  # before the Trainer does, because WeightAveraging puts its copy where the module is
    data = TensorDataset(*(tensor.to(device) for tensor in data.tensors))
    batches = BatchSampler(RandomSampler(data), batch_size, drop_last=True)
    loader = DataLoader(data, sampler=batches, batch_size=None)  # one indexing per batch
    last = folder / "last.ckpt"
    trainer.fit(module, loader, ckpt_path=last if last.is_file() else None, weights_only=True)
    trainer.save_checkpoint(last)
    print(f"{trainer.global_step} steps, {module.minutes():.1f} minutes: {last}")


def build_unet(
    channels: Sequence[int],
    size: int = fashion_mnist.SIZE,
    inputs: int = 1,
    outputs: int = 1,
    attention: int = 0,
    classes: int | None = None,
) -> Any:
    """A UNet with one residual layer per block, attention at the coarsest `attention` scales, and, of `classes`, a
    table that is added to the embedding of the timestep.  size: height and width of its images."""
    from diffusers import UNet2DModel

    plain = len(channels) - attention
    return UNet2DModel(
        sample_size=size, in_channels=inputs, out_channels=outputs, block_out_channels=tuple(channels),
        layers_per_block=1, down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",) * attention,
        up_block_types=("AttnUpBlock2D",) * attention + ("UpBlock2D",) * plain, norm_num_groups=8,
        attention_head_dim=32, add_attention=attention > 0, num_class_embeds=classes,
    )  # fmt: skip


def either(x: Tensor, other: Tensor) -> Tensor:
    """Each row of x, replaced with probability 1/2 by that of `other`."""
    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, other, x)


def add_arguments(parser: argparse.ArgumentParser, folder: str, channels: Sequence[int], steps: int, n: int) -> None:
    """Adds the arguments of a command that trains.  folder, channels, steps, n (batch size): defaults."""
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEFAULT_FOLDER, help="folder of the idx files")
    parser.add_argument("--folder", type=Path, default=Path(folder), help="checkpoints and logs")
    parser.add_argument("--max-steps", type=int, default=steps, help="including those before a resume")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="including those before a resume")
    parser.add_argument("--restart", type=float, help="fraction of --lr from which a run resumed with more time starts")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=n)
    parser.add_argument("--channels", type=int, nargs="+", default=channels)
    parser.add_argument("--precision", default="32-true", help="bf16-mixed is faster only with bf16 hardware")
    parser.add_argument("--seed", type=int, default=0)


def budget(given: argparse.Namespace) -> dict[str, Any]:
    """The arguments of BudgetedTraining after the channels."""
    return {name: getattr(given, name) for name in ("max_steps", "max_minutes", "lr", "restart")}


def averaged(checkpoint: Path, prefix: str, command: str = "train") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(the checkpoint, the averaged weights of its network self.<prefix>).  command: the one that writes it."""
    if not checkpoint.is_file():
        raise FileNotFoundError(f"no checkpoint at {checkpoint}: run `{command}` first, or give its location")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    start = f"{prefix}."
    return state, {k[len(start) :]: v for k, v in state["state_dict"].items() if k.startswith(start)}
