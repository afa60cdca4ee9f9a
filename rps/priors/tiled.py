"""TiledPrior: pictures of any height and width with a prior of one size."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rps.cost import RelativeCost
from rps.measurement import Measurement
from rps.operators.base import Operator
from rps.operators.padding import mirror
from rps.priors.base import Denoised, Prior
from rps.settings import at_least_one, not_negative
from rps.shallow import shallow_copy
from rps.tiles import OnTiles, Tiles


class TiledPrior(Prior):
    """x0 = sum_j w_j E[x_0,j | x_t,j] over overlapping tiles j of x_t, with smooth weights that sum to 1 (rps.tiles):
    an approximation, in which a pixel depends on no more than the tiles around it.

    The tiles are blended in every call of the prior, as in arXiv 2302.08113, so samplers and estimators work on the
    whole picture. The autoencoder of a latent prior encodes and decodes in tiles, too. A picture smaller than a tile is
    mirrored at its lower and right border, and the result cropped. Costs count tiles. The backward of a tile repeats
    its forward, so that no activations are kept for it.

    Args:
        prior: a prior of one size.
        tile: height and width of a tile, in pixels of the image; None is the prior's size. Any other size needs a prior
            with a `multiple`, such as DiffusersPrior. A picture within one tile is not cut: the network runs at the
            picture's size, mirrored to the next multiple, and the tile bounds the memory of its attention.
        overlap: least number of pixels that neighbouring tiles share, at most half of them; None is a quarter, or four
            pixels of the samples if these are more.
        micro_batch: largest number of tiles in one network call; None puts no limit.
    """

    any_size = True
    rows: Measurement | None = None
    """Conditions and random numbers of the rows that `given` bound this prior to."""

    def __init__(
        self, prior: Prior, tile: int | None = None, overlap: int | None = None, micro_batch: int | None = 8
    ) -> None:
        super().__init__()
        at_least_one(tile=tile, micro_batch=micro_batch)
        not_negative(overlap=overlap)
        _, height, width = self._image_shape = prior.image_shape
        self.stride = height // prior.sample_shape[1]
        step = self.stride * (prior.multiple or 0)
        if tile is not None and (not step or tile % step):
            allowed = f"a multiple of {step}" if step else "its own size"
            raise ValueError(
                f"a tile of {type(prior).__name__} must be {allowed}, got {tile}; leave it out for {height} x {width}"
            )
        least = min(height, width) if tile is None else tile
        if overlap is not None and 2 * overlap > least:
            raise ValueError(f"overlap must be at most half of the tile of {least} pixels, got {overlap}")
        self.prior, self.tile, self.overlap, self.micro_batch = prior, tile, overlap, micro_batch
        samples = least // self.stride
        self._overlap = min(max(samples // 4, 4), samples // 2) if overlap is None else -(-overlap // self.stride)
        self.schedule, self.sample_shape, self.map_timestep = prior.schedule, prior.sample_shape, prior.map_timestep
        self.latent, self.needs, self.evaluations = prior.latent, prior.needs, prior.evaluations
        self.data_std, self.largest_value = prior.data_std, prior.largest_value
        cost = prior.relative_cost
        self.relative_cost = RelativeCost(
            1 + cost.backward, cost.decoder_call, cost.decoder_call + cost.decoder_backward
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._image_shape

    def given(self, measurement: Measurement) -> Prior:
        height, width = measurement.image_shape[1:]
        size = -(-height // self.stride), -(-width // self.stride)
        tiles = self.tiles_of(height, width)
        return shallow_copy(
            self,
            _image_shape=(self._image_shape[0], height, width),
            sample_shape=(self.sample_shape[0], *size),
            evaluations=self.prior.evaluations * len(tiles),
            tiles=len(tiles),
            # Without y and the operator, whose rows are as large as the picture, so that a tile takes none of it.
            rows=replace(measurement, y=measurement.y.new_empty(len(measurement), 0), operator=Operator()),
        )

    def tiles_of(self, height: int, width: int) -> Tiles:
        """The tiles of a picture of this size, in pixels of the samples."""
        size = -(-height // self.stride), -(-width // self.stride)
        tile = self.prior.sample_shape[1:]
        if self.tile is not None and (multiple := self.prior.multiple):
            most = self.tile // self.stride
            tile = min(most, -(-size[0] // multiple) * multiple), min(most, -(-size[1] // multiple) * multiple)
        return Tiles((max(size[0], tile[0]), max(size[1], tile[1])), tile, self._overlap)

    def borders(self, height: int, width: int) -> tuple[list[int], list[int]]:
        """The rows and the columns of a picture of this size at which a tile begins or ends (rps.metrics.seams)."""
        rows, columns = self.tiles_of(height, width).borders()
        return [self.stride * n for n in rows], [self.stride * n for n in columns]

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        def denoised(tiles: Tensor, rows: Tensor, numbers: Tensor) -> list[Tensor]:
            found = self._of(rows, numbers).denoise(tiles, t[rows])
            return [value for value in found if value is not None]

        height, width = x.shape[2:]
        return Denoised(*self._blend(denoised, x, self.stride * height, self.stride * width, 1, 1))

    def encode(self, image: Tensor) -> Tensor:
        if not self.latent:
            return image
        height, width = image.shape[2:]
        return self._blend(lambda x, *of: [self._of(*of).encode(x)], image, height, width, self.stride, 1)[0]

    def decode(self, sample: Tensor) -> Tensor:
        if not self.latent:
            return sample
        whole = sample.shape[2] * self.stride, sample.shape[3] * self.stride
        height, width = self._image_shape[1:] if sample.shape[1:] == self.sample_shape else whole
        return self._blend(lambda x, *of: [self._of(*of).decode(x)], sample, height, width, 1, self.stride)[0]

    def _of(self, rows: Tensor, numbers: Tensor) -> Prior:
        """The prior of a tile, bound to the rows that the tiles are of; tiles of one picture have their own noise."""
        if self.rows is None:
            return self.prior
        part = self.rows.rows(rows)
        return self.prior.given(replace(part, streams=part.streams.at_step(numbers)))

    def _blend(self, function: OnTiles, x: Tensor, height: int, width: int, before: int, after: int) -> list[Tensor]:
        """`Tiles.blend` for a picture of this size, mirrored to whole tiles and cropped again.

        before, after: pixels of x and of the results to one pixel of the samples.
        """
        tiles = self.tiles_of(height, width)
        for axis in (2, 3):
            wanted = before * tiles.size[axis - 2]
            if x.shape[axis] < wanted:
                x = x.index_select(axis, mirror(torch.arange(wanted, device=x.device), x.shape[axis]))
        pixels = self.stride // after
        rows, columns = -(-height // pixels), -(-width // pixels)
        return [value[..., :rows, :columns] for value in tiles.blend(function, x, self.micro_batch)]
