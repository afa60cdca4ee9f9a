"""Draws grids of pictures: rows are samples, columns are the reference, the measurement and the levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from rps.metrics.images import as_saved
from rps.records.files import level_name
from rps.report.pictures import pixels
from rps.restoration import Level, Prediction

SMALLEST_CELL = 96
"""Pixels; smaller images are enlarged by an integer factor without smoothing."""
LARGEST_CELL = 512
"""Pixels; larger images are reduced, so that a grid of photographs stays small."""
STD_GAIN = 4
"""Gain of displayed standard deviations of [0, 1] pixels: white is 1/4 or more."""
PAPER, INK, BROKEN = 255, 40, (214, 160, 160)


def prediction_grid(
    prediction: Prediction, max_samples: int = 16, earlier: Mapping[Level, Tensor] = MappingProxyType({})
) -> np.ndarray | None:
    """A grid of the first samples of a prediction.  -> uint8 [H, W, 3]; None if there are none.

    earlier: images of the same samples as saved, [N, C, H, W] in [0, 1], at levels that an earlier start of the run has
    restored; NaN where there is none. A level that is the mean of several chains is followed by their pixel-wise
    standard deviation times STD_GAIN: black where the chains agree. An image with values that are not finite is a plain
    reddish square.
    """
    n = min(len(prediction.ids), max_samples)
    if not n:
        return None
    restoration, first = prediction.restoration, torch.arange(n, device=prediction.measurement.y.device)
    columns = [] if prediction.reference is None else [("reference", _saved(prediction.reference[:n]))]
    seen = prediction.measurement.rows(first).pseudo_inverse()
    columns += [] if seen is None else [("measurement", _saved(seen))]
    for i, level in enumerate(sorted({*restoration.levels, *earlier}) if earlier else restoration.levels):
        title = level_name(level) if i else f"{restoration.knob} = {level_name(level)}"
        images = restoration.images
        columns.append((title, _saved(images[level][:n]) if level in images else earlier[level][:n]))
        if level in restoration.spread:
            columns.append((f"std x {STD_GAIN}", _saved(restoration.spread[level][:n] * STD_GAIN - 1)))
    return grid(columns)


def grid(columns: Sequence[tuple[str, Tensor]]) -> np.ndarray:
    """Draws a grid.  columns: (title of one or more lines, images [N, C, H, W] in [0, 1], as saved), with the same N
    -> uint8 [H, W, 3]."""
    from PIL import Image, ImageDraw

    cells = [[_cell(image) for image in images] for _, images in columns]
    height, width = (max(cell.shape[axis] for column in cells for cell in column) for axis in (0, 1))
    scale = max(1, -(-SMALLEST_CELL // max(height, width)))
    cells = [[_enlarged(cell, (height, width), scale) for cell in column] for column in cells]
    height, width, rows = height * scale, width * scale, len(cells[0])
    gap = max(2, width // 32)
    font = _font(max(11, min(28, width // 7)))
    # A title wider than its column would overlap the next one.
    lines = [title.splitlines() for title, _ in columns]
    wide = max(font.getlength(line) for title in lines for line in title)
    if wide > width:
        font = _font(max(8, int(font.size * width / wide)))
    top = int(font.size * (0.3 + 1.4 * max(map(len, lines))))
    sheet = np.full((top + rows * (height + gap), len(cells) * (width + gap) + gap, 3), PAPER, dtype=np.uint8)
    for j, column in enumerate(cells):
        for i, cell in enumerate(column):
            y, x = top + i * (height + gap), gap + j * (width + gap)
            sheet[y : y + height, x : x + width] = cell
    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    for j, (title, _) in enumerate(columns):
        centre = gap + j * (width + gap) + width / 2
        draw.text((centre, top * 0.52), title, font=font, fill=(INK, INK, INK), anchor="mm", align="center")
    return np.asarray(image)


def _saved(x: Tensor) -> Tensor:
    """The images as saved; an image with any value that is not finite becomes NaN."""
    finite = x.isfinite().flatten(1).all(1).view(-1, 1, 1, 1)
    return as_saved(x).where(finite, torch.nan)


def _cell(image: Tensor) -> np.ndarray:
    """uint8 [H, W, 3]."""
    if (over := max(image.shape[1:]) / LARGEST_CELL) > 1:
        size = [max(round(n / over), 1) for n in image.shape[1:]]
        image = interpolate(image[None], size, mode="area")[0]
    if not bool(image.isfinite().all()):  # see _saved
        return np.full((*image.shape[1:], 3), BROKEN, dtype=np.uint8)
    picture = pixels(image)
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def _enlarged(cell: np.ndarray, size: tuple[int, int], scale: int) -> np.ndarray:
    """The cell enlarged to about `size`, then by `scale`, on white paper if it is still smaller."""
    fit = max(1, min(size[0] // cell.shape[0], size[1] // cell.shape[1])) * scale
    cell = cell.repeat(fit, axis=0).repeat(fit, axis=1)
    sheet = np.full((size[0] * scale, size[1] * scale, 3), PAPER, dtype=np.uint8)
    sheet[: cell.shape[0], : cell.shape[1]] = cell
    return sheet


def _font(size: int) -> Any:
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
