"""MAP-RPS: the cost of one pass, and what a result of a real network depends on."""

import pytest
import torch

from rps.cost import Cost
from rps.estimators import MapEstimator
from rps.measurement import degrade
from rps.operators import Inpaint
from rps.priors import EmbeddedPrior
from rps.samplers import Dps
from rps.traversals import MapRps
from tests.rps.gaussian import correlated_prior, draw
from tests.rps.solvers import PIXEL


def solver(t0, **options):
    return MapRps(t0, MapEstimator(num_steps=4), Dps(), steps=20, **options)


def test_network_calls_are_n_plus_the_levels_own_steps():
    prior, reported = PIXEL.prior(), []
    result = solver([0, 150, 50, 400]).run(PIXEL.measure(3), prior, lambda what, calls: reported.append(calls))
    expected = {0: 4, 150: 4 + 3, 50: 4 + 1, 400: 4 + 8}
    assert {k: v.network_calls for k, v in result.cost.items()} == expected
    assert result.total_cost == Cost(4 + 3 + 1 + 8, 3 + 1 + 8)
    assert sum(prior.rows) == sum(reported) == 3 * 16
    assert solver([0, 150, 50, 400]).network_calls_per_image(prior) == 16


def test_gradients_flow_only_where_dps_needs_them():
    """Stage 1 never records the network; stage 2 does."""
    prior = PIXEL.prior()
    solver([100]).run(PIXEL.measure(1), prior)
    assert prior.differentiated == [False] * 4 + [True] * 2


def test_result_depends_on_the_id_alone():
    """Of a real network: alone or among 5, in any order and number per call, with other levels beside it."""
    x = torch.nn.functional.interpolate(draw(correlated_prior(), 5).float(), scale_factor=8, mode="bilinear")
    prior, ids = EmbeddedPrior(), [f"s{i}" for i in range(5)]
    whole = solver([0, 50, 100]).run(degrade(x, Inpaint(0.5), 0.2, ids), prior)
    order = [3, 1, 4]
    part = degrade(x[order], Inpaint(0.5), 0.2, [ids[i] for i in order])
    other = solver([100, 0], micro_batch=2).run(part, prior)
    for level in (0, 100):
        torch.testing.assert_close(other.images[level], whole.images[level][order], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"t0": [0, 0]}, "different levels"),
        ({"t0": []}, "different levels"),
        ({"t0": [5], "micro_batch": 0}, "micro_batch"),
    ],
)
def test_bad_levels(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        MapRps(**arguments)


def test_t0_above_the_number_of_timesteps():
    with pytest.raises(ValueError, match="t0 must be between 0 and the number of timesteps 1000, got 1001"):
        solver([1001]).run(PIXEL.measure(1), PIXEL.prior())
