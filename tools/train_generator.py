"""Train and export networks for one of the tasks of configs/embedded: the anchors that are not zero-shot.

python tools/train_generator.py train generator sr4 --max-minutes 4    # PSCGAN, arXiv 2103.04192
python tools/train_generator.py train pmrf sr4 --max-minutes 4         # PMRF, arXiv 2410.00418
python tools/train_generator.py export generator sr4                   # -> rps/assets/embedded/generator/sr4

Repeating a command resumes it. It runs on a GPU if there is one; tasks and methods can be trained at the same time.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import fashion_mnist
import lightning
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from training import HELD_OUT, BudgetedTraining, add_arguments, averaged, budget, build_unet, either, fit, to_float

from rps import operators
from rps.measurement import Measurement
from rps.priors.generator import condition_on
from rps.priors.pmrf import SOURCE_STD
from rps.randomness import Streams

ROOT = Path(__file__).resolve().parent.parent
TASKS = ("denoise", "inpaint", "sr4", "deblur_aniso")
SAMPLES = 8  # draws of z per image in the generator's squared error


def build_critic(inputs: int, channels: Sequence[int] = (32, 64, 128, 128)) -> nn.Module:
    """Strided convolutions, no normalisation (arXiv 1704.00028): [N, inputs, 32, 32] -> [N, 1]."""
    layers: list[nn.Module] = []
    for wide, narrow in zip(channels, (inputs, *channels), strict=False):
        layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * (fashion_mnist.SIZE >> len(channels)) ** 2, 1))


class TaskTraining(BudgetedTraining):
    """Draws images and their measurements for a task of configs/embedded. Subclasses define `inputs` and the losses.

    inputs: name of a network -> its number of input channels.
    """

    inputs: ClassVar[dict[str, int]]

    def __init__(self, task: str, channels: Sequence[int], **budget: Any) -> None:
        super().__init__(channels, **budget)
        given = yaml.safe_load((ROOT / f"configs/embedded/{task}.yaml").read_text())["model"]["init_args"]
        kind = getattr(operators, given["operator"]["class_path"].rpartition(".")[2])
        self.operator, self.std = kind(**given["operator"].get("init_args", {})), given["noise"]
        for name, number in self.inputs.items():
            setattr(self, name, build_unet(channels, inputs=number))

    def draw(self, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(x, what a network sees of y), x flipped with probability 1/2; every image has its own mask."""
        x = either(batch[0], batch[0].flip(-1))
        streams = Streams(int(torch.randint(2**62, ())), [str(i) for i in range(len(x))], x.device)
        shape = (1, fashion_mnist.SIZE, fashion_mnist.SIZE)
        operator = self.operator.bind(shape, streams)
        y = operator(x)
        return x, condition_on(Measurement(y + self.std * torch.randn_like(y), operator, self.std, shape, streams))


