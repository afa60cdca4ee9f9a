"""MAP-RPS: its closed form on Gaussian posteriors, the cost of one pass, and what a result depends on."""

from dataclasses import replace

import pytest
import torch

from rps.estimators import MapEstimator
from rps.measurement import degrade
from rps.operators import Denoise, Inpaint, SuperResolution
from rps.priors import EmbeddedPrior
from rps.samplers import Dps, ExactPosterior
from rps.traversals import MapRps
from tests.rps.gaussian import DIM, PosteriorMean, correlated_prior, draw

LEVELS = [0, 100, 300, 1000]


def test_output_law_of_the_exact_sampler():
    """N(mu_y, C (I - G^2)), G = abar C (abar C + (1-abar) I)^-1 (method.md section 3): mean and every covariance entry
    within 4 standard errors (5 for the largest of 16 x 16 entries)."""
    prior, n = correlated_prior(), 4000
    one = degrade(draw(prior, n), SuperResolution(2), noise=0.3)
    measurement = replace(one, y=one.y[:1].expand_as(one.y))
    posterior = prior.posterior(measurement.rows(torch.arange(1)))
    mu, c = posterior.mean()[0], posterior.covariance()[0]
    result = MapRps(LEVELS, PosteriorMean(), ExactPosterior(), steps=50).run(measurement, prior)
    eye = torch.eye(DIM, dtype=torch.float64)
    for level in LEVELS[1:]:
        abar = prior.schedule.alpha(level - 1) ** 2
        g = abar * c @ torch.linalg.inv(abar * c + (1 - abar) * eye)
        law = c @ (eye - g @ g)
        x = result.images[level].flatten(1)
        assert ((x.mean(0) - mu).abs() < 4 * (law.diagonal() / n).sqrt()).all(), level
        standard_error = ((law**2 + law.diagonal()[:, None] * law.diagonal()) / n).sqrt()
        assert ((torch.cov(x.T) - law).abs() < 5 * standard_error).all(), level
        mse, predicted = (x - mu).square().sum(1), law.trace()
        assert abs(mse.mean() - predicted) < 4 * mse.std() / n**0.5
    torch.testing.assert_close(result.images[0].flatten(1), mu.expand(n, -1))


def test_wrong_noise_would_be_noticed():
    """The law test has power: noise in the step too large by sqrt 2 moves the trace by far more than 4 errors."""

    class TooNoisy(ExactPosterior):
        def step(self, x, t, t_next, measurement, prior, noise):
            s = prior.schedule.reverse_std(t, t_next, x)
            extra = s * noise.at("extra").normal(x.shape[1:]).to(x)
            return super().step(x, t, t_next, measurement, prior, noise) + extra

    prior, n = correlated_prior(), 4000
    one = degrade(draw(prior, n), SuperResolution(2), noise=0.3)
    measurement = replace(one, y=one.y[:1].expand_as(one.y))
    c = prior.posterior(measurement.rows(torch.arange(1))).covariance()[0]
    x = MapRps([300], PosteriorMean(), TooNoisy(), steps=50).run(measurement, prior).images[300].flatten(1)
    mse = (x - x.mean(0)).square().sum(1)
    abar = prior.schedule.alpha(299) ** 2
    eye = torch.eye(DIM, dtype=torch.float64)
    g = abar * c @ torch.linalg.inv(abar * c + (1 - abar) * eye)
    assert abs(mse.mean() - (c @ (eye - g @ g)).trace()) > 8 * mse.std() / n**0.5


@pytest.fixture(scope="module")
def prior():
    return EmbeddedPrior()


