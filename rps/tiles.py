"""Overlapping tiles that cover a picture, and smooth weights that sum to 1 at every pixel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rps.chunks import chunks

OnTiles = Callable[[Tensor, Tensor, Tensor], Sequence[Tensor]]
"""(M tiles [M, C, h, w], the row that each is of [M], its number in the picture [M]) -> tensors [M, C', h', w']."""


@dataclass(frozen=True)
class Tiles:
    """The fewest tiles that cover a picture, evenly spread.

    size, tile: (height, width) of the picture and of a tile, which is not larger. overlap: the least number of pixels
    that neighbours share.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    overlap: int

    @property
    def starts(self) -> tuple[list[int], list[int]]:
        """The first row and the first column of the tiles, one after the other."""
        return _starts(self.size[0], self.tile[0], self.overlap), _starts(self.size[1], self.tile[1], self.overlap)

    def __len__(self) -> int:
        return math.prod(map(len, self.starts))

    def borders(self) -> tuple[list[int], list[int]]:
        """The rows and the columns at which a tile begins or ends inside the picture."""
        along = zip(self.starts, self.tile, self.size, strict=True)
        rows, columns = (sorted({s + e for s in starts for e in (0, tile)} - {0, size}) for starts, tile, size in along)
        return rows, columns

    def blend(self, function: OnTiles, x: Tensor, micro_batch: int | None = None) -> list[Tensor]:
        """sum_j w_j f_j, f_j the results of `function` for tile j, placed where the tile is.

        w_j is a product over both axes of a raised cosine that rises over `overlap` pixels at the ends of the tile
        inside the picture, divided by the sum of all w_j. The picture x and the results may have pixels of another
        size than the tiles count in, by a whole factor.  x: [N, C, a height, a width] -> [N, C', b height, b width].

        micro_batch: largest number of tiles, of any row, in one call; None puts no limit.
        """
        places = [(i, top, left) for i in range(len(x)) for top in self.starts[0] for left in self.starts[1]]
        number = torch.arange(len(places), device=x.device)
        weights: dict[tuple[int, int], Tensor] = {}
        blended: list[Tensor] = []
        a = x.shape[2] // self.size[0]
        for part in chunks(len(places), micro_batch):
            tiles = torch.stack([x[i][self._at(a, top, left)] for i, top, left in places[part]])
            found = function(tiles, number[part] // len(self), number[part] % len(self))
            b = found[0].shape[2] // self.tile[0]
            weights = weights or self._weights(b, found[0])
            blended = blended or [v.new_zeros(len(x), v.shape[1], b * self.size[0], b * self.size[1]) for v in found]
            for total, values in zip(blended, found, strict=True):
                for (i, top, left), value in zip(places[part], values, strict=True):
                    total[i][self._at(b, top, left)].add_(weights[top, left] * value)
        return blended

    def _at(self, scale: int, top: int, left: int) -> tuple[slice, slice, slice]:
        height, width = self.tile
        rows, columns = slice(scale * top, scale * (top + height)), slice(scale * left, scale * (left + width))
        return slice(None), rows, columns

    def _weights(self, scale: int, like: Tensor) -> dict[tuple[int, int], Tensor]:
        """(first row, first column) -> [scale * height, scale * width]."""
        along = zip(self.starts, self.size, self.tile, strict=True)
        rows, columns = (_windows(starts, size, tile, self.overlap, scale) for starts, size, tile in along)
        return {(top, left): torch.outer(v, h).to(like) for top, v in rows.items() for left, h in columns.items()}


def _starts(size: int, tile: int, overlap: int) -> list[int]:
    if size <= tile:
        return [0]
    last = math.ceil((size - tile) / (tile - overlap))
    return [round(k * (size - tile) / last) for k in range(last + 1)]


def _windows(starts: Sequence[int], size: int, tile: int, overlap: int, scale: int) -> dict[int, Tensor]:
    """The weights along one axis, which sum to 1 at each pixel.  -> start -> float64 [scale * tile]."""
    place = torch.arange(scale * tile, dtype=torch.float64) + 0.5
    rise = (torch.pi / 2 * (place / max(scale * overlap, 0.5)).clamp(max=1)).sin().square()
    total, windows = torch.zeros(scale * size, dtype=torch.float64), {}
    for start in starts:
        window = (rise if start > 0 else 1) * (rise.flip(0) if start + tile < size else 1) * torch.ones_like(rise)
        total[scale * start : scale * (start + tile)] += window
        windows[start] = window
    return {start: window / total[scale * start : scale * (start + tile)] for start, window in windows.items()}
