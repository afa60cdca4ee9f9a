"""Mirrored borders of images."""

from __future__ import annotations

import torch
from torch import Tensor


def mirror(index: Tensor, size: int, repeat_edge: bool = False) -> Tensor:
    """The pixel, 0 .. size - 1, at each index of the mirrored image, however far beyond the border.

    x_2 x_1 | x_0 x_1 x_2 .. (as "reflect" of torch and numpy does), or with repeat_edge x_1 x_0 | x_0 x_1 .. (numpy's
    "symmetric").  index: integers -> integers of the same shape.
    """
    period = 2 * size if repeat_edge else max(2 * size - 2, 1)
    index = index % period
    return torch.minimum(index, period - int(repeat_edge) - index)
