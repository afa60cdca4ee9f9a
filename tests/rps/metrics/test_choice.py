"""The choice of a level on a curve."""

import numpy as np
import pytest
import torch

from rps.metrics.choice import below_chord, between, resampled, spread, within
from rps.metrics.intervals import Draws

RISING, FALLING = np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[9.0, 5.0, 2.0, 3.0]])


@pytest.mark.parametrize(("bound", "place"), [(2.0, 1), (2.5, 1), (9.0, 2), (0.5, 0)])
def test_the_best_other_figure_within_a_bound(bound, place):
    """Within 9 it is not the last place, where the other figure rises again; within .5 the nearest place."""
    assert within(RISING, bound, FALLING).tolist() == [place]


def test_each_resample_is_chosen_by_itself():
    figure = np.vstack([RISING, RISING + 1])
    assert within(figure, 3.0, np.vstack([FALLING, FALLING])).tolist() == [2, 1]


def test_height_over_the_curve_below_the_chord():
    """0 at both ends and on a straight line, whatever the units; 1 in the corner."""
    x = np.array([[0.0, 1.0, 2.0]])
    assert below_chord(x, 7 - 3 * x) == pytest.approx(0, abs=1e-12)
    assert below_chord(np.array([[0.0, 0.0, 5.0]]), np.array([[8.0, 1.0, 1.0]])).tolist() == [[0, 1, 0]]
    assert below_chord(x, np.ones((1, 3))).tolist() == [[1, 0.5, 0]]


def test_interpolation_is_monotone_and_passes_through_the_levels():
    rows, levels, grid = np.array([[0.1, 0.2, 0.21, 0.5]]), [0, 50, 100, 400], np.arange(401)
    found = between(rows, levels, grid)[0]
    assert found[levels] == pytest.approx(rows[0]) and (np.diff(found) >= -1e-12).all()


def test_resamples_have_the_standard_error_and_no_bias():
    draws = Draws(2.0, 2.1 + 0.1 * torch.randn(500, generator=torch.Generator().manual_seed(0)).double() * 0.3, 64)
    rows = resampled([draws, draws])
    assert rows.shape == (501, 2) and rows[0].tolist() == [2, 2]
    assert rows[1:].mean(0) == pytest.approx([2, 2]) and rows[1:].std() == pytest.approx(0.3, rel=0.1)
    found = spread(rows[:, 0])
    assert found.value == 2 and found.low == pytest.approx(2 - 1.96 * 0.3, abs=0.1)
