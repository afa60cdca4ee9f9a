"""Samplers of pixel models as they are run in the latent space of an autoencoder: other defaults, the same steps."""

from __future__ import annotations

import math

from rps.samplers.daps import Daps
from rps.samplers.dmap import Dmap
from rps.samplers.dps import Dps


class LatentDps(Dps):
    """z' = alpha' z0hat + sqrt(sigma'^2 - s^2) eps + s n - xi abar_t grad_z ||y - A(D(z0hat(z)))||^2, as stage 2 of
    LMAP-RPS has it (arXiv 2605.28711). One network call a step, differentiated with respect to its input.

    Args:
        step_size: xi; published for FFHQ: denoise .015, inpainting .05, super-resolution .08; for Stable Diffusion:
            inpainting .01, super-resolution and deblurring .1, and unsquared HDR .5, compressed sensing and nonlinear
            deblurring 1.5.
        squared: False is the "stable" form, the norm itself.
        clip_image: clip D(z0hat) to [-1, 1] in the gradient, as with Stable Diffusion.
    """

    def __init__(self, step_size: float = 0.05, squared: bool = True, clip_image: bool = False) -> None:
        super().__init__(step_size, clip=False, squared=squared, decay=True, clip_image=clip_image)


class LatentDmap(Dmap):
    """`Dmap`, whose z0hat is not clipped.

    Args:
        step_size: xi. radius: of the sphere, in units of s sqrt(d).
        ascents: gradient steps.
    """

    def __init__(self, step_size: float = 1.0, radius: float = 1.0, ascents: int = 2) -> None:
        super().__init__(step_size, radius, ascents, clip=False)


class LatentDaps(Daps):
    """`Daps` in z: ||y - A(D(z))||^2 in U, and the published 50 levels of 2 steps of the flow.

    Published corrections are Hamiltonian, with an ode_min of .001; langevin_steps, step_size, step_decay and momentum
    on the FFHQ latent model: random inpainting 38, 8.4e-6, .013, .92; box 15, 9.02e-6, .13, .74; super-resolution
    24, 1.35e-4, .023, .86; gaussian blur 35, 2.7e-6, .95, .95; motion blur 49, 2.4e-5, .041, .45; HDR 38, 4.52e-6,
    .015, .58; nonlinear blur 80, 3.71e-6, .024, .91 (github.com/zhangbingliang2019/DAPS, configs/task; noise .05).
    The defaults take Langevin steps.

    Args: as of `Daps`.
    """

    default_steps = 50

    def __init__(
        self,
        ode_steps: int = 2,
        langevin_steps: int = 50,
        step_size: float = 1e-5,
        step_decay: float = 0.01,
        tau: float = 0.01 / math.sqrt(2),
        sigma_max: float = 10.0,
        sigma_min: float = 0.1,
        ode_min: float = 0.01,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(ode_steps, langevin_steps, step_size, step_decay, tau, sigma_max, sigma_min, ode_min, momentum)
