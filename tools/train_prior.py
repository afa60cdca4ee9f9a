"""Train and export the embedded diffusion priors (Fashion-MNIST, 1x32x32, eps prediction; arXiv 2006.11239).

python tools/train_prior.py train --max-minutes 90        # repeating the command resumes
python tools/train_prior.py train --conditional --folder FOLDER       # class-conditional
python tools/train_prior.py export --output FOLDER        # the averaged weights, as a diffusers DDPMPipeline folder
python tools/train_prior.py evaluate FOLDER --samples sheet.png --count 256
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
from training import HELD_OUT, BudgetedTraining, add_arguments, averaged, budget, build_unet, either, fit, to_float

from rps.metrics import EmbeddedFeatures, Statistics, frechet_distance

CLASSES = 10  # a class-conditional network has one more, the last, which means "no class"
DROPPED = 0.1  # probability with which "no class" replaces a label in training
TABLE = "unet.class_embedding.weight"
BANDS = ((0, 50), (50, 200), (200, 500), (500, 1000))
SHEET = 64


def build_scheduler() -> Any:
    """beta_t linear from 1e-4 to 0.02, T = 1000 (arXiv 2006.11239, section 4)."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")


def stratified_timesteps(n: int, device: torch.device | None = None, total: int = 1000) -> Tensor:
    """One t from each of n equal bins of 0..total-1, in random order: [n] int64."""
    u = (torch.randperm(n, device=device) + torch.rand(n, device=device)) / n
    return (u * total).long().clamp(max=total - 1)


class PriorTraining(BudgetedTraining):
    """min E |eps_theta(alpha_t x0 + sigma_t eps, t, c) - eps|^2; x0 is flipped with probability 1/2.

    Args:
        channels, budget: see BudgetedTraining.
        classes: number of classes of the network. c is the label of x0 or, with probability DROPPED, the last class,
            which means "no class" (arXiv 2207.12598). None: the network has no c.
    """

    def __init__(self, channels: Sequence[int] = (32, 64, 96), classes: int | None = None, **budget: Any) -> None:
        super().__init__(channels, **budget)
        self.unet, scheduler = self.build(channels, classes)
        self.classes = classes
        self.abar: Tensor
        self.register_buffer("abar", scheduler.alphas_cumprod, persistent=False)

    @staticmethod
    def build(channels: Sequence[int], classes: int | None = None) -> tuple[Any, Any]:
        """(network, scheduler).  channels (32, 64, 96): 1.8 M parameters."""
        return build_unet(channels, attention=1, classes=classes), build_scheduler()

    def draw(self, batch: list[Tensor]) -> Tensor:
        """x0 of a step."""
        return either(batch[0], batch[0].flip(-1))

    def condition(self, batch: list[Tensor]) -> list[Tensor]:
        """The classes of a step, if the network has any."""
        if self.classes is None:
            return []
        dropped = torch.rand(len(batch[-1]), device=batch[-1].device) < DROPPED
        return [torch.where(dropped, self.classes - 1, batch[-1])]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        found = TABLE in checkpoint["state_dict"]
        if found != (self.classes is not None):
            raise ValueError(
                f"the checkpoint's network has {'' if found else 'no '}classes, expected "
                f"{'none' if found else 'them'}; {'add' if found else 'omit'} --conditional, or give another --folder"
            )
        super().on_load_checkpoint(checkpoint)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x0 = self.draw(batch)
        t = stratified_timesteps(len(x0), x0.device)
        abar = self.abar[t].view(-1, 1, 1, 1)
        eps = torch.randn_like(x0)
        prediction = self.unet(abar.sqrt() * x0 + (1 - abar).sqrt() * eps, t, *self.condition(batch)).sample
        return self.report(torch.nn.functional.mse_loss(prediction.float(), eps))


def export(checkpoint: Path, output: Path, training: type[PriorTraining] = PriorTraining) -> None:
    """The averaged weights of a checkpoint -> a diffusers DDPMPipeline folder, fp16 safetensors."""
    from diffusers import DDPMPipeline

    state, weights = averaged(checkpoint, "unet")
    classes = len(weights.get(TABLE.removeprefix("unet."), ())) or None
    unet, scheduler = training.build(state["prior"]["channels"], classes)
    unet.load_state_dict(weights)
    pipeline: Any = DDPMPipeline(unet.half(), scheduler)
    pipeline.save_pretrained(output, safe_serialization=True)
    print(f"step {state['global_step']}, {sum(p.numel() for p in unet.parameters())} parameters: {output}")


