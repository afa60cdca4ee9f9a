"""ConditionalGenerator: a network trained for one task, G(y, z), in the place of a model of images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior
from rps.priors.checkpoints.torch_files import Unfit, read_tensors
from rps.priors.loading import EMBEDDED, load_network
from rps.schedule import Schedule
from rps.shallow import shallow_copy

Task = Literal["denoise", "inpaint", "sr4", "deblur_aniso"]
"""The tasks of configs/embedded, for which networks ship with the package."""


def condition_on(measurement: Measurement) -> Tensor:
    """[A^+ y, A^+ A 1], what a network trained for a task sees of a measurement: [N, 2C, H, W].

    A^+ A 1 shows where x was measured: for inpainting, it is the mask.
    Errors: ValueError if the operator gives no image A^+ y.
    """
    image = measurement.pseudo_inverse()
    if image is None:
        raise ValueError(
            f"a network trained for a task needs the image A^+ y, which {type(measurement.operator).__name__} does not "
            "give; use an operator that has pinv(y)"
        )
    ones = replace(measurement, y=measurement.operator(torch.ones_like(image))).pseudo_inverse()
    return torch.cat([image, torch.ones_like(image) if ones is None else ones], dim=1)


class ConditionedPrior(Prior):
    """Base of networks that were trained for one task; `given` computes what they see of y."""

    condition: Tensor | None = None
    """`condition_on` of the rows that `given` bound this prior to, [N, 2C, H, W]."""

    def given(self, measurement: Measurement) -> Prior:
        return shallow_copy(self, condition=condition_on(measurement))

    def seen(self) -> Tensor:
        """The condition.  Errors: ValueError if this prior is not bound to a measurement."""
        if self.condition is None:
            raise ValueError(f"{type(self).__name__} needs a measurement; bind it with prior.given(measurement)")
        return self.condition


class ConditionalGenerator(ConditionedPrior):
    """x = G(y, z), z ~ N(0, I): the stochastic generator of PSCGAN (arXiv 2103.04192), or any other.

    A chain of one step: its only timestep has x_t = z (alpha = 0, sigma = 1), and the denoised image is G(y, z). Use
    it with rps.samplers.Ddim and one step: SampleAverage is then PSCGAN-A, and SettingSweep of sigma_z PSCGAN-z. A
    network call is one forward of G.

    Args:
        network: called as network(inputs, t), inputs [N, 3C, H, W] with A^+ y, A^+ A 1 (for inpainting, the mask) and z
            as channels, t zeros [N] -> image [N, C, H, W] in [-1, 1], or an object whose `sample` it is, as the
            UNet2DModel of diffusers does.
        sample_shape: [C, H, W] of the images.
        weights: .safetensors file with the network's state dict; None keeps its weights.
    """

    def __init__(self, network: nn.Module, sample_shape: tuple[int, int, int], weights: str | None = None) -> None:
        super().__init__()
        self.network, self.sample_shape = filled(network, weights), sample_shape
        self.schedule = Schedule(torch.zeros(1), torch.ones(1))

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        return Denoised(evaluate(self.network, torch.cat([self.seen().to(x), x], dim=1), t), x)


class EmbeddedGenerator(ConditionalGenerator):
    """The generators that ship with the package, trained by tools/train_generator.py for the tasks of configs/embedded.

    Args:
        task: task for which the generator was trained; operator and noise must be those of configs/embedded/TASK.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(embedded_network(f"generator/{task}"), (1, 32, 32))
        self.task = task


def evaluate(network: nn.Module, inputs: Tensor, t: Tensor) -> Tensor:
    """The output of a network, evaluated in the precision of its weights, in that of its inputs."""
    weight = next(network.parameters(), inputs)
    output: Any = network(inputs.to(weight.dtype), t)
    return getattr(output, "sample", output).to(inputs)


def filled(network: nn.Module, weights: str | None) -> nn.Module:
    """The network for inference, with the weights of a file.  Errors: ValueError if they do not fit."""
    if weights is not None:
        try:
            network.load_state_dict(read_tensors(weights))
        except (Unfit, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"cannot load {weights} into {type(network).__name__}: {reason}") from error
    return network.eval().requires_grad_(False)


def embedded_network(folder: str) -> nn.Module:
    """A UNet2DModel of rps/assets/embedded, in float32."""
    from diffusers import UNet2DModel

    network: nn.Module = load_network(UNet2DModel, str(EMBEDDED / folder), "", "float32", local_files_only=True)
    return network
