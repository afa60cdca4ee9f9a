"""Inpainting: some pixels are measured, in all their channels; the others are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from rps.operators.base import ONE_BY_ONE, Gain, SpectralOperator
from rps.pictures import PictureFiles, read_picture
from rps.randomness import Streams


class Mask(SpectralOperator):
    """y = the measured pixels of x, packed.  x: [N, C, H, W] -> y: [N, C, m].

    A A^T = I: every singular value is 1, and A^+ = A^T writes zeros into the holes. y contains real measurements only,
    so that a norm of y - A(x) counts nothing else. A subclass chooses the pixels in `measured_pixels`.
    """

    per_sample = ("index",)
    index: Tensor
    """Measured pixels of each image, row by row through the image, ascending.  int64 [N, m]."""

    def measured_pixels(self, height: int, width: int, streams: Streams) -> Tensor:
        """The indices of the measured pixels of every sample.  -> int64 [N, m], ascending."""
        raise NotImplementedError(f"{type(self).__name__} must define measured_pixels(height, width, streams)")

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> Mask:
        return self.bound(image_shape=tuple(shape), index=self.measured_pixels(shape[1], shape[2], streams))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).gather(2, self._expanded_index(x))

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        _, h, w = self._shape()
        n, c, _ = y.shape
        image = y.new_zeros(n, c, h * w).scatter(2, self._expanded_index(y), y).view(n, c, h, w)
        return gain(y.new_ones(1, 1, 1, 1)) * image

    def _expanded_index(self, batch: Tensor) -> Tensor:
        self._shape()
        self.check_rows(batch)
        return self.index.to(batch.device).unsqueeze(1).expand(-1, batch.shape[1], -1)


class Inpaint(Mask):
    """Inpainting of random missing pixels: exactly round(keep * H * W) pixels are measured.

    Each sample id has a mask of its own; Shared(Inpaint(.5)) has one for the run.

    Args:
        keep: fraction of the pixels that are measured, in (0, 1].
    """

    def __init__(self, keep: float = 0.5) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise ValueError(f"keep is the fraction of measured pixels and must be in (0, 1], got {keep}")
        self.keep = keep

    def measured_pixels(self, height: int, width: int, streams: Streams) -> Tensor:
        count = round(self.keep * height * width)
        if count == 0:
            raise ValueError(f"Inpaint(keep={self.keep}) leaves no pixel of a {height} x {width} image; raise keep")
        return streams.at("mask").permutation(height * width)[:, :count].sort(dim=1).values


class BoxInpaint(Mask):
    """Inpainting of one missing box per image.

    Args:
        size: height and width of the box in pixels; None is half of the image's height and width.
        place: "centre", or "random" for a position drawn for each sample id.
        margin: smallest number of pixels between the box and the border of the image.
    """

    def __init__(self, size: int | None = None, place: Literal["centre", "random"] = "centre", margin: int = 0) -> None:
        super().__init__()
        if size is not None and size < 1:
            raise ValueError(f"size must be >= 1 pixel, got {size}")
        if place not in ("centre", "random"):
            raise ValueError(f"place must be centre or random, got {place!r}")
        if margin < 0:
            raise ValueError(f"margin must be >= 0 pixels, got {margin}")
        self.size, self.place, self.margin = size, place, margin

    def measured_pixels(self, height: int, width: int, streams: Streams) -> Tensor:
        size = (height // 2, width // 2) if self.size is None else (self.size, self.size)
        room = [whole - part - 2 * self.margin for whole, part in zip((height, width), size, strict=True)]
        if min(room) < 0 or size == (height, width):
            raise ValueError(
                f"a box of {size[0]} x {size[1]} pixels with a margin of {self.margin} does not fit into an image of "
                f"{height} x {width}, or leaves no pixel to measure; choose a smaller size or margin"
            )
        places = torch.tensor([room[0] + 1, room[1] + 1], device=streams.keys.device)
        if self.place == "random":
            corner = self.margin + streams.at("box").bits(2) % places
        else:
            corner = self.margin + ((places - 1) // 2).expand(len(streams), -1)

        def inside(axis: int, length: int) -> Tensor:
            offset = torch.arange(length, device=corner.device) - corner[:, axis : axis + 1]
            return (offset >= 0) & (offset < size[axis])

        missing = inside(0, height).unsqueeze(2) & inside(1, width).unsqueeze(1)
        # A stable sort puts the measured pixels first and keeps their order.
        order = torch.argsort(missing.flatten(1).long(), dim=1, stable=True)
        return order[:, : height * width - size[0] * size[1]]


class MaskFile(Mask):
    """Inpainting with masks from files: white pixels (above middle grey) are measured, all others are missing.

    A mask is cropped at its centre to the proportions of the image and resized to it, as clean pictures are. Masks of
    a folder may measure different numbers of pixels, which makes batches of one.

    Args:
        masks: path of a picture, the mask of all samples; or of a folder with a mask for each id, named as its picture.
    """

    def __init__(self, masks: str) -> None:
        super().__init__()
        self.masks, self.files = masks, PictureFiles(masks, "masks")
        self.alike = self.files.one is not None

    def measured_pixels(self, height: int, width: int, streams: Streams) -> Tensor:
        found = [_white(self.files.of(id_), height, width) for id_ in streams.ids or [""]]
        if len(counts := {len(pixels) for pixels in found}) > 1:
            raise ValueError(
                f"masks of one batch measure different numbers of pixels, {min(counts)} to {max(counts)}; {ONE_BY_ONE}"
            )
        return torch.stack(found)[: len(streams)].to(streams.keys.device)


def _white(path: Path, height: int, width: int) -> Tensor:
    """The indices of the white pixels of a mask, resized.  Errors: ValueError if it has none."""
    pixels = (read_picture(path, 1, (height, width), enlarge=True) > 0).flatten().nonzero()[:, 0]
    if not len(pixels):
        raise ValueError(f"the mask {path} has no white pixel, but white marks what is known")
    return pixels
