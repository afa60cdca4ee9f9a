"""Fits a low-rank mixture to images: k-means, then the principal components of every cluster."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.priors.analytic.low_rank_mixture import LowRankMixture


@torch.no_grad()
def fit_mixture(
    images: Tensor, components: int = 10, rank: int = 20, min_std: float = 0.05, seed: int = 0
) -> LowRankMixture:
    """S_k = sum_r (l_r - s_k^2) u_r u_r^T + s_k^2 I: l_r, u_r are the principal components of cluster k, s_k^2 the mean
    squared residual per pixel of held-out images.

    Probabilistic principal components (Tipping and Bishop 1999, doi 10.1111/1467-9868.00196) take s_k^2 from the fitted
    images themselves, which is too small if a cluster has fewer images than pixels: s_k is 0.05 to 0.14 for the default
    on the embedded images, but 0.22 to 0.30 on held-out ones.

    images: [n, C, H, W]. components: number of clusters, found by k-means++ and Lloyd's iterations. rank: largest
    number of principal components of a cluster. min_std: smallest s_k, in [-1, 1] image units. seed: seed of k-means++.
    """
    n, dim = len(images), images[0].numel() if len(images) else 0
    if not 1 <= components <= n:
        raise ValueError(f"components must be between 1 and the number of images {n}, got {components}")
    if not 0 <= rank <= dim:
        raise ValueError(f"rank must be between 0 and the number of pixels {dim}, got {rank}")
    if min_std <= 0:
        raise ValueError(f"min_std must be > 0 in [-1, 1] image units, got {min_std}")
    flat = images.flatten(1).double()
    cluster = _k_means(flat, components, seed)
    sizes = torch.stack([(cluster == k).sum() for k in range(components)])
    parts = [_principal(flat[cluster == k], rank) for k in range(components)]
    floor = torch.stack([_held_out_residual(flat[cluster == k], rank) for k in range(components)])
    known = ~torch.isnan(floor)
    pooled = (sizes[known] * floor[known]).sum() / sizes[known].sum().clamp(min=1)
    floor = torch.where(known, floor, pooled).clamp(min=min_std**2)
    means, vectors, spectrum = (torch.stack(part) for part in zip(*parts, strict=True))
    values = (spectrum - floor.unsqueeze(1)).clamp(min=0)
    return LowRankMixture((sizes.to(flat) / n).log()[None], means[None], vectors, values[None], floor[None])


def _principal(cluster: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """(mean [D], u [D, R], l [R]) of the images of one cluster [n, D]; components beyond n - 1 are zero."""
    n, dim = cluster.shape
    mean, kept = cluster.mean(0), min(rank, n - 1)
    _, singular, axes = torch.linalg.svd((cluster - mean) / n**0.5, full_matrices=False)
    values, vectors = cluster.new_zeros(rank), cluster.new_zeros(dim, rank)
    values[:kept], vectors[:, :kept] = singular[:kept].square(), axes[:kept].mT
    return mean, vectors, values


def _held_out_residual(cluster: Tensor, rank: int, folds: int = 5) -> Tensor:
    """Mean squared residual per pixel of images about mean and components fitted without them; NaN for one image."""
    n, dim = cluster.shape
    fold, squares = torch.arange(n) % folds, []
    for left_out in range(min(folds, n) if n > 1 else 0):
        mean, vectors, _ = _principal(cluster[fold != left_out], rank)
        offset = cluster[fold == left_out] - mean
        residual = offset - (offset @ vectors) @ vectors.mT
        squares.append(residual.square().sum(1) / max(dim - int(vectors.any(0).sum()), 1))
    return torch.cat(squares).mean() if squares else cluster.new_tensor(torch.nan)


def _k_means(x: Tensor, k: int, seed: int, iterations: int = 100) -> Tensor:
    """The cluster of each row; no cluster is empty.  x: [n, D] -> int64 [n]."""
    generator = torch.Generator().manual_seed(seed)
    centres = x[torch.randint(len(x), (1,), generator=generator)]
    for _ in range(1, k):
        # k-means++: the next centre is drawn in proportion to the squared distance from the nearest centre.
        distance = torch.cdist(x, centres).square().amin(1)
        share = torch.cumsum(distance, 0) if bool(distance.any()) else torch.arange(1.0, len(x) + 1).to(x)
        chosen = torch.searchsorted(share, torch.rand(1, generator=generator).to(x) * share[-1])
        centres = torch.cat([centres, x[chosen.clamp(max=len(x) - 1)]])
    cluster = torch.full((len(x),), -1)
    for _ in range(iterations):
        distance = torch.cdist(x, centres)
        nearest = distance.argmin(1)
        for empty in sorted(set(range(k)) - set(nearest.tolist())):
            # The image furthest from its centre, among clusters of more than one image.
            shared = torch.bincount(nearest, minlength=k)[nearest] > 1
            nearest[torch.where(shared, distance.amin(1), -1.0).argmax()] = empty
        if torch.equal(nearest, cluster):
            break
        cluster = nearest
        centres = torch.stack([x[cluster == i].mean(0) for i in range(k)])
    return cluster
