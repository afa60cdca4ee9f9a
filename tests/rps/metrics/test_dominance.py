"""Dominated points: below in both axes, each by more than the standard error of the paired difference."""

import pytest
import torch

from rps.metrics import Images
from rps.metrics.dominance import dominated_by

N = 64
GENERATOR = torch.Generator().manual_seed(0)
CLEAN = torch.randn(N, 4, generator=GENERATOR)
BASE = 0.1 + 0.05 * torch.randn(N, generator=GENERATOR)
NOISE = torch.randn(N, generator=GENERATOR)
NOISE = (NOISE - NOISE.mean()) / NOISE.std(correction=0)
SE = 0.01 / N**0.5
"""Of a paired difference of .01 NOISE."""


def images(more: float, shift: float, ids: list[str] | None = None, features: bool = True) -> Images:
    """RMSE `more` standard errors of the paired difference above the base; features off by `shift`."""
    values = {"rmse": BASE if more == 0 else BASE + more * SE + 0.01 * NOISE}
    names = [str(i) for i in range(N)] if ids is None else ids
    return Images(names, values, CLEAN + shift, CLEAN) if features else Images(names, values)


@pytest.mark.parametrize(("more", "dominated"), [(2, True), (0.5, False), (-2, False)])
def test_the_paired_difference_decides(more, dominated):
    """The images differ by far more than their levels do, so figures of each level alone could not tell."""
    assert BASE.std() / N**0.5 > 4 * SE
    assert dominated_by([images(0, 0.1), images(more, 0.5)]) == [None, 0 if dominated else None]


def test_both_axes_count():
    assert dominated_by([images(0, 0.5), images(2, 0.1)]) == [None, None]
    assert dominated_by([images(0, 0.1), images(2, 0.1)]) == [None, None]


def test_without_common_images_the_figures_decide():
    others = [f"other {i}" for i in range(N)]
    assert dominated_by([images(0.5, 0.5, others), images(0, 0.1)]) == [1, None]


def test_without_a_distance_nothing_is_dominated():
    assert dominated_by([images(0, 0.1, features=False), images(2, 0.5, features=False)]) == [None, None]
