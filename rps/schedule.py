"""The noise schedule: x_t = alpha_t x_0 + sigma_t eps, as a table over the timesteps t = 0 .. T-1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rps.settings import is_number

CLEAN = -1
"""The timestep of a clean image: alpha = 1, sigma = 0. Samplers step from the last timestep of a grid to CLEAN."""


class Schedule(nn.Module):
    """alpha_t and sigma_t of x_t = alpha_t x_0 + sigma_t eps, eps ~ N(0, I), for t = 0 .. T-1 and t = CLEAN.

    Variance preserving (DDPM) has alpha^2 + sigma^2 = 1 and abar_t = alpha_t^2; nothing downstream assumes it.

    Args:
        alpha, sigma: [T] each, ordered from the least to the most noise.

    note: text that errors add if T differs from that of the model's scheduler.
    """

    alpha_table: Tensor
    sigma_table: Tensor
    note: str = ""

    def __init__(self, alpha: Tensor, sigma: Tensor) -> None:
        super().__init__()
        if alpha.ndim != 1 or alpha.shape != sigma.shape:
            raise ValueError(f"alpha and sigma must be two tables of one length, got {alpha.shape} and {sigma.shape}")
        clean = torch.tensor([1.0, 0.0], dtype=torch.float64)
        # The clean image is the last entry, at index CLEAN = -1.
        self.register_buffer("alpha_table", torch.cat([alpha.double(), clean[:1]]), persistent=False)
        self.register_buffer("sigma_table", torch.cat([sigma.double(), clean[1:]]), persistent=False)

    @classmethod
    def from_betas(cls, betas: Tensor) -> Schedule:
        """Variance-preserving schedule with abar_t = prod_{s=0..t} (1 - beta_s).  betas: [T]."""
        abar = torch.cumprod(1.0 - betas.double(), dim=0)
        return cls(abar.sqrt(), (1.0 - abar).sqrt())

    @classmethod
    def linear(cls, num_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Schedule:
        """The linear DDPM betas (arXiv 2006.11239)."""
        return cls.from_betas(torch.linspace(beta_start, beta_end, num_timesteps, dtype=torch.float64))

    @classmethod
    def from_scheduler(cls, scheduler: Any) -> Schedule:
        """The schedule of a diffusers scheduler with `alphas_cumprod` (DDPM, DDIM, PNDM, DPM-Solver, ...)."""
        abar = getattr(scheduler, "alphas_cumprod", None)
        if abar is None:
            raise ValueError(f"{type(scheduler).__name__} has no alphas_cumprod; use a DDPM or DDIM scheduler config")
        abar = abar.double()
        return cls(abar.sqrt(), (1.0 - abar).sqrt())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Schedule:
        """Moves to another device with its module, but keeps double precision: s^2 is computed from differences of
        neighbouring entries, which agree in all but the last few digits."""
        device = fn(torch.empty(0, device=self.alpha_table.device)).device
        self.alpha_table, self.sigma_table = self.alpha_table.to(device), self.sigma_table.to(device)
        return self

    def __len__(self) -> int:
        """T, the number of timesteps."""
        return len(self.alpha_table) - 1

    def alpha(self, t: int) -> float:
        """alpha_t as a number."""
        return float(self.alpha_table[t])

    def sigma(self, t: int) -> float:
        """sigma_t as a number."""
        return float(self.sigma_table[t])

    @property
    def levels(self) -> Tensor:
        """nu_t = sigma_t / alpha_t of every timestep, float64 [T]."""
        return (self.sigma_table / self.alpha_table)[:-1].contiguous()

    def nearest(self, levels: Tensor) -> Tensor:
        """The timestep whose sigma / alpha is nearest to each level.  levels: [N] -> int64 [N]."""
        table = self.levels
        levels = levels.to(table).contiguous()
        above = torch.searchsorted(table, levels).clamp(1, len(table) - 1)
        return torch.where(levels - table[above - 1] < table[above] - levels, above - 1, above)

    def at(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha_t, sigma_t) of each row, shaped to multiply `like`.

        t: [N] integers in CLEAN .. T-1 -> two tensors [N, 1, ...] of like's dtype.
        """
        shape = (-1,) + (1,) * (like.ndim - 1)
        return (
            self.alpha_table[t].to(like.dtype).view(shape),
            self.sigma_table[t].to(like.dtype).view(shape),
        )

    def norm(self, t: Tensor, like: Tensor) -> Tensor:
        """sqrt(alpha_t^2 + sigma_t^2) of each row, shaped to multiply `like`; 1 if variance preserving.

        x_t / norm is the variance-preserving form of x_t, in the units of published step sizes.
        """
        alpha, sigma = self.at(t, like.double())
        return (alpha**2 + sigma**2).sqrt().to(like.dtype)

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = alpha_t x_0 + sigma_t eps.  x0, eps: [N, ...], t: [N]."""
        alpha, sigma = self.at(t, x0)
        return alpha * x0 + sigma * eps

    def reverse_std(self, t: Tensor, t_next: Tensor, like: Tensor, variance_fraction: Tensor | None = None) -> Tensor:
        """s of the reverse step x_t -> x_t': the bridge q(x_t' | x_t, x_0) has s^2 = (sigma'/sigma)^2 added,
        added = sigma^2 - (alpha/alpha')^2 sigma'^2.

        Equals (1-abar')/(1-abar) (1 - abar/abar') when variance preserving, the "fixed small" variance of DDPM.
        variance_fraction v: for networks with learned variance, s^2 = added^v s^(2-2v) (arXiv 2102.09672, eq. 15).
        t, t_next: [N] with t_next < t -> [N, 1, ...], or like's shape with v. Zero if t_next is CLEAN.
        """
        alpha, sigma = self.at(t, like.double())
        alpha_next, sigma_next = self.at(t_next, like.double())
        added = (sigma**2 - (alpha / alpha_next) ** 2 * sigma_next**2).clamp(min=0)
        bridge = (sigma_next / sigma) ** 2 * added
        if variance_fraction is not None:
            bridge = torch.where(bridge > 0, added**variance_fraction * bridge ** (1 - variance_fraction), bridge)
        return bridge.sqrt().to(like.dtype)

    def grid(self, t0: int, steps: int | None = None) -> list[int]:
        """The timesteps that a sampler visits from noise level t0 down to 0, in descending order.

        t0 - 1, then those of `steps` evenly spaced timesteps ending at T-1 (None is all T) that are below it: on any
        grid, a chain starts at exactly the given noise level. t0 = 0 gives the empty list, t0 = T the whole grid.
        """
        total = len(self)
        if not 0 <= t0 <= total:
            raise ValueError(f"t0 must be between 0 and the number of timesteps {total}, got {t0}{self.note}")
        if steps is not None and not (is_number(steps) and 1 <= steps <= total and steps == int(steps)):
            raise ValueError(f"steps must be between 1 and the number of timesteps {total}, got {steps!r}{self.note}")
        steps = total if steps is None else int(steps)
        spaced = {round(total * (k + 1) / steps) - 1 for k in range(steps)}
        below = sorted((t for t in spaced if t < t0 - 1), reverse=True)
        return [t0 - 1, *below] if t0 > 0 else []


def check_alpha(schedule: Schedule, timesteps: Sequence[int], method: str) -> None:
    """Errors: ValueError if a method that divides by alpha would visit a timestep with alpha = 0 (zero SNR)."""
    if empty := [t for t in timesteps if schedule.alpha(t) == 0]:
        raise ValueError(
            f"{method} divides by alpha, which is 0 at timestep {empty[0]} of this model (zero terminal SNR); start "
            "below it, or use another method"
        )
