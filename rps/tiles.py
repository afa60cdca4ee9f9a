"""Overlapping tiles that cover a picture, and smooth weights that sum to 1 at every pixel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rps.chunks import chunks

Place = tuple[int, int, int]
"""The row of the batch, and the first row and column of a tile in its picture."""
Rows = tuple[Tensor, Tensor]
"""For each of M tiles, the row of the batch [M] and its number in the picture [M]."""
OnTiles = Callable[[Tensor, Tensor, Tensor], Sequence[Tensor]]
"""(M tiles [M, C, h, w], *Rows) -> tensors [M, C', h', w']."""


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
        Differentiable in x: the backward calls `function` again, so memory does not grow with the number of tiles.

        micro_batch: largest number of tiles, of any row, in one call; None puts no limit.
        """
        return list(_Blend.apply(self, function, micro_batch, x))

    def calls(self, n: int, micro_batch: int | None, device: torch.device) -> Iterator[tuple[list[Place], Rows]]:
        """The tiles of n pictures, part by part: their places, and the row and number of each."""
        places = [(i, top, left) for i in range(n) for top in self.starts[0] for left in self.starts[1]]
        number = torch.arange(len(places), device=device)
        for part in chunks(len(places), micro_batch):
            yield places[part], (number[part] // len(self), number[part] % len(self))

    def at(self, x: Tensor, place: Place) -> Tensor:
        """The pixels of a tile, a view of x.  x: [N, C, a height, a width] -> [C, a h, a w]."""
        i, top, left = place
        scale, (height, width) = x.shape[2] // self.size[0], self.tile
        return x[i, :, scale * top : scale * (top + height), scale * left : scale * (left + width)]

    def windows(self, scale: int, like: Tensor) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """First row -> weights [scale h, 1], and first column -> weights [scale w]; their products are the w_j."""
        along = zip(self.starts, self.size, self.tile, strict=True)
        rows, columns = (_windows(starts, size, tile, self.overlap, scale, like) for starts, size, tile in along)
        return {top: window[:, None] for top, window in rows.items()}, columns


class _Blend(torch.autograd.Function):
    """`Tiles.blend`."""

    @staticmethod
    def forward(ctx: Any, tiles: Tiles, function: OnTiles, micro_batch: int | None, x: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x)
        ctx.set_materialize_grads(False)
        ctx.given = tiles, function, micro_batch
        blended: list[Tensor] = []
        for places, of in tiles.calls(len(x), micro_batch, x.device):
            found = function(torch.stack([tiles.at(x, place) for place in places]), *of)
            if not blended:
                scale = found[0].shape[2] // tiles.tile[0]
                blended = [v.new_zeros(len(x), v.shape[1], *(scale * n for n in tiles.size)) for v in found]
                vertical, horizontal = tiles.windows(scale, found[0])
            for total, values in zip(blended, found, strict=True):
                for place, value in zip(places, values, strict=True):
                    tiles.at(total, place).add_(vertical[place[1]] * horizontal[place[2]] * value)
        return tuple(blended)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (x,), (tiles, function, micro_batch) = ctx.saved_tensors, ctx.given
        whole = torch.zeros_like(x)
        some = next(g for g in gradients if g is not None)
        vertical, horizontal = tiles.windows(some.shape[2] // tiles.size[0], some)
        for places, of in tiles.calls(len(x), micro_batch, x.device):
            with torch.enable_grad():
                part = torch.stack([tiles.at(x, place) for place in places]).requires_grad_()
                found = function(part, *of)
            used = [(v, g) for v, g in zip(found, gradients, strict=True) if v.requires_grad and g is not None]
            weighted = [
                torch.stack([vertical[place[1]] * horizontal[place[2]] * tiles.at(g, place) for place in places])
                for _, g in used
            ]
            (pulled,) = torch.autograd.grad([v for v, _ in used], part, weighted)
            for place, value in zip(places, pulled, strict=True):
                tiles.at(whole, place).add_(value)
        return None, None, None, whole


def _starts(size: int, tile: int, overlap: int) -> list[int]:
    if size <= tile:
        return [0]
    last = math.ceil((size - tile) / (tile - overlap))
    return [round(k * (size - tile) / last) for k in range(last + 1)]


def _windows(starts: Sequence[int], size: int, tile: int, overlap: int, scale: int, like: Tensor) -> dict[int, Tensor]:
    """The weights along one axis, which sum to 1 at each pixel.  -> start -> [scale * tile], computed in float64."""
    place = torch.arange(scale * tile, dtype=torch.float64) + 0.5
    rise = (torch.pi / 2 * (place / max(scale * overlap, 0.5)).clamp(max=1)).sin().square()
    total, windows = torch.zeros(scale * size, dtype=torch.float64), {}
    for start in starts:
        window = (rise if start > 0 else 1) * (rise.flip(0) if start + tile < size else 1) * torch.ones_like(rise)
        total[scale * start : scale * (start + tile)] += window
        windows[start] = window
    return {at: (window / total[scale * at : scale * (at + tile)]).to(like) for at, window in windows.items()}
