"""Functions of the singular values of any linear operator, for the linear samplers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rps.measurement import Measurement
from rps.operators.base import Gain, LinearOperator, SpectralOperator
from rps.priors.base import Prior


def linear_operator(measurement: Measurement, prior: Prior, sampler: object) -> LinearOperator:
    """The operator of the measurement, for a sampler that needs a linear operator in pixel space."""
    if prior.latent:
        raise ValueError(
            f"{type(sampler).__name__} needs a linear operator in the space in which the diffusion runs, but the "
            "decoder of this latent prior is not linear; use LatentDps, Psld, Ldir, Dcdp, ReSample, Stsl, Dmap, "
            "LatentDaps or Sitcom"
        )
    operator, name = measurement.operator, type(sampler).__name__
    if not isinstance(operator, LinearOperator):
        raise ValueError(
            f"{name} needs a LinearOperator, but {type(operator).__name__} is nonlinear; use Dps, Daps or Sitcom"
        )
    return operator


def spectral(operator: LinearOperator, y: Tensor, gain: Gain) -> Tensor:
    """V f(S) U^T y for A = U S V^T: in closed form if the operator knows its singular values, else by `krylov`.

    y: [N, ...] -> image [N, C, H, W]. gain f: see `rps.operators.Gain`.
    """
    with torch.no_grad():
        if isinstance(operator, SpectralOperator):
            return operator.spectral(y, gain)
        return krylov(operator, y, gain)


def guidance(operator: LinearOperator, residual: Tensor, r2: Tensor, noise_std: float) -> Tensor:
    """A^T (r^2 A A^T + noise_std^2 I)^-1 residual.  residual: [N, ...], r2: [N, 1, 1, 1] -> [N, C, H, W].

    The gradient of log N(y; A x0, r^2 A A^T + noise_std^2 I) with respect to x0. x0 plus r^2 times it minimises
    ||y - A x||^2 / noise_std^2 + ||x - x0||^2 / r^2; for noise_std = 0 the minimiser is x0 + A^+ residual.
    """
    return spectral(operator, residual, lambda s: s / (r2 * s**2 + noise_std**2))


def krylov(operator: LinearOperator, y: Tensor, gain: Gain, size: int = 64, tolerance: float = 1e-6) -> Tensor:
    """V f(S) U^T y by Golub-Kahan bidiagonalisation (doi 10.1137/0702016), for operators with only a `forward`.

    A V_k = U_{k+1} B_k, and the result is V_k f(B_k) e_1 ||y||: for f = s / (s^2 + c) that of k conjugate-gradient
    iterations, but f may be any function. Each row stops once three more vectors change its result by less than
    tolerance, relative, or after `size` vectors, which need the memory of size * N images.
    """
    n, shape = len(y), y.shape
    small = torch.finfo(y.dtype).eps ** (2 / 3)  # relative to the largest singular value; smaller ones count as zero

    def orthonormal(vector: Tensor, basis: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(2):  # twice is enough (Kahan)
            vector = vector - (basis @ vector.unsqueeze(2)).mT.matmul(basis).squeeze(1)
        length = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
        length = torch.where(length <= small * scale, 0.0, length)  # the space is exhausted; NaN stays NaN
        return torch.where(length == 0, 0.0, vector / length), length

    flat = y.flatten(1)
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    u = torch.where(length == 0, 0.0, flat / length)
    us, vs = u.unsqueeze(1), flat.new_empty(n, 0, operator.adjoint(u.view(shape)).flatten(1).shape[1])
    lower, scale = flat.new_zeros(n, 1, 0), flat.new_zeros(n, 1)  # B_k, [N, k + 1, k]
    answer, done = flat.new_zeros(n, 0), torch.zeros(n, dtype=torch.bool, device=y.device)
    for k in range(1, size + 1):
        v, diagonal = orthonormal(operator.adjoint(u.view(shape)).flatten(1), vs, scale)
        scale = torch.maximum(scale, diagonal)
        vs = torch.cat([vs, v.unsqueeze(1)], dim=1)
        u, below = orthonormal(operator(v.view(n, *operator._shape())).flatten(1), us, scale)
        us = torch.cat([us, u.unsqueeze(1)], dim=1)
        lower = F.pad(lower, (0, 1, 0, 1))
        lower[:, k - 1, k - 1], lower[:, k, k - 1] = diagonal[:, 0], below[:, 0]
        if k % 3 and k < size:
            continue
        left, s, right = torch.linalg.svd(torch.nan_to_num(lower), full_matrices=False)
        present = s > small * s.amax(dim=1, keepdim=True)
        f = gain(torch.where(present, s, 1.0).view(n, 1, 1, k)).expand(n, 1, 1, k).view(n, k)
        coefficients = length * (right.mT @ (torch.where(present, f, 0.0) * left[:, 0]).unsqueeze(2)).squeeze(2)
        before = F.pad(answer, (0, k - answer.shape[1]))
        answer = torch.where(done.unsqueeze(1), before, coefficients)
        change = torch.linalg.vector_norm(answer - before, dim=1)
        done = done | ~(change > tolerance * torch.linalg.vector_norm(answer, dim=1))
        if bool(done.all()):
            break
    return (answer.unsqueeze(1) @ vs).view(n, *operator._shape())
