"""Converts images to 8-bit pictures and saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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
