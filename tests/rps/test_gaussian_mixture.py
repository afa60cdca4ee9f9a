"""The analytic prior against direct formulas and against itself."""

import torch

from rps.measurement import degrade
from rps.operators import SuperResolution
from tests.rps.gaussian import DIM, correlated_prior, draw


def test_denoiser_is_the_score_of_the_noisy_density():
    """Tweedie: E[x_0 | x_t] = (x_t + sigma^2 grad log p(x_t)) / alpha, p(x_t) written out by torch.distributions."""
    prior = correlated_prior(components=3)
    t = torch.tensor([5, 300, 900])
    x = draw(prior, 3).requires_grad_()
    alpha, sigma = prior.schedule.at(t, x.flatten(1))
    log_p = []
    for row in range(3):
        mixture = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(logits=prior.mixture.log_weights[0]),
            torch.distributions.MultivariateNormal(
                alpha[row] * prior.mixture.means[0],
                alpha[row] ** 2 * prior.mixture.covariances()[0] + sigma[row] ** 2 * torch.eye(DIM),
            ),
        )
        log_p.append(mixture.log_prob(x[row].flatten()))
    (score,) = torch.autograd.grad(torch.stack(log_p).sum(), x)
    expected = (x.flatten(1) + sigma**2 * score.flatten(1)) / alpha
    torch.testing.assert_close(prior.denoise(x, t).x0.flatten(1), expected)


def test_gaussian_posterior_matches_the_normal_equations():
    prior = correlated_prior()
    measurement = degrade(draw(prior, 5), SuperResolution(2), noise=0.3)
    a = measurement.operator.matrix(torch.float64)
    precision = a.T @ a / 0.3**2 + torch.linalg.inv(prior.mixture.covariances()[0, 0])
    expected = torch.linalg.solve(precision, a.T @ measurement.y.flatten(1).T / 0.3**2).T
    torch.testing.assert_close(prior.posterior(measurement).mean(), expected)