@torch.no_grad()
def band_losses(
    unet: Any, images: np.ndarray, labels: Tensor | None = None, batch_size: int = 100, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Mean over images of the eps error (per pixel), t uniform in each band low <= t < high, and its standard error.
    images: uint8 [N,32,32]. labels: int64 [N], for a network with classes. t and eps depend on the seed alone, so they
    are the same for two networks."""
    abar = build_scheduler().alphas_cumprod
    x0, rows = to_float(images), {}
    for low, high in BANDS:
        generator = torch.Generator().manual_seed(seed)
        t = torch.randint(low, high, (len(x0),), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        a = abar[t].view(-1, 1, 1, 1)
        inputs = [a.sqrt() * x0 + (1 - a).sqrt() * eps, t, *([] if labels is None else [labels])]
        batches = zip(*(each.split(batch_size) for each in inputs), strict=True)
        error = (torch.cat([unet(*batch).sample for batch in batches]) - eps).square().mean((1, 2, 3))
        rows[f"{low}-{high}"] = {"loss": error.mean().item(), "standard_error": error.std().item() / len(error) ** 0.5}
    return rows


def sample(pipeline: Any, n: int, steps: int = 100, seed: int = 0) -> Tensor:
    """n ancestral DDPM samples (arXiv 2006.11239, algorithm 2) on a grid of `steps` timesteps: [n,1,32,32] in [0,1]."""
    images = pipeline(n, torch.Generator().manual_seed(seed), num_inference_steps=steps, output_type="np").images
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def evaluate(a: argparse.Namespace) -> None:
    """Prints the losses of a model and, with --samples, sqrt(FD) of each group."""
    import torchvision
    from diffusers import DDPMPipeline

    pipeline: Any = DDPMPipeline.from_pretrained(a.model, torch_dtype=torch.float32)
    result: dict[str, Any] = {"model": str(a.model), "parameters": sum(p.numel() for p in pipeline.unet.parameters())}
    images, labels = (part[-HELD_OUT:] for part in fashion_mnist.load("train", a.data))
    if classes := pipeline.unet.config.num_class_embeds:
        result["eps_loss"] = band_losses(pipeline.unet, images, torch.from_numpy(labels), seed=a.seed)
        none = torch.full((HELD_OUT,), classes - 1)
        result["eps_loss_without_class"] = band_losses(pipeline.unet, images, none, seed=a.seed)
        pipeline.unet.register_forward_pre_hook(lambda _, inputs: (*inputs, torch.arange(len(inputs[0])) % CLASSES))
    else:
        result["eps_loss"] = band_losses(pipeline.unet, images, seed=a.seed)
    if a.samples:
        groups = [sample(pipeline, SHEET, a.steps, a.seed + i) for i in range(a.count // SHEET)]
        network = EmbeddedFeatures()
        with torch.no_grad():
            own = [Statistics.from_features(network((group * 255).round() / 255)) for group in groups]
        reference = Statistics.load(network.reference)
        result["sqrt_frechet_of_each_64"] = [frechet_distance(group, reference) ** 0.5 for group in own]
        a.samples.parent.mkdir(parents=True, exist_ok=True)
        torchvision.utils.save_image(groups[0], a.samples, nrow=8)
        result["sheet"] = str(a.samples)
    print(json.dumps(result, indent=1))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    t = commands.add_parser("train", help="train, or resume")
    add_arguments(t, "runs/train_prior", [32, 64, 96], 10000, 32)
    t.add_argument("--conditional", action="store_true", help="condition the network on the class of the image")
    e = commands.add_parser("export", help="checkpoint -> diffusers folder")
    e.add_argument("--output", type=Path, required=True)
    e.add_argument("--checkpoint", type=Path, default=Path("runs/train_prior/last.ckpt"))
    v = commands.add_parser("evaluate", help="held-out losses by timestep band, and unconditional samples")
    v.add_argument("model", type=Path, help="diffusers DDPMPipeline folder")
    v.add_argument("--data", type=Path, default=fashion_mnist.DEFAULT_FOLDER, help="folder of the idx files")
    v.add_argument("--samples", type=Path, help=f"PNG to write: the first {SHEET} samples")
    v.add_argument("--count", type=int, default=SHEET, help=f"samples to draw, in groups of {SHEET}")
    v.add_argument("--steps", type=int, default=100)
    v.add_argument("--seed", type=int, default=0)
    a = parser.parse_args(arguments)
    if a.command == "export":
        return export(a.checkpoint, a.output)
    if a.command == "evaluate":
        return evaluate(a)
    images, labels = (part[:-HELD_OUT] for part in fashion_mnist.load("train", a.data))
    lightning.seed_everything(a.seed)
    module = PriorTraining(a.channels, CLASSES + 1 if a.conditional else None, **budget(a))
    data = TensorDataset(to_float(images), torch.from_numpy(labels))
    return fit(module, data, a.folder, a.batch_size, precision=a.precision)


if __name__ == "__main__":
    main()
