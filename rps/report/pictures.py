"""Converts images to 8-bit pictures, saves them and reads them back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rps.records.files import written


def pixels(image: Tensor) -> np.ndarray:
    """round(255 x) of an image as saved (see rps.metrics.as_saved), without any stretching.

    image: [C, H, W] in [0, 1] -> uint8 [H, W] (one channel) or [H, W, 3]. Any other number of channels is shown side by
    side in grey.
    """
    values: np.ndarray = image.detach().cpu().mul(255).round().byte().numpy()
    if len(values) == 3:
        return values.transpose(1, 2, 0)
    return np.concatenate(list(values), axis=1)


def save_png(picture: np.ndarray | Any, path: Path) -> None:
    """Saves a PNG.  picture: uint8 [H, W] or [H, W, 3]."""
    from PIL import Image

    with written(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def read_png(path: Path, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """The image as saved that `save_png(pixels(image), path)` has written, to the last bit.

    shape: [C, H, W] of the image. dtype: of its values -> [C, H, W] in [0, 1]. Errors: ValueError for a file that is no
    picture of an image of this shape.
    """
    from PIL import Image

    channels, height, width = shape
    try:
        with Image.open(path) as file:
            picture = np.array(file)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is no picture that can be read ({error})") from error
    wanted = (height, width, 3) if channels == 3 else (height, channels * width)
    if picture.dtype != np.uint8 or picture.shape != wanted:
        raise ValueError(f"{path} is not as a run writes an image of {channels} x {height} x {width}")
    values = torch.from_numpy(picture)
    return (values.permute(2, 0, 1) if channels == 3 else torch.stack(values.split(width, dim=1))).to(dtype).div(255)
