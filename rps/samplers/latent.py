"""Samplers of pixel models with the defaults of their latent-space versions; the steps are the same."""

from __future__ import annotations

from rps.samplers.daps import Daps
from rps.samplers.dps import Dps


class LatentDps(Dps):
    """z' = alpha' z0hat + sqrt(sigma'^2 - s^2) eps + s n - xi abar_t grad_z ||y - A(D(z0hat(z)))||^2, stage 2 of
    LMAP-RPS (arXiv 2605.28711). One network call per step, differentiated with respect to its input.

    Args:
        step_size: xi; None is derived, see rps.samplers.Dps. Published for FFHQ: denoise .015, inpainting .05,
            super-resolution .08; for Stable Diffusion: inpainting .01, super-resolution and deblurring .1, and
            unsquared HDR .5, compressed sensing and nonlinear deblurring 1.5.
        squared: whether to square the norm; False is the "stable" form.
        clip_image: whether to clip D(z0hat) to [-1, 1] in the gradient, as published for Stable Diffusion.
        per_timestep: whether a given xi is the size for one timestep, see rps.samplers.Dps.
        step_factor: factor of log p(y | x_t) in the derived step.
    """

    def __init__(
        self,
        step_size: float | None = None,
        squared: bool = True,
        clip_image: bool = False,
        per_timestep: bool = False,
        step_factor: float = 1.0,
    ) -> None:
        super().__init__(
            step_size, clip=False, squared=squared, decay=True, clip_image=clip_image, per_timestep=per_timestep,
            step_factor=step_factor,
        )  # fmt: skip


class LatentDaps(Daps):
    """`Daps` in z: ||y - A(D(z))||^2 in U, and the published 50 levels with 2 flow steps each.

    Published corrections are Hamiltonian, with an ode_min of .001; langevin_steps, step_size, step_decay and momentum
    on the FFHQ latent model: random inpainting 38, 8.4e-6, .013, .92; box 15, 9.02e-6, .13, .74; super-resolution
    24, 1.35e-4, .023, .86; gaussian blur 35, 2.7e-6, .95, .95; motion blur 49, 2.4e-5, .041, .45; HDR 38, 4.52e-6,
    .015, .58; nonlinear blur 80, 3.71e-6, .024, .91 (github.com/zhangbingliang2019/DAPS, configs/task; noise .05).
    The defaults take Langevin steps.

    Args:
        ode_steps: Euler steps of the flow.
        langevin_steps: Langevin steps of the correction.
        step_size: h at the start of the outer grid; None is derived, see rps.samplers.Daps.
        step_decay: h at sigma_min as a fraction of a given step_size.
        tau: standard deviation of the measurement noise assumed by the correction; None is that of the measurement.
        sigma_max: start of the outer grid, in units of sigma/alpha.
        sigma_min: end of the outer grid, in units of sigma/alpha.
        ode_min: end of the inner grid, in units of sigma/alpha.
        momentum: m; 0 is Langevin.
        r_factor: r in units of sigma/alpha, see rps.samplers.Daps.
    """

    default_steps = 50

    def __init__(
        self,
        ode_steps: int = 2,
        langevin_steps: int = 50,
        step_size: float | None = None,
        step_decay: float = 0.01,
        tau: float | None = None,
        sigma_max: float = 10.0,
        sigma_min: float = 0.1,
        ode_min: float = 0.01,
        momentum: float = 0.0,
        r_factor: float | None = None,
    ) -> None:
        super().__init__(
            ode_steps, langevin_steps, step_size, step_decay, tau, sigma_max, sigma_min, ode_min, momentum, r_factor
        )
