"""Predictions that no network has made, for tests of everything that comes after one."""

import torch
from torch import Tensor

from rps.cost import Cost
from rps.measurement import degrade
from rps.metrics import FeatureNetwork
from rps.operators import Operator
from rps.restoration import Prediction, Restoration

LEVELS = (0, 50, 100)


class Gain(Operator):
    """y = gain * x."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        return y / self.gain


class Blocks(FeatureNetwork):
    """Means over the four quarters of an image."""

    name = "quarters"
    dim = 4

    def forward(self, images: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2).flatten(1)


def clean_images(ids: list[str], channels: int = 1, size: int = 16) -> Tensor:
    """Each a function of its id alone."""
    images = [
        torch.rand(channels, size, size, generator=torch.Generator().manual_seed(sum(map(ord, id_)))) for id_ in ids
    ]
    return 2 * torch.stack(images) - 1 if images else torch.zeros(0, channels, size, size)


def prediction(
    ids: list[str],
    levels: tuple = LEVELS,
    noise_std: float = 0.1,
    operator: Operator | None = None,
    with_reference: bool = True,
    failures: dict[str, str] | None = None,
    broken: tuple[tuple[float, str], ...] = (),
    **image,
) -> Prediction:
    """Level i is the clean image times (1 - (i + 1) / 10).

    broken: (level, id) of images that hold a NaN. image: channels, size.
    """
    clean = clean_images(ids, **image)
    measurement = degrade(clean, operator or Gain(), noise_std, ids)
    images = {level: (1 - (i + 1) / 10) * clean for i, level in enumerate(levels)}
    for level, id_ in broken:
        images[level][ids.index(id_), 0, 0, 0] = torch.nan
    restoration = Restoration(
        knob="t0",
        levels=list(levels),
        images=images,
        cost={level: Cost(10 + i, i) for i, level in enumerate(levels)},
        total_cost=Cost(30, 3),
        seconds={level: 0.5 + i for i, level in enumerate(levels)},
    )
    return Prediction(ids, clean if with_reference else None, measurement, restoration, failures or {})
