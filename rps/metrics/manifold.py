"""Precision and recall of a set of images: separate figures of quality and coverage (arXiv 1904.06991)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rps.metrics.intervals import Estimate, means

NEIGHBOURS = 3


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision: share of the n images within the manifold of the reference. Recall: share of the m reference images
    within the manifold of the images. Each with its standard error and interval for a given manifold.
    """

    precision: Estimate
    recall: Estimate
    n: int
    m: int
    neighbours: int


def precision_recall(features: Tensor, reference: Tensor, neighbours: int = NEIGHBOURS) -> PrecisionRecall:
    """mean_i 1[some j: |x_i - r_j| <= R_j], R_j the distance of r_j to its k-th nearest other r; recall: x, r swapped.

    Both depend on n and m: compare only sets of equal sizes.

    features: [n, D], reference: [m, D], n, m > k. Errors: ValueError for fewer.
    """
    if features.ndim != 2 or reference.ndim != 2 or features.shape[1] != reference.shape[1]:
        raise ValueError(
            "precision and recall need features [n, D] and [m, D] of one network, got "
            f"{tuple(features.shape)} and {tuple(reference.shape)}"
        )
    if min(len(features), len(reference)) <= neighbours:
        raise ValueError(
            f"{neighbours} neighbours need more than {neighbours} images in each set, got {len(features)} and "
            f"{len(reference)}"
        )
    x, r = features.detach().cpu().double(), reference.detach().cpu().double()
    across = _distances(x, r)
    within_reference = (across <= _radii(r, neighbours)).any(1)
    within_images = (across.mT <= _radii(x, neighbours)).any(1)
    (precision,), (recall,) = (means(hit.double().unsqueeze(1)) for hit in (within_reference, within_images))
    return PrecisionRecall(precision, recall, len(x), len(r), neighbours)


def _radii(points: Tensor, neighbours: int) -> Tensor:
    """Distance of each point to its k-th nearest other point."""
    distances = _distances(points, points)
    distances.fill_diagonal_(0)
    return distances.kthvalue(neighbours + 1, dim=1).values  # the nearest is the point itself


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
