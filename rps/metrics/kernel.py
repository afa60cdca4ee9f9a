"""Kernel distance between two sets of feature vectors (arXiv 1801.01401; KID if they are Inception's)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rps.metrics.intervals import FRECHET_RESAMPLES, SEED, STEP, Draws, weights

DEGREE = 3


def kernel_distance(x: Tensor, reference: Tensor) -> float:
    """sum_{i != j} k(x_i, x_j) / n (n - 1) + the same of r, m - 2 sum_{ij} k(x_i, r_j) / n m.

    k(a, b) = (a^T b / D + 1)^3. The unbiased estimate of the squared maximum mean discrepancy, over all pairs rather
    than random subsets as in some packages; it may be negative. In float64.

    x: [n, D], reference: [m, D], n, m >= 2. Errors: ValueError for other shapes.
    """
    return kernel_draws(x, reference, resamples=0).value


def kernel_draws(
    x: Tensor, reference: Tensor, paired: bool = False, resamples: int = FRECHET_RESAMPLES, seed: int = SEED
) -> Draws:
    """The kernel distance, and its values on resamples, with the weights v = 1 + STEP (w - 1) of the samples.

    The weighted mean over pairs is sum_{i != j} v_i v_j k_ij / (sum_{i != j} v_i v_j).

    paired: x_i is the restoration of reference_i, and both are resampled together; otherwise the reference is fixed.
    """
    _check(x, reference)
    a, b = x.detach().cpu().double(), reference.detach().cpu().double()
    if paired and len(a) != len(b):
        raise ValueError(f"pairing {len(a)} features needs as many features of clean images, got {len(b)}")
    own, other, across = _without_diagonal(_kernel(a, a)), _without_diagonal(_kernel(b, b)), _kernel(a, b)
    n, m = len(a), len(b)
    fixed = other.sum() / (m * (m - 1))
    draws = []
    for w in weights(n, resamples, seed):
        v = 1 + STEP * (w - 1)
        pairs = v.sum(1).square() - v.square().sum(1)
        within = ((v @ own) * v).sum(1) / pairs
        if paired:
            draws.append(within + ((v @ other) * v).sum(1) / pairs - 2 * ((v @ across) * v).sum(1) / n**2)
        else:
            draws.append(within + fixed - 2 * (v @ across).sum(1) / (n * m))
    value = float(own.sum() / (n * (n - 1)) + fixed - 2 * across.mean())
    return Draws(value, torch.cat(draws) if draws else own.new_empty(0), n)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.mT / a.shape[1] + 1) ** DEGREE


def _without_diagonal(kernel: Tensor) -> Tensor:
    return kernel - torch.diag(kernel.diagonal())


def _check(x: Tensor, reference: Tensor) -> None:
    if x.ndim != 2 or reference.ndim != 2 or x.shape[1] != reference.shape[1] or min(len(x), len(reference)) < 2:
        raise ValueError(
            "a kernel distance needs features [n, D] and [m, D] of one network, n and m >= 2; got "
            f"{tuple(x.shape)} and {tuple(reference.shape)}"
        )
    if not math.isfinite(float(x.sum()) + float(reference.sum())):
        raise ValueError("a kernel distance needs finite features")
