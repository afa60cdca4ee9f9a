"""What each traversal is, and that they agree where they are the same thing."""

from dataclasses import replace

import pytest
import torch

from rps.cost import Cost
from rps.estimators import MapEstimator, PseudoInverse
from rps.measurement import degrade
from rps.operators import SuperResolution
from rps.samplers import Daps, Ddnm, Ddrm, DiffPir, Dps, ExactPosterior, Sitcom, VsDps
from rps.traversals import (
    Ccdf,
    Interpolation,
    MapRps,
    PosteriorSampling,
    SampleAverage,
    SettingSweep,
    StepNumber,
    VarianceScaling,
)
from tests.rps.gaussian import correlated_prior, draw
from tests.rps.solvers import close, measure

PRIOR = correlated_prior(2)


def run(traversal, n=2):
    return traversal.run(measure(n), PRIOR)


def test_dps_is_one_point_of_every_traversal_from_noise():
    """VSDPS at lambda 1, one averaged sample, its number of steps, weight one: the same chain with the same noise."""
    alone = run(PosteriorSampling(Dps(0.5), steps=8))
    image = alone.images[8]
    assert alone.knob == "steps" and alone.cost[8] == Cost(8, 8)
    same = [
        run(VarianceScaling([0.3, 1.0], 0.5, steps=8)).images[1.0],
        run(SampleAverage([2, 1], Dps(0.5), steps=8)).images[1],
        run(StepNumber([3, 8], [2.0, 0.5])).images[8],
        run(Interpolation([0.4, 1.0], PseudoInverse(), Dps(0.5), steps=8)).images[1.0],
    ]
    for other in same:
        assert close(other, image, 1e-6)


def test_map_rps_is_one_point_of_every_traversal_from_an_estimate():
    estimator, t0 = MapEstimator(num_steps=3), 300
    result = run(MapRps([0, t0], estimator, Dps(), steps=20))
    same = [
        run(SampleAverage([1, 2], Dps(), t0, estimator, steps=20)).images[1],
        run(StepNumber([10, 20], None, Dps(), t0, estimator)).images[20],
        run(Interpolation([1.0], estimator, Dps(), t0, steps=20)).images[1.0],
        run(MapRps([t0], estimator, Dps(), steps=20, samples=1)).images[t0],
    ]
    for other in same:
        assert close(other, result.images[t0])
    assert close(run(Interpolation([0.0], estimator, steps=4)).images[0.0], result.images[0])
    half = run(Interpolation([0.25], estimator, Dps(), t0, steps=20)).images[0.25]
    assert close(half, 0.75 * result.images[0] + 0.25 * result.images[t0])


def test_ccdf_is_map_rps_from_the_pseudo_inverse():
    ccdf, by_hand = Ccdf([0, 200], Dps(), steps=20), MapRps([0, 200], PseudoInverse(0.1), Dps(), steps=20)
    for level in (0, 200):
        assert torch.equal(run(ccdf).images[level], run(by_hand).images[level])
    assert run(ccdf).cost[0] == Cost()


def test_vsdps_gives_each_level_its_own_step_size():
    sizes = {1.0: 0.5, 0.5: 1.5, 0.0: 3.0}
    together = run(VarianceScaling(list(sizes), list(sizes.values()), blend=True, steps=6))
    for level, size in sizes.items():
        alone = run(PosteriorSampling(VsDps(level, size, blend=True), steps=6)).images[6]
        assert close(together.images[level], alone, 1e-6)


def test_averages_are_of_independent_chains_and_prefixes_of_each_other():
    """M = 4 contains M = 2; no chain depends on how many there are; a level's calls are those of its own chains."""
    result = run(SampleAverage([1, 2, 4], ExactPosterior(), steps=6))
    two = run(SampleAverage([2], ExactPosterior(), steps=6))
    assert torch.equal(two.images[2], result.images[2])
    assert set(result.spread) == {2, 4}
    second = 2 * result.images[2] - result.images[1]
    spread = (second - result.images[1]).abs() / 2**0.5
    torch.testing.assert_close(result.spread[2], spread)
    counts = run(SampleAverage([1, 3], Dps(), steps=6))
    assert {m: counts.cost[m].network_calls for m in (1, 3)} == {1: 6, 3: 18}
    assert counts.total_cost.network_calls == 18


def test_the_spread_of_averages_is_the_posterior_deviation():
    """With the exact sampler: the mean of spread^2 is the variance of the pixel given y, within 4.5 standard errors."""
    prior, n = correlated_prior(), 400
    one = degrade(draw(prior, n), SuperResolution(2), 0.3)
    measurement = replace(one, y=one.y[:1].expand_as(one.y))
    c = prior.posterior(measurement.rows(slice(0, 1))).covariance()[0]
    result = SampleAverage([1, 8], ExactPosterior(), steps=20).run(measurement, prior)
    variance = result.spread[8].flatten(1).square()
    assert ((variance.mean(0) - c.diagonal()).abs() < 4.5 * variance.std(0) / n**0.5).all()


