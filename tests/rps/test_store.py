"""EstimateStore: what is read is what would be computed, and is counted so; another call is another file."""

import pytest
import torch

from rps.cost import Cost
from rps.estimators import Estimator, MapEstimator, ProximalMap, PseudoInverse
from rps.estimators.fingerprint import fingerprint
from rps.estimators.store import EstimateStore
from rps.measurement import degrade
from rps.operators import Inpaint
from rps.priors.counted import CountedPrior
from rps.samplers import Dps
from rps.traversals import MapRps
from tests.rps.gaussian import correlated_prior, draw
from tests.rps.operator_cases import BOUND

PRIOR = correlated_prior()


def measure(ids=("a", "b", "c"), seed=0, images=None, keep=0.5, noise=0.2):
    x = draw(PRIOR, 3).float() if images is None else images
    return degrade(x[: len(ids)], Inpaint(keep), noise, list(ids), seed)


def estimate(folder, measurement=None, estimator=None, prior="the prior"):
    """-> (the estimate of a call through the store, the meter of its prior)."""
    counted = CountedPrior(PRIOR)
    served = EstimateStore(folder, prior).serve(ProximalMap(4) if estimator is None else estimator)
    return served.estimate(measure() if measurement is None else measurement, counted), counted.meter


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_read_is_what_would_be_computed(tmp_path):
    """Bit for bit, with the same cost; only the second call reads."""
    alone = ProximalMap(4).estimate(measure(), PRIOR)
    first, computed = estimate(tmp_path)
    second, read = estimate(tmp_path)
    assert torch.equal(first, alone) and torch.equal(second, alone) and second.stride() == alone.stride()
    assert computed.cost == read.cost == Cost(network_calls=4 * 3)
    assert (computed.stored, read.stored) == (Cost(), read.cost)
    assert computed.stored_seconds == 0 < read.stored_seconds
    assert len(files(tmp_path)) == 1


def test_a_run_with_the_store_is_a_run_alone(tmp_path):
    """Images, costs and progress; seconds include those of stage 1, which took at least .05 s."""

    class Slow(ProximalMap):
        def estimate(self, measurement, prior):
            import time

            time.sleep(0.05)
            return super().estimate(measurement, prior)

    def run(estimator, levels, step_size):
        calls = []
        traversal = MapRps(levels, estimator, Dps(step_size), steps=10)
        return traversal.run(measure(), PRIOR, lambda what, n: calls.append((what, n))), calls

    store = EstimateStore(tmp_path, "the prior")
    for step_size in (0.1, 0.5):
        alone, reported = run(Slow(4), [0, 300], step_size)
        shared, reported_too = run(store.serve(Slow(4)), [0, 300], step_size)
        assert all(torch.equal(alone.images[level], shared.images[level]) for level in (0, 300))
        assert alone.cost == shared.cost and alone.total_cost == shared.total_cost
        assert shared.stored_cost == (Cost() if step_size == 0.1 else Cost(network_calls=4))
        assert all(sum(n for w, n in calls if w == "stage 1: Slow") == 12 for calls in (reported, reported_too))
        assert shared.seconds[0] * 3 >= 0.05
    assert len(files(tmp_path)) == 1


OTHER = {
    "seed": {"measurement": measure(seed=1)},
    "id": {"measurement": measure(("a", "b", "d"))},
    "order": {"measurement": measure(("b", "a", "c"))},
    "fewer images in the call": {"measurement": measure(("a", "b"))},
    "picture": {"measurement": measure(images=draw(PRIOR, 3, seed=2).float())},
    "operator": {"measurement": measure(keep=0.6)},
    "noise": {"measurement": measure(noise=0.3)},
    "setting of the estimator": {"estimator": ProximalMap(5)},
    "setting of a part of the estimator": {"estimator": ProximalMap(4, rcond=0.2)},
    "estimator": {"estimator": MapEstimator(4)},
    "prior": {"prior": "another prior"},
}


@pytest.mark.parametrize("what", OTHER)
def test_another_call_is_another_file(what, tmp_path):
    estimate(tmp_path)
    _, meter = estimate(tmp_path, **OTHER[what])
    assert meter.stored == Cost() and len(files(tmp_path)) == 2


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1], lambda data: data[:-4] + b"abcd"])
def test_a_damaged_file_is_written_again(damage, tmp_path):
    first, _ = estimate(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    again, meter = estimate(tmp_path)
    assert torch.equal(first, again) and meter.stored == Cost()
    assert estimate(tmp_path)[1].stored == meter.cost


def test_a_store_that_cannot_be_written_is_reported_once(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    served = EstimateStore(tmp_path / "file", "the prior").serve(ProximalMap(4))
    for _ in range(2):
        assert torch.equal(served.estimate(measure(), CountedPrior(PRIOR)), ProximalMap(4).estimate(measure(), PRIOR))
    err = capsys.readouterr().err
    assert err.count("stage 1 is not stored in") == 1 and len(err.splitlines()) == 1


class Unknown(Estimator):
    def __init__(self):
        self.function = lambda x: x

    def estimate(self, measurement, prior):
        return measurement.pseudo_inverse()


@pytest.mark.parametrize("estimator", [Unknown(), PseudoInverse()])
def test_what_cannot_be_identified_or_costs_nothing_is_not_stored(estimator, tmp_path):
    estimate(tmp_path / "store", estimator=estimator)
    assert not (tmp_path / "store").exists()


def test_strides_are_kept(tmp_path):
    """Networks may round differently for another memory format."""

    class ChannelsLast(Estimator):
        def estimate(self, measurement, prior):
            return torch.rand(3, 4, 5, 6).to(memory_format=torch.channels_last)

    first, _ = estimate(tmp_path, estimator=ChannelsLast())
    second, _ = estimate(tmp_path, estimator=ChannelsLast())
    assert torch.equal(first, second) and first.stride() == second.stride() == (120, 1, 24, 4)


def test_every_operator_has_its_fingerprint():
    """The same at every time, and another for another operator or other settings."""
    prints = {name: fingerprint(operator) for name, operator in BOUND.items()}
    assert {name: fingerprint(operator) for name, operator in BOUND.items()} == prints
    assert len(set(prints.values())) == len(prints)


def test_what_has_no_fingerprint():
    loop = Unknown()
    loop.function = loop
    for value in (lambda: 0, torch.Generator(), print, loop, open):
        with pytest.raises(TypeError):
            fingerprint([value])
    assert fingerprint({"b": 1, "a": {2, 1}}) == fingerprint({"a": {1, 2}, "b": 1}) != fingerprint({"a": {1}, "b": 1})
    assert fingerprint(1.0) != fingerprint(1) != fingerprint("1")
