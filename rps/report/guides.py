"""Guides: what theory says of a distortion-perception plane, scaled to the points that are on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rps.metrics.dp import distortion
from rps.report.cells import is_known

CURVE = 33
"""Number of points of a curve."""


@dataclass(frozen=True)
class Guides:
    """Reference curves of a plane of RMSE x and root Frechet distance y.

    D* = x*^2 is the MSE of the level with the lowest RMSE, P* its distance, P0 that of the clean images. A perfect
    posterior sampler has an MSE of 2 D* if that level is the posterior mean: `sampler` is its RMSE, sqrt(2) x*. `curve`
    is D(P) = D* + [(P* - P)_+]^2 (arXiv 2107.02555) with P in the unit in which P* - P0 = sqrt(D*), its value given y,
    so that it ends at 2 D* on the line of the clean images. It bounds estimators only if P is W2 of pixels, of which
    the distance of features knows neither the unit nor the order: between these two ends it is a guide. It is empty
    without P0, and where P* is no more than two standard errors above it.

    near: whether `sampler` is so near that an axis with it does not squeeze the points; without it, the curve ends at
    the last one. best: name of that level.
    """

    best: str
    sampler: float
    near: bool
    curve: Sequence[tuple[float, float]]

    def texts(self) -> dict[str, str]:
        """What is drawn -> what it is, for legends."""
        outside = "" if self.near else f" (outside, at {self.sampler:.4f})"
        texts = {"sampler": f"2 D*: √2 times the RMSE of {self.best}, that of a perfect posterior sampler{outside}"}
        if self.curve:
            texts["curve"] = f"D(P) from {self.best}, in units that give 2 D* at the clean images: no bound, a guide"
        return texts


def clean_root(summary: Mapping[str, Any]) -> float | None:
    """sqrt(FD) of the clean images themselves, the floor of restorations; None if it is not known."""
    root: float | None = (summary.get("reference") or {}).get("metrics", {}).get("frechet", {}).get("sqrt")
    return root if is_known(root) else None


def guides(points: Sequence[tuple[str, Mapping[str, float]]], clean: float | None) -> Guides | None:
    """The guides of a plane.  points: (name, `plane_point`) of every level. clean: sqrt(FD) of the clean images.

    -> None for a single level, which may be a sample as well as an estimate.
    """
    if len(points) < 2:
        return None
    best, point = min(points, key=lambda of: of[1]["x"])
    x, top, curve = point["x"], point["y"], list[tuple[float, float]]()
    farthest = max(of["x"] for _, of in points)
    near = 2**0.5 * x <= 3 * farthest - 2 * x
    if clean is not None and top - clean > 2 * point["y_se"]:
        y = torch.linspace(clean, top, CURVE, dtype=torch.float64)
        mse = distortion((y - clean) * x / (top - clean), x**2, x)
        curve = [(a, b) for a, b in zip(mse.sqrt().tolist(), y.tolist(), strict=True) if near or a <= farthest]
    return Guides(best, 2**0.5 * x, near, curve)