class GeneratorTraining(TaskTraining):
    """G(y, z): min E (x - mean of 8 G(y, z))^2 - 1e-3 E C(G(y, z), y); the critic is that of WGAN-GP, with weight 10
    of its gradient penalty. Adam with betas (0, .99) for both (arXiv 2103.04192)."""

    inputs: ClassVar = {"generator": 3}

    def __init__(self, task: str, channels: Sequence[int], **budget: Any) -> None:
        super().__init__(task, channels, **budget)
        self.critic = build_critic(3)
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(part.parameters(), self.lr, (0.0, 0.99)) for part in (self.generator, self.critic)]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, seen = self.draw(batch)
        z = torch.randn(SAMPLES * len(x), *x.shape[1:], device=x.device)
        wide = seen.repeat(SAMPLES, 1, 1, 1)
        fake = self.generator(torch.cat([wide, z], 1), torch.zeros(len(z), device=x.device)).sample

        critic = self.trainer.optimizers[1]  # the raw one: only steps of the generator count as steps
        distance, penalty = self.critic_loss(x, fake[: len(x)].detach(), seen)
        critic.zero_grad()
        self.manual_backward(10 * penalty - distance)
        critic.step()

        error = nn.functional.mse_loss(fake.unflatten(0, (SAMPLES, -1)).mean(0), x)
        self.critic.requires_grad_(False)
        loss = error - 1e-3 * self.critic(torch.cat([fake, wide], 1)).mean()
        generator: Any = self.optimizers()[0]  # type: ignore[index]
        generator.zero_grad()
        self.manual_backward(loss)
        generator.step()
        self.critic.requires_grad_(True)
        spread = fake.detach().unflatten(0, (SAMPLES, -1)).var(0).mean().sqrt()  # over z, root mean square over pixels
        self.report(loss.detach(), error=error, distance=distance, penalty=penalty, spread=spread)

    def critic_loss(self, x: Tensor, fake: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """(E C(x, y) - E C(fake, y), E (|grad C| - 1)^2 at random points between x and fake)."""
        share = torch.rand(len(x), 1, 1, 1, device=x.device)
        between = (share * x + (1 - share) * fake).requires_grad_()
        real, made, inside = self.critic(torch.cat([torch.cat([x, fake, between]), seen.repeat(3, 1, 1, 1)], 1)).chunk(
            3
        )
        (gradient,) = torch.autograd.grad(inside.sum(), between, create_graph=True)
        return (real - made).mean(), (gradient.flatten(1).norm(dim=1) - 1).square().mean()


class PmrfTraining(TaskTraining):
    """A regressor, min E (x - f(y))^2, and a flow, min E (v(Z_tau, tau) - (x - Z_0))^2, Z_0 = f(y) + std eps,
    Z_tau = (1 - tau) Z_0 + tau x (arXiv 2410.00418), both at once; the flow's loss does not reach f."""

    inputs: ClassVar = {"regressor": 2, "flow": 1}

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, seen = self.draw(batch)
        mean = self.regressor(seen, torch.zeros(len(x), device=x.device)).sample
        error = nn.functional.mse_loss(mean, x)
        start = mean.detach() + SOURCE_STD * torch.randn_like(x)
        left = torch.rand(len(x), device=x.device)
        u = left.view(-1, 1, 1, 1)
        v = self.flow(u * start + (1 - u) * x, 1000 * left).sample
        flow = nn.functional.mse_loss(v, x - start)
        return self.report(error + flow, error=error, flow=flow)


METHODS: dict[str, type[TaskTraining]] = {"generator": GeneratorTraining, "pmrf": PmrfTraining}


def export(method: str, checkpoint: Path, output: Path) -> None:
    """The averaged weights of a checkpoint -> UNet2DModel folders, fp16 safetensors: output, or output/NAME for each of
    several networks."""
    inputs = METHODS[method].inputs
    for name, number in inputs.items():
        state, weights = averaged(checkpoint, name)
        unet = build_unet(state["prior"]["channels"], inputs=number)
        unet.load_state_dict(weights)
        folder = output / name if len(inputs) > 1 else output
        unet.half().save_pretrained(folder)
        print(f"step {state['global_step']}, {sum(p.numel() for p in unet.parameters())} parameters: {folder}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    defaults = {"generator": ([32, 48, 48], 64), "pmrf": ([24, 32, 32], 256)}
    for command, text in (("train", "train, or resume"), ("export", "checkpoint -> UNet2DModel folders")):
        methods = commands.add_parser(command, help=text).add_subparsers(dest="method", required=True)
        for method, (channels, n) in defaults.items():
            m = methods.add_parser(method)
            m.add_argument("task", choices=TASKS)
            if command == "train":
                add_arguments(m, f"runs/train_{method}", channels, 200_000, n)
            else:
                m.add_argument("--folder", type=Path, default=Path(f"runs/train_{method}"), help="that of train")
                m.add_argument("--output", type=Path, default=ROOT / "rps/assets/embedded", help="METHOD/TASK is added")
    a = parser.parse_args(arguments)
    if a.command == "export":
        return export(a.method, a.folder / a.task / "last.ckpt", a.output / a.method / a.task)
    images = to_float(fashion_mnist.load("train", a.data)[0][:-HELD_OUT])
    lightning.seed_everything(a.seed)
    module = METHODS[a.method](a.task, a.channels, **budget(a))
    return fit(module, TensorDataset(images), a.folder / a.task, a.batch_size, precision=a.precision)


if __name__ == "__main__":
    main()
