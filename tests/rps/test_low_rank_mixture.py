"""The mixture of low rank against dense formulas, against importance sampling and against itself."""

import pytest
import torch

from rps.measurement import degrade
from rps.operators import AnisotropicBlur, CompressedSensing, Denoise, Inpaint, LinearOperator, SuperResolution
from rps.oracle import exact_samples
from rps.priors import GaussianMixturePrior, LowRankMixture, LowRankMixturePrior
from rps.randomness import Streams
from rps.samplers import ExactPosterior
from tests.rps.gaussian import DIM, SHAPE, draws
from tests.rps.solvers import chain


class Doubled(LinearOperator):
    """Twice the sum of the first two rows, measured three times: two of its singular values in three are zero."""

    def forward(self, x):
        return (2 * (x[:, :, 0] + x[:, :, 1])).repeat(1, 3, 1)


OPERATORS = {
    "denoise": Denoise(),
    "sr2": SuperResolution(2),
    "inpaint": Inpaint(0.5),
    "blur": AnisotropicBlur(3, 1.0, 2.0),
    "cs": CompressedSensing(2),
    "deficient": Doubled(),
}


def low_rank(components: int = 3, rank: int = 4, floor: float = 0.05) -> LowRankMixturePrior:
    """Three Gaussians of 4 x 4 pixels whose means are near enough for all of them to matter."""
    generator = torch.Generator().manual_seed(3)
    vectors, _ = torch.linalg.qr(torch.randn(components, DIM, rank, generator=generator, dtype=torch.float64))
    values = 0.1 + torch.rand(1, components, rank, generator=generator, dtype=torch.float64)
    means = 0.3 * torch.randn(1, components, DIM, generator=generator, dtype=torch.float64)
    floors = floor * (1 + torch.arange(components, dtype=torch.float64))[None]
    weights = torch.arange(1.0, components + 1, dtype=torch.float64).log()[None]
    return LowRankMixturePrior(LowRankMixture(weights, means, vectors, values, floors), SHAPE)


def as_full(prior: LowRankMixturePrior) -> GaussianMixturePrior:
    """The same law, with matrices of D x D."""
    m = prior.mixture
    return GaussianMixturePrior(m.means.view(-1, *SHAPE), m.covariances()[0], m.weights[0])


def observe(prior, operator, n: int = 4, noise_std: float = 0.2):
    return degrade(draws(prior.mixture, n).view(n, *SHAPE), operator, noise_std)


@pytest.mark.parametrize("noise_std", [0.2, 1e-3])
@pytest.mark.parametrize("operator", OPERATORS)
def test_posterior_is_that_of_the_full_matrices(operator, noise_std):
    """Weights, means, covariances, traces and densities, by formulas that share nothing but the operator."""
    prior = low_rank()
    measurement = observe(prior, OPERATORS[operator], noise_std=noise_std)
    found, full = prior.posterior(measurement), as_full(prior).posterior(measurement)
    torch.testing.assert_close(found.weights, full.weights, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.means, full.means, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.mean(), full.mean(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.covariance(), full.covariance(), atol=1e-6, rtol=1e-5)
    trace = full.covariance().diagonal(dim1=1, dim2=2).sum(1)
    for law in (found, full):
        torch.testing.assert_close(law.trace(), trace, atol=1e-6, rtol=1e-5)
    if noise_std == 0.2:
        x = exact_samples(found, measurement.streams, 3)
        torch.testing.assert_close(found.log_density(x), full.log_density(x), atol=1e-5, rtol=1e-6)
        torch.testing.assert_close(found.log_density(x[:, 1]), found.log_density(x)[:, 1])


@pytest.mark.parametrize(("rank", "floor"), [(16, 0.0), (15, 0.05), (1, 0.05), (0, 0.05)])
def test_denoiser_is_that_of_the_full_matrices(rank, floor):
    """From R = D with no floor, which is a full matrix, down to isotropic components."""
    prior = low_rank(rank=rank, floor=floor)
    t = torch.tensor([0, 5, 300, 999])
    x = prior.schedule.add_noise(draws(prior.mixture, 4), draws(low_rank().mixture, 4, 2), t).view(4, *SHAPE)
    torch.testing.assert_close(prior.denoise(x, t).x0, as_full(prior).denoise(x, t).x0, atol=1e-5, rtol=1e-5)
    measurement = observe(prior, SuperResolution(2))
    torch.testing.assert_close(
        prior.posterior(measurement).mean(), as_full(prior).posterior(measurement).mean(), atol=1e-5, rtol=1e-5
    )


def test_density_is_the_one_of_torch_distributions():
    mixture = low_rank().mixture
    reference = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=mixture.log_weights[0]),
        torch.distributions.MultivariateNormal(mixture.means[0], mixture.covariances()[0]),
    )
    x = draws(mixture, 5)
    torch.testing.assert_close(mixture.log_density(x), reference.log_prob(x))
    torch.testing.assert_close(as_full(low_rank()).mixture.log_density(x), reference.log_prob(x))


