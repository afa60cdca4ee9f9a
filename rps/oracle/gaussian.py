"""Exact references for the Gaussian case: the optimal coupling, and output laws of samplers without sampling error.

Distortion is MSE per image, perception is Wasserstein-2. Matrices are [D, D] float64, vectors [D].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.metrics.frechet import Gaussian, root, transport
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.schedule import CLEAN


def optimal_coupling(prior: Gaussian, estimate: Gaussian) -> tuple[Tensor, Tensor]:
    """(M, R) for X_0 | X* ~ N(m + M (X* - m*), R), of law `prior` and as close to X* ~ `estimate` as W2 allows.

    X_P = (P / P*) X* + (1 - P / P*) X_0 lies on the curve D(P). With T the transport of the prior onto the estimate,
    M = S T S*^+ and R = S - M S* M^T, which is zero if S* has full rank.
    """
    m = prior.cov @ transport(prior, estimate) @ root(estimate.cov, -1.0)
    return m, prior.cov - m @ estimate.cov @ m.mT


def rps_law(posterior: Gaussian, alpha: float, sigma: float) -> Gaussian:
    """The output of MAP-RPS with an exact stage 2 from x_t = alpha mu_y + sigma z: N(mu_y, C (I - G^2)),
    G = alpha^2 C (alpha^2 C + sigma^2 I)^-1 (method.md section 3)."""
    c = posterior.cov
    eye = torch.eye(len(c), dtype=c.dtype, device=c.device)
    g = alpha**2 * torch.linalg.solve(alpha**2 * c + sigma**2 * eye, c)
    return Gaussian(posterior.mean, c @ (eye - g @ g))


class _Affine(Streams):
    """Streams with given values: row by row, the k-th draw of a step reads its own columns of a table of normals."""

    def __init__(self, table: Tensor, places: dict[Any, tuple[int, int]], path: tuple[Any, ...] = ()) -> None:
        self.table, self.places, self.path = table, places, path
        self.keys = table  # one row per row of the batch, for len() and .device

    def at(self, *path: Any) -> _Affine:
        return _Affine(self.table, self.places, (*self.path, *path))

    def at_step(self, step: Any) -> _Affine:
        number = int(torch.as_tensor(step).flatten()[0])  # all rows of a propagated step are at one time
        return _Affine(self.table, self.places, (*self.path, ("step", number)))

    def __getitem__(self, rows: Any) -> _Affine:
        return _Affine(self.table[rows], self.places, self.path)

    def bits(self, count: int) -> Tensor:
        raise ValueError("the sampler draws numbers that are not normal, so its steps are not affine in normal noise")

    def normal(self, shape: Sequence[int]) -> Tensor:
        count = torch.Size(shape).numel()
        used = sum(width for _, width in self.places.values())
        start, _ = self.places.setdefault((self.path, tuple(shape)), (used, count))
        missing = max(start + count - self.table.shape[1], 0)
        values = torch.nn.functional.pad(self.table, (0, missing))[:, start : start + count]
        return values.reshape(len(self.table), *shape)


@torch.no_grad()
def propagate_affine(
    sampler: Sampler,
    measurement: Measurement,
    prior: Prior,
    timesteps: Sequence[int],
    start: Gaussian,
    tol: float = 1e-6,
) -> Gaussian:
    """The output law of a chain of steps x' = M x + c + N z, z ~ N(0, I): each step is identified from unit vectors for
    x and z, in one batch, and maps mean m to M m + c and covariance C to M C M^T + N N^T.

    measurement: of one image, in float64. start: law of x at the first of the `timesteps`. Errors: ValueError if a step
    is not affine at a random point, by more than tol relative.
    """
    if len(measurement) != 1:
        raise ValueError(f"propagate_affine needs the measurement of one image, got {len(measurement)}")
    shape, mean, cov = prior.sample_shape, start.mean, start.cov
    d, device, dtype = len(mean), mean.device, mean.dtype
    for t, t_next in zip(timesteps, [*timesteps[1:], CLEAN], strict=True):

        def step(x: Tensor, z: Tensor, places: dict[Any, tuple[int, int]], t: int = t, then: int = t_next) -> Tensor:
            rows = torch.zeros(len(x), dtype=torch.int64, device=device)
            noise, image = _Affine(z, places), x.view(-1, *shape)
            return sampler.step(image, rows + t, rows + then, measurement.rows(rows), prior, noise).flatten(1)

        places: dict[Any, tuple[int, int]] = {}
        step(mean.unsqueeze(0), mean.new_zeros(1, 0), places)  # finds how many normals the step draws
        noises = sum(width for _, width in places.values())
        probe = torch.linspace(0.5, 1.5, d + noises, dtype=dtype, device=device).sin()
        inputs = torch.cat([torch.zeros(1, d + noises), torch.eye(d + noises), torch.zeros(1, d + noises)]).to(mean)
        inputs[-1] = probe
        outputs = step(inputs[:, :d] + mean, inputs[:, d:], places)
        centre, slopes = outputs[0], outputs[1:-1] - outputs[0]
        gap = (outputs[-1] - centre - probe @ slopes).norm() / (outputs[-1] - centre).norm().clamp(min=1e-300)
        if not gap <= tol:
            raise ValueError(
                f"{type(sampler).__name__} is not affine at t = {t} (by {gap:.0e}, relative): its law is not Gaussian"
            )
        m, n = slopes[:d].mT, slopes[d:].mT
        mean, cov = centre, m @ cov @ m.mT + n @ n.mT
    return Gaussian(mean, cov)
