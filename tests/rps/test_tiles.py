"""Tiles cover a picture, their weights sum to 1, and seams are seen where there are some."""

import math
from itertools import pairwise

import pytest
import torch

from rps.metrics import seams
from rps.tiles import Tiles

CASES = [((45, 70), (32, 32), 8), ((33, 32), (32, 32), 16), ((32, 32), (32, 32), 8), ((100, 41), (20, 10), 0)]


@pytest.mark.parametrize(("size", "tile", "overlap"), CASES)
def test_the_weights_sum_to_one_and_neighbours_share_pixels(size, tile, overlap):
    """A blend of the tiles themselves is the picture, also where results have pixels of another size."""
    tiles = Tiles(size, tile, overlap)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(tiles.blend(lambda part, *_: [part], x)[0], x)
    large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(tiles.blend(lambda part, *_: [part[..., ::2, ::2]], large, micro_batch=3)[0], x)
    torch.testing.assert_close(
        tiles.blend(lambda part, *_: [part.repeat_interleave(2, 2).repeat_interleave(2, 3)], x, 3)[0], large
    )
    for starts, whole, part in zip(tiles.starts, size, tile, strict=True):
        assert starts[0] == 0 and starts[-1] + part == whole
        assert all(a + part - b >= overlap for a, b in pairwise(starts))


def test_weights_are_smooth():
    """A tile fades in over the overlap: no step from pixel to pixel is larger than the cosine's, pi / (2 overlap)."""
    tiles = Tiles((32, 56), (32, 32), 8)
    number = tiles.blend(
        lambda part, rows, numbers: [torch.ones_like(part) * numbers.view(-1, 1, 1, 1)], torch.zeros(1, 1, 32, 56)
    )[0]
    assert number[0, 0, 0, 0] == 0 and number[0, 0, 0, -1] == 1
    assert 0 < number.diff(dim=3).max() < math.pi / 2 / 8


def test_a_call_knows_its_rows_and_numbers():
    """Tiles of one picture share a call, up to micro_batch, and come with the row and number of each."""
    calls = []

    def note(part, rows, numbers):
        calls.append((rows.tolist(), numbers.tolist()))
        return [part]

    Tiles((8, 20), (8, 8), 2).blend(note, torch.zeros(2, 1, 8, 20), micro_batch=4)
    assert calls == [([0, 0, 0, 1], [0, 1, 2, 0]), ([1, 1], [1, 2])]


def test_seams_are_seen_where_there_are_some():
    """Errors of independent pixels have none, within five standard errors; an offset per tile is nothing but jumps."""
    borders, n = Tiles((64, 64), (32, 32), 0).borders(), 200
    assert borders == ([32], [32])
    noise = torch.randn(n, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    found = seams(noise, torch.zeros_like(noise), borders)
    # A mean of m squares of normal numbers has the relative variance 2 / m, and its root a quarter of that.
    assert abs(found.error - 1) < 5 / math.sqrt(2 * 252 * n)
    assert abs(found.jump - 1) < 5 / math.sqrt(2 * 128 * n) * math.sqrt(2)
    steps = torch.zeros(1, 1, 64, 64)
    steps[..., 32:] += 1
    assert seams(noise[:1] / 100 + steps, torch.zeros_like(steps), borders).jump > 10
    with pytest.raises(ValueError, match="give pictures larger than a tile"):
        seams(noise, noise, ([], []))