def test_posterior_mean_and_trace_by_importance_sampling():
    """400,000 draws x_j of the prior with weights N(y; A x_j, s^2 I), within 4 standard errors."""
    prior = low_rank()
    measurement = observe(prior, SuperResolution(2), n=1, noise_std=0.3)
    x, posterior = draws(prior.mixture, 400_000), prior.posterior(measurement)
    misfit = SuperResolution(2)(x.view(-1, *SHAPE)).flatten(1) - measurement.y.flatten(1)
    weights = torch.softmax(-0.5 * (misfit / 0.3).square().sum(1), dim=0)
    for found, values in (
        (posterior.mean()[0], x),
        (posterior.trace(), (x - posterior.mean()).square().sum(1, keepdim=True)),
    ):
        error = (weights**2 @ (values - found) ** 2).sqrt()
        assert ((weights @ values - found).abs() < 4 * error).all()
    assert 1 / weights.square().sum() > 5000


@pytest.mark.parametrize("operator", ["sr2", "inpaint", "blur"])
def test_draws_have_the_mean_and_covariance_of_the_law(operator):
    """Of the prior and of the posterior, within 4.5 standard errors (of 16 and 136 numbers)."""
    prior = low_rank()
    posterior = prior.posterior(observe(prior, OPERATORS[operator], n=2))
    for law in (prior.mixture, as_full(prior).mixture, posterior):
        for row in range(2):
            mean, covariance = law.mean().expand(2, -1)[row], law.covariance().expand(2, -1, -1)[row]
            offset = draws(law.rows(slice(row, row + 1)), 20_000, row) - mean
            assert (offset.mean(0).abs() < 4.5 * offset.std(0) / 20_000**0.5).all()
            products = offset.unsqueeze(2) * offset.unsqueeze(1)
            assert ((products.mean(0) - covariance).abs() < 4.5 * products.std(0) / 20_000**0.5).all()


def test_draws_are_functions_of_the_id_and_of_their_number():
    prior = low_rank()
    posterior = prior.posterior(observe(prior, Inpaint(0.5)))
    streams = Streams(0, ["a", "b", "c", "d"])
    x = exact_samples(posterior, streams, 4)
    torch.testing.assert_close(exact_samples(posterior, streams, 2), x[:, :2])
    index = torch.tensor([2, 0])
    torch.testing.assert_close(exact_samples(posterior.rows(index), streams[index], 4), x[index])


def test_the_exact_sampler_has_the_law_of_exact_samples():
    """ExactPosterior over a chain of 5 steps: mean within 4 standard errors of p(x | y), and the same trace."""
    prior, n = low_rank(), 4000
    measurement = observe(prior, SuperResolution(2), n=1).rows(torch.zeros(n, dtype=torch.int64))
    measurement.streams = Streams(0, [str(k) for k in range(n)])
    x = chain(ExactPosterior(), measurement, prior, prior.schedule.grid(1000, 5))
    offset = x.flatten(1) - prior.posterior(measurement.rows(slice(0, 1))).mean()
    assert (offset.mean(0).abs() < 4 * offset.std(0) / n**0.5).all()
    squares = offset.square().sum(1)
    trace = prior.posterior(measurement.rows(slice(0, 1))).trace()
    assert (squares.mean() - trace).abs() < 4 * squares.std() / n**0.5


def test_given_x_t_and_y_in_either_order():
    """p(x_0 | x_t, y): the mixture of low rank takes x_t first, that of full matrices y first."""
    prior, t = low_rank(), torch.tensor([900, 300, 20, 0])
    measurement = observe(prior, Inpaint(0.5))
    x = prior.schedule.add_noise(draws(prior.mixture, 4), draws(low_rank().mixture, 4, 2), t).view(4, *SHAPE)
    found, full = prior.posterior_at(x, t, measurement), as_full(prior).posterior_at(x, t, measurement)
    torch.testing.assert_close(found.weights, full.weights, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.mean(), full.mean(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.covariance(), full.covariance(), atol=1e-6, rtol=1e-5)


def test_without_noise_the_posterior_agrees_with_y():
    """noise_std = 0: A x = y for every draw, no density, and a sentence where nothing is left to divide by."""
    prior = low_rank()
    measurement = observe(prior, SuperResolution(2), noise_std=0.0)
    posterior = prior.posterior(measurement)
    x = exact_samples(posterior, measurement.streams, 2)
    assert measurement.residual_norm(x[:, 1].view(-1, *SHAPE)).max() < 1e-6
    assert (x[:, 0] - x[:, 1]).norm(dim=1).min() > 0.1
    with pytest.raises(ValueError, match="no density; raise noise_std"):
        posterior.log_density(x)
    with pytest.raises(ValueError, match="are both 0, but the posterior"):
        low_rank(rank=16, floor=0.0).posterior(measurement)


def test_a_nonlinear_operator_is_refused():
    from rps.operators import HighDynamicRange

    with pytest.raises(ValueError, match="needs a LinearOperator, got HighDynamicRange"):
        low_rank().posterior(observe(low_rank(), HighDynamicRange()))
