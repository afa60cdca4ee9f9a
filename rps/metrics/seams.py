"""How visible the borders of tiles are in an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Seams(NamedTuple):
    """Figures at the borders of tiles, relative to those elsewhere: 1 if the borders leave no trace.

    error: root mean square of the error in the pixels on both sides of a border. jump: root mean square of the
    difference of the errors of neighbouring pixels, across a border; this is what the eye sees.
    """

    error: float
    jump: float


def seams(x: Tensor, reference: Tensor, borders: tuple[Sequence[int], Sequence[int]]) -> Seams:
    """The seams in x.  x, reference: [N, C, H, W], in any units. borders: rows and columns at which tiles begin or end,
    from TiledPrior.borders(H, W). reference: the clean images, or what the same method gives without tiles.

    Errors: ValueError without a border, and for images of different shapes.
    """
    if not any(borders) or x.shape != reference.shape:
        raise ValueError(
            f"seams needs images with borders of tiles and references of the same shape, got {sum(map(len, borders))} "
            f"borders, {tuple(x.shape)} and {tuple(reference.shape)}; give pictures larger than a tile"
        )
    error = (x - reference).double()
    # Whether there is a border between pixel i and pixel i + 1, bool [size - 1].
    rows, columns = (
        torch.isin(torch.arange(1, n), torch.tensor(at, dtype=torch.int64)).to(x.device)
        for n, at in zip(x.shape[2:], borders, strict=True)
    )
    near = (_beside(rows)[:, None] | _beside(columns)).expand_as(error)
    down, right = error.diff(dim=2), error.diff(dim=3)
    across = torch.cat([down[:, :, rows].flatten(), right[..., columns].flatten()])
    within = torch.cat([down[:, :, ~rows].flatten(), right[..., ~columns].flatten()])
    return Seams(_ratio(error[near], error[~near]), _ratio(across, within))


def _beside(crossing: Tensor) -> Tensor:
    """Whether a pixel is on a border.  -> bool [size]."""
    none = crossing.new_zeros(1)
    return torch.cat([none, crossing]) | torch.cat([crossing, none])


def _ratio(a: Tensor, b: Tensor) -> float:
    return float((a.square().mean() / b.square().mean()).sqrt())
