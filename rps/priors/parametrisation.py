"""Parametrisation: a network's inputs and outputs for x_t: eps, v, x0, EDM, consistency models, flow matching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rps.priors.base import Denoised
from rps.schedule import Schedule

PREDICTIONS = ("epsilon", "v_prediction", "sample")


class Parametrisation(Schedule):
    """x0hat = skip_t x_t + out_t F(scale_t x_t, time_t), as a table with one row per t (arXiv 2206.00364, eq. 7).

    The noise follows from x_t = alpha_t x_0 + sigma_t eps: eps = (x_t - alpha_t x0hat) / sigma_t.

    Args:
        alpha, sigma: [T], ordered from the least to the most noise; sigma is never 0, and alpha may be 0 only if the
            output of the network still determines x_0, as with v.
        skip, out: [T], coefficients of x_t and of the network's output.
        scale: [T], scale of the network's input; None is 1.
        time: [T], the network's time input; None is t itself.

    Errors: ValueError if a row is not finite.
    """

    def __init__(
        self,
        alpha: Tensor,
        sigma: Tensor,
        skip: Tensor,
        out: Tensor,
        scale: Tensor | None = None,
        time: Tensor | None = None,
    ) -> None:
        super().__init__(alpha, sigma)
        alpha, sigma, skip, out = (v.double() for v in (alpha, sigma, skip, out))
        scale = torch.ones_like(alpha) if scale is None else scale.double()
        # eps has its own coefficients, so that differences of nearly equal numbers are taken in double precision.
        rows = [scale, skip, out, (1 - alpha * skip) / sigma, -alpha * out / sigma]
        self.coefficients = torch.stack(rows)
        self.times = torch.arange(len(alpha)) if time is None else time.float()
        finite = self.coefficients.isfinite().all(0) & self.times.isfinite()
        if not finite.all():
            t = int((~finite).nonzero()[0])
            raise ValueError(
                f"the noise schedule has alpha = {alpha[t]:g} and sigma = {sigma[t]:g} at timestep {t}, where the "
                "network's output does not determine x_0 and eps; sigma must be > 0 at every timestep"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Parametrisation:
        super()._apply(fn, recurse)
        device = self.alpha_table.device
        self.coefficients, self.times = self.coefficients.to(device), self.times.to(device)
        return self

    def question(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(scale_t x, time_t), the inputs of the network.  x: [N, ...], t: [N]."""
        return self._row(0, t, x) * x, self.times[t]

    def answer(self, x: Tensor, output: Tensor, t: Tensor) -> Denoised:
        """The Denoised for the network's output.  x, output: [N, ...], t: [N]."""
        skip, out, eps_skip, eps_out = (self._row(k, t, x) for k in (1, 2, 3, 4))
        return Denoised(skip * x + out * output, eps_skip * x + eps_out * output)

    def _row(self, k: int, t: Tensor, like: Tensor) -> Tensor:
        return self.coefficients[k, t].to(like.dtype).view(-1, *(1,) * (like.ndim - 1))

    @classmethod
    def of_schedule(cls, schedule: Schedule, prediction_type: str = "epsilon") -> Parametrisation:
        """For a network that takes t and predicts eps, v = alpha eps - sigma x_0 (arXiv 2202.00512) or x_0.

        If alpha is 0 (a schedule rescaled to zero SNR, arXiv 2305.08891), eps does not determine x_0, so the table of a
        network that predicts eps ends before.
        """
        alpha, sigma = schedule.alpha_table[:-1], schedule.sigma_table[:-1]
        number = int((alpha > 0).sum()) if prediction_type == "epsilon" else len(alpha)
        alpha, sigma = alpha[:number], sigma[:number]
        norm = alpha**2 + sigma**2
        if prediction_type not in PREDICTIONS:
            raise ValueError(
                f"the scheduler's prediction_type must be epsilon, v_prediction or sample, got {prediction_type!r}"
            )
        skip, out = {
            "epsilon": (1 / alpha, -sigma / alpha),
            "v_prediction": (alpha / norm, -sigma / norm),
            "sample": (torch.zeros_like(alpha), torch.ones_like(alpha)),
        }[prediction_type]
        found = cls(alpha, sigma, skip, out)
        if number < len(schedule):
            found.note = (
                f"; from timestep {number} on, the schedule has alpha = 0 (zero SNR), where a prediction of eps does "
                "not determine x_0"
            )
        return found

    @classmethod
    def edm(cls, sigma: Tensor, sigma_data: float = 0.5, prediction_type: str = "epsilon") -> Parametrisation:
        """alpha = 1; c_in = 1 / sqrt(sigma^2 + d^2), c_noise = ln(sigma) / 4, c_skip = d^2 / (sigma^2 + d^2),
        c_out = sigma d / sqrt(sigma^2 + d^2), d = sigma_data (arXiv 2206.00364, table 1); -c_out for v_prediction.

        sigma: [T], e.g. from `karras`.
        """
        if prediction_type not in ("epsilon", "v_prediction"):
            raise ValueError(
                f"the prediction_type of an EDM scheduler must be epsilon or v_prediction, got {prediction_type!r}"
            )
        sigma = sigma.double()
        norm = (sigma**2 + sigma_data**2).sqrt()
        out = sigma * sigma_data / norm * (1 if prediction_type == "epsilon" else -1)
        return cls(torch.ones_like(sigma), sigma, (sigma_data / norm) ** 2, out, 1 / norm, sigma.log() / 4)

    @classmethod
    def consistency(cls, sigma: Tensor, sigma_data: float = 0.5) -> Parametrisation:
        """alpha = 1; c_skip = d^2 / ((sigma - sigma_0)^2 + d^2), c_out = (sigma - sigma_0) d / sqrt(sigma^2 + d^2)
        (arXiv 2303.01469, appendix C), c_in as in `edm`, and the network takes 1000 c_noise.

        The prediction is the end of the probability flow at sigma_0, a sharp image, and not the mean of x_0: the two
        agree only at low noise. sigma: [T]; sigma_0 is its first entry.
        """
        sigma = sigma.double()
        norm, above = (sigma**2 + sigma_data**2).sqrt(), sigma - sigma[0]
        skip, out = sigma_data**2 / (above**2 + sigma_data**2), above * sigma_data / norm
        return cls(torch.ones_like(sigma), sigma, skip, out, 1 / norm, 250 * sigma.log())

    @classmethod
    def flow_matching(cls, num_timesteps: int = 1000, shift: float = 1.0) -> Parametrisation:
        """x_t = (1 - s) x_0 + s eps and F = d x_t / d s = eps - x_0, so x0hat = x_t - s F (arXiv 2210.02747).

        s = shift u / (1 + (shift - 1) u) at the midpoints u = (i + 1/2) / T, which excludes the ends, where alpha or
        sigma is 0. The network takes s times num_timesteps.
        """
        u = (torch.arange(num_timesteps, dtype=torch.float64) + 0.5) / num_timesteps
        s = shift * u / (1 + (shift - 1) * u)
        return cls(1 - s, s, torch.ones_like(s), -s, time=s * num_timesteps)

    @classmethod
    def of_scheduler(cls, scheduler: Any) -> Parametrisation:
        """The parametrisation of a model with this diffusers scheduler, whose stepping rule is not used.

        EDM*, CMStochasticIterative* and FlowMatch* are recognised by class; any other scheduler needs alphas_cumprod.
        """
        config, kind = scheduler.config, type(scheduler).__name__
        if kind.startswith(("EDM", "CMStochasticIterative")):
            ends = (config.sigma_min, config.sigma_max, config.num_train_timesteps)
            exponential = config.get("sigma_schedule") == "exponential"
            sigma = geometric(*ends) if exponential else karras(*ends, rho=config.rho)
            if kind.startswith("EDM"):
                return cls.edm(sigma, config.sigma_data, config.prediction_type)
            return cls.consistency(sigma, config.sigma_data)
        if kind.startswith("FlowMatch"):
            return cls.flow_matching(config.num_train_timesteps, config.shift)
        return cls.of_schedule(Schedule.from_scheduler(scheduler), config.get("prediction_type", "epsilon"))


def karras(sigma_min: float, sigma_max: float, num_timesteps: int, rho: float = 7.0) -> Tensor:
    """sigma_i = (sigma_min^(1/rho) + i / (T - 1) (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho, i = 0 .. T-1, [T]
    (arXiv 2206.00364, eq. 5, in ascending order)."""
    return torch.linspace(sigma_min ** (1 / rho), sigma_max ** (1 / rho), num_timesteps, dtype=torch.float64) ** rho


def geometric(sigma_min: float, sigma_max: float, num_timesteps: int) -> Tensor:
    """sigma_i = sigma_min (sigma_max / sigma_min)^(i / (T - 1)), i = 0 .. T-1, [T]."""
    part = torch.linspace(0, 1, num_timesteps, dtype=torch.float64)
    return sigma_min * (sigma_max / sigma_min) ** part
