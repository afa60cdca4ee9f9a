"""Converts images to pictures, saves them without loss and reads them back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rps.metrics.images import as_saved
from rps.pictures import deep_png
from rps.records.files import written


def pixels(image: Tensor) -> np.ndarray:
    """round(255 x) of an image as saved (see rps.metrics.as_saved), without any stretching.

    image: [C, H, W] in [0, 1] -> uint8 [H, W] (one channel) or [H, W, 3]. Any other number of channels is shown side by
    side in grey.
    """
    return _laid_out(image.detach().cpu().mul(255).round().byte())


def deep_pixels(image: Tensor) -> np.ndarray:
    """round(65535 (x + 1) / 2) of an image: what 16 bits keep of it.

    Rounded on to 8 bits, this is `pixels(as_saved(image))` to the last bit, whatever rounds the floating-point numbers
    in between. image: [C, H, W] in about [-1, 1] -> uint16, laid out as by `pixels`.
    """
    image = image.detach().cpu()
    coarse = as_saved(image).mul(255).round().double() * 257
    fine = ((image.double() + 1) / 2).clamp(0, 1).mul(65535).round()
    return _laid_out(torch.clamp(fine, coarse - 128, coarse + 128)).astype(np.uint16)


def _laid_out(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.numpy()
    return array.transpose(1, 2, 0) if len(array) == 3 else np.concatenate(list(array), axis=1)


def save_picture(picture: np.ndarray | Any, path: Path) -> None:
    """Saves a picture in the format of the suffix, .png or .webp (lossless).

    picture: uint8 [H, W] or [H, W, 3]; for a PNG also uint16.
    """
    from PIL import Image

    with written(path) as temporary:
        if picture.dtype == np.uint16:
            temporary.write_bytes(deep_png.encode(picture))
        elif path.suffix == ".webp":
            Image.fromarray(picture).save(temporary, format="WEBP", lossless=True, exact=True)
        else:
            Image.fromarray(picture).save(temporary, format="PNG")


def read_saved(path: Path, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """The image as saved of which `save_picture` has written `pixels` or `deep_pixels`, to the last bit.

    shape: [C, H, W] of the image. dtype: of its values -> [C, H, W] in [0, 1]. Errors: ValueError for a file that is no
    picture of an image of this shape.
    """
    from PIL import Image

    channels, height, width = shape
    try:
        data = path.read_bytes()
        if deep_png.is_deep(data):
            picture = _laid_out(deep_png.decode(data).mul(255).round().byte())
        else:
            with Image.open(io.BytesIO(data)) as file:
                grey = channels != 3 and file.format == "WEBP"  # which holds grey as three equal colours
                picture = np.array(file.convert("L") if grey else file)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is no picture that can be read ({error})") from error
    wanted = (height, width, 3) if channels == 3 else (height, channels * width)
    if picture.dtype != np.uint8 or picture.shape != wanted:
        raise ValueError(f"{path} is not as a run writes an image of {channels} x {height} x {width}")
    values = torch.from_numpy(picture)
    return (values.permute(2, 0, 1) if channels == 3 else torch.stack(values.split(width, dim=1))).to(dtype).div(255)
