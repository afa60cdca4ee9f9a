"""Decoupled data consistency with diffusion purification, DCDP (arXiv 2403.06054)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.fitting import fit
from rps.samplers.guidance import image_of
from rps.settings import not_negative


class Dcdp(Sampler):
    """z0 = z0hat moved by a few AdamW steps on ||y - A(D(z0))||_2; z' = alpha' z0 + sigma' n, n ~ N(0, I).

    As in the runs of arXiv 2605.28711, the norm is not squared and AdamW keeps its default weight decay. One network
    call per step, not differentiated; gradients go through the decoder and the operator only.

    Args:
        inner_steps: number of AdamW steps.
        lr: learning rate of AdamW.
        tolerance: a row stops once its residual is at most tolerance * noise_std * sqrt(m); 0 takes all steps.
        clip_image: whether to clip D(z0) to [-1, 1] in the loss.
        squared: whether to use the squared norm in the loss.
        weight_decay: weight decay of AdamW.
    """

    default_steps = 100

    def __init__(
        self,
        inner_steps: int = 20,
        lr: float = 0.01,
        tolerance: float = 0.0,
        clip_image: bool = False,
        squared: bool = False,
        weight_decay: float = 0.01,
    ) -> None:
        not_negative(inner_steps=inner_steps, lr=lr, tolerance=tolerance, weight_decay=weight_decay)
        self.inner_steps, self.lr, self.tolerance, self.clip_image = inner_steps, lr, tolerance, clip_image
        self.squared, self.weight_decay = squared, weight_decay

    @torch.no_grad()
    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        z0 = fit(
            prior.denoise(x, t).x0,
            measurement,
            lambda z: image_of(z, prior, self.clip_image),
            self.inner_steps,
            self.lr,
            self.tolerance,
            self.squared,
            self.weight_decay,
        )
        return prior.schedule.add_noise(z0, noise.normal(x.shape[1:]).to(x), t_next)