def images(n: int) -> torch.Tensor:
    """Smooth pictures in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 1, 4, 4, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")


def solver(t0, **options):
    return MapRps(t0, MapEstimator(num_steps=4), Dps(), steps=20, **options)


def test_network_calls_are_n_plus_the_levels_own_steps(prior):
    seen = []
    hook = prior.unet.register_forward_hook(lambda module, args, output: seen.append(len(output.sample)))
    reported = []
    result = solver([0, 150, 50, 400]).run(
        degrade(images(3), Denoise(), 0.3), prior, lambda what, calls: reported.append(calls)
    )
    hook.remove()
    expected = {0: 4, 150: 4 + 3, 50: 4 + 1, 400: 4 + 8}
    assert {k: v.tolist() for k, v in result.network_calls.items()} == {k: [v] * 3 for k, v in expected.items()}
    assert result.total_network_calls.tolist() == [4 + 3 + 1 + 8] * 3
    assert sum(seen) == sum(reported) == 3 * 16
    assert solver([0, 150, 50, 400]).network_calls_per_image(prior) == 16


def test_micro_batch_bounds_a_network_call_and_changes_nothing(prior):
    measurement = degrade(images(5), Inpaint(0.5), 0.2)
    seen = []
    hook = prior.unet.register_forward_hook(lambda module, args, output: seen.append(len(output.sample)))
    small = solver([0, 100, 200], micro_batch=2).run(measurement, prior)
    hook.remove()
    assert max(seen) == 2
    whole = solver([0, 100, 200]).run(measurement, prior)
    for level, x in whole.images.items():
        torch.testing.assert_close(small.images[level], x, atol=1e-3, rtol=0)
    assert small.network_calls[200].tolist() == whole.network_calls[200].tolist()


def test_result_depends_on_the_id_alone(prior):
    """Alone or among 16, in any order, with other levels beside it."""
    x, ids = images(16), [f"s{i}" for i in range(16)]
    whole = solver([0, 100, 300]).run(degrade(x, Inpaint(0.5), 0.2, ids), prior)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    shuffled = solver([300, 0]).run(degrade(x[order], Inpaint(0.5), 0.2, [ids[i] for i in order]), prior)
    alone = solver([300]).run(degrade(x[5:6], Inpaint(0.5), 0.2, ids[5:6]), prior)
    for level in (0, 300):
        torch.testing.assert_close(shuffled.images[level], whole.images[level][order], atol=1e-3, rtol=0)
    torch.testing.assert_close(alone.images[300][0], whole.images[300][5], atol=1e-3, rtol=0)
    other = solver([300]).run(degrade(x[5:6], Inpaint(0.5), 0.2, ["another"]), prior)
    assert (other.images[300] - alone.images[300]).abs().max() > 0.1


def test_one_diverging_image_leaves_the_others_alone(prior):
    measurement = degrade(images(3), Denoise(), 0.3)
    good = solver([0, 100]).run(measurement, prior)
    broken_y = measurement.y.clone()
    broken_y[1] = float("nan")
    broken = solver([0, 100]).run(replace(measurement, y=broken_y), prior)
    for level in (0, 100):
        assert not torch.isfinite(broken.images[level][1]).any()
        torch.testing.assert_close(broken.images[level][::2], good.images[level][::2], atol=1e-4, rtol=0)


def test_gradients_flow_only_where_dps_needs_them(prior):
    """Stage 1 never records the network; stage 2 does, and leaves no graph behind."""
    recorded = []
    hook = prior.unet.register_forward_hook(lambda module, args, output: recorded.append(output.sample.requires_grad))
    result = solver([100]).run(degrade(images(1), Denoise(), 0.3), prior)
    hook.remove()
    assert recorded == [False] * 4 + [True] * 2
    assert not result.images[100].requires_grad
    assert all(p.grad is None for p in prior.parameters())


def test_empty_batch(prior):
    result = solver([0, 100]).run(degrade(torch.zeros(0, 1, 32, 32), Denoise(), 0.3), prior)
    assert result.images[100].shape == (0, 1, 32, 32)


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


def test_t0_above_the_number_of_timesteps(prior):
    with pytest.raises(ValueError, match="t0 must be between 0 and the number of timesteps 1000, got 1001"):
        solver([1001]).run(degrade(images(1), Denoise(), 0.3), prior)
