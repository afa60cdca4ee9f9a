"""Denoising diffusion restoration models, DDRM (arXiv 2201.11793)."""

from __future__ import annotations

from torch import Tensor

from rps.samplers.ddnm import Ddnm
from rps.settings import is_number


class Ddrm(Ddnm):
    """One Gaussian update per singular value c of A, eq. 7 and 8 of the paper in terms of alpha and sigma. With
    m = alpha' sigma_y / c the noise of y propagated to t':
        c = 0        alpha' x0hat + sigma' (sqrt(1 - eta^2) eps + eta z)
        m <= sigma'  alpha' ((1 - eta_b) x0hat + eta_b A^+ y) + sqrt(sigma'^2 - eta_b^2 m^2) z
        m > sigma'   alpha' x0hat + sqrt(1 - eta^2) sigma' / m alpha' (A^+ y - x0hat) + eta sigma' z
    For eta_b = 1, sigma_y > 0 this is DDNM+. One network call per step, not differentiated. Needs a linear operator.

    Args:
        eta: share of fresh noise where y is noisier than x' (m > sigma') or missing, in [0, 1].
        eta_b: share of y where it is less noisy (m <= sigma'), in [0, 1].
        clip: whether to clip x0hat to [-1, 1], see Ddnm.
    """

    default_steps = 20

    def __init__(self, eta: float = 0.85, eta_b: float = 1.0, clip: bool = False) -> None:
        super().__init__(eta, clip)
        if not (is_number(eta_b) and 0 <= eta_b <= 1):
            raise ValueError(f"eta_b must be between 0 and 1, got {eta_b!r}")
        self.eta_b = eta_b

    def reliable(self, m: Tensor, sigma_next: Tensor) -> tuple[Tensor | float, Tensor | float, Tensor | float]:
        return self.eta_b, (sigma_next**2 - (self.eta_b * m) ** 2).clamp(min=0).sqrt(), 0.0