def test_several_samples_of_map_rps():
    """Chain 0 is the chain of samples = 1; level 0 has no spread, since nothing is sampled there."""
    estimator = MapEstimator(num_steps=2)
    one = run(MapRps([0, 200], estimator, Dps(), steps=20))
    three = run(MapRps([0, 200], estimator, Dps(), steps=20, samples=3))
    two = run(MapRps([0, 200], estimator, Dps(), steps=20, samples=2))
    assert one.spread == {} and list(three.spread) == [200]
    assert torch.equal(three.images[0], one.images[0])
    second, first = 2 * two.images[200] - one.images[200], one.images[200]
    third = 3 * three.images[200] - first - second
    torch.testing.assert_close(three.spread[200], torch.stack([first, second, third]).std(0))
    assert (second - first).abs().max() > 1e-2
    steps = len(PRIOR.schedule.grid(200, 20))
    assert three.cost[200].network_calls == 2 + 3 * steps
    assert three.cost[0] == Cost(2)


def test_weight_one_needs_no_estimate_and_weight_zero_no_sample():
    result = run(Interpolation([0.0, 0.5, 1.0], MapEstimator(num_steps=3), Dps(), steps=4))
    assert [result.cost[w].network_calls for w in (0.0, 0.5, 1.0)] == [3, 7, 4]
    behind = run(Interpolation([1.0], MapEstimator(num_steps=3), Dps(), t0=300, steps=10))
    assert behind.cost[1.0].network_calls == 6


@pytest.mark.parametrize(("sampler", "steps"), [(Dps(), 100), (Ddrm(), 20), (Ddnm(), 100), (Sitcom(2), 20)])
def test_a_sampler_alone_takes_its_own_number_of_steps(sampler, steps):
    result = run(PosteriorSampling(sampler))
    (level,) = result.levels
    assert level == steps
    assert result.cost[level].network_calls == sampler.network_calls(steps)


def test_daps_alone_runs_on_its_own_grid():
    timesteps = Daps().timesteps(PRIOR.schedule, 1000, 200)
    assert PosteriorSampling(Daps()).network_calls_per_image(PRIOR) == 5 * len(timesteps)
    (chain,) = PosteriorSampling(Daps()).plan(PRIOR.schedule)
    assert chain.timesteps == timesteps


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: VarianceScaling([1.0, 1.0], 1.0), "lambda must be a non-empty list of different levels"),
        (lambda: VarianceScaling([2.0], 1.0), r"lambda must be between 0 and 1, got \[2.0\]"),
        (
            lambda: VarianceScaling([1.0, 0.5], [1.0]),
            "step_size must be one number or one per level, got 1 for 2 levels",
        ),
        (lambda: SampleAverage([0]), "levels must be numbers of samples >= 1"),
        (lambda: SampleAverage([1], t0=300), "t0 = 300 needs an estimator to start from"),
        (lambda: StepNumber([10], 1.0, Ddnm()), "Ddnm has no setting 'step_size'"),
        (lambda: StepNumber([10], estimator=MapEstimator(), t0=0), "t0 must be at least 1"),
        (lambda: Interpolation([1.5]), "levels must be weights between 0 and 1"),
        (lambda: MapRps([100], samples=0), "samples must be at least 1"),
        (lambda: MapRps([100], steps=-3), "steps must be at least 1, got -3"),
        (lambda: SampleAverage([1], steps=0), "steps must be at least 1, got 0"),
        (lambda: Interpolation([0.5], steps=0), "steps must be at least 1, got 0"),
        (lambda: SettingSweep("zeta", [0.5], DiffPir(), steps=0), "steps must be at least 1, got 0"),
        (lambda: Ccdf([1], micro_batch=0), "micro_batch must be at least 1"),
        (lambda: StepNumber([2000]).network_calls_per_image(PRIOR), "steps must be between 1"),
    ],
)
def test_bad_arguments_are_told(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()


def test_a_setting_as_the_knob():
    """Each level is the sampler alone with that setting, from the same noise."""
    prior, measurement = correlated_prior(), measure(2)
    sweep = SettingSweep("zeta", [0.0, 0.5, 1.0], DiffPir(), steps=5)
    found = sweep.run(measurement, prior)
    assert found.knob == "zeta" and list(found.images) == [0.0, 0.5, 1.0]
    for zeta, images in found.images.items():
        (alone,) = PosteriorSampling(DiffPir(zeta=zeta), 5).run(measurement, prior).images.values()
        torch.testing.assert_close(images, alone)
        assert found.cost[zeta].network_calls == 5
    with pytest.raises(ValueError, match="DiffPir has no setting 'eta'; its settings are lam, zeta"):
        SettingSweep("eta", [0.5], DiffPir())
    with pytest.raises(ValueError, match=r"zeta between 0 and 1, got 1\.75 and 2"):
        SettingSweep("zeta", [2.0], DiffPir())
