"""LMAP-RPS with a linear decoder and a Gaussian prior of the latents, where every answer is known."""

import math
from dataclasses import replace

import pytest
import torch

from rps.estimators import MapEstimator, PosteriorMean
from rps.measurement import degrade
from rps.operators import Denoise, Inpaint, SuperResolution
from rps.randomness import Streams
from rps.samplers import (
    Dcdp,
    Dmap,
    ExactPosterior,
    LatentDaps,
    LatentDps,
    Ldir,
    Psld,
    ReSample,
    Sitcom,
    Stsl,
)
from rps.samplers.reverse import reverse_step
from rps.schedule import CLEAN
from rps.traversals import MapRps
from tests.rps.latent_models import Z_SHAPE, LinearLatentPrior, latent_draws
from tests.rps.solvers import chain

VARIANCE, NOISE = 0.5, 0.3
TASKS = {"denoise": Denoise(), "sr2": SuperResolution(2), "inpaint": Inpaint(keep=0.5)}


def exact_weight(prior, t1):
    """w* of method.md section 2."""
    abar = prior.schedule.alpha(t1) ** 2
    r2 = VARIANCE * (1 - abar) / (1 - abar + abar * VARIANCE)
    return 2 * NOISE**2 * math.sqrt(1 - abar) / (r2 * math.sqrt(abar))


@pytest.mark.parametrize("task", TASKS)
def test_lmap_converges_to_the_posterior_mean(task):
    """Within 2 % of E[z | y]: 200 iterations, for both data terms. The norm itself has the same minimum
    where its weight is w* / (2 ||y - A(D(z))||), which differs from image to image: one image at a time."""
    prior, t1 = LinearLatentPrior(VARIANCE), 50
    measurement = degrade(latent_draws(prior, 16), TASKS[task], NOISE)
    mean = prior.posterior(measurement).mean()
    norms = measurement.residual_norm(prior.decode(mean.view(-1, *Z_SHAPE)))
    w = exact_weight(prior, t1)
    options = {"num_steps": 200, "lr": 0.1, "t1": t1, "weight_decay": 0.0, "prior_term": "control_variate"}
    for data_term, rows, weight in (("squared", slice(0, 16), w), ("stable", slice(0, 1), w / (2 * float(norms[0])))):
        estimator = MapEstimator(w=weight, data_term=data_term, **options)
        z = estimator.estimate(measurement.rows(rows), prior).flatten(1)
        gap = float((z - mean[rows]).norm() / mean[rows].norm())
        print(f"{task} {data_term}: {gap:.4f}")
        assert gap < 0.02


def test_the_derived_weight_of_the_stable_form_is_that_of_a_fitted_residual():
    """w / (2 noise_std sqrt(m)): the gradients of both forms agree in direction where the residual is the noise."""
    prior, m = LinearLatentPrior(VARIANCE), 16
    squared, stable = (MapEstimator(t1=50, data_term=term).weight(NOISE, prior, m) for term in ("squared", "stable"))
    assert stable == pytest.approx(squared / (2 * NOISE * math.sqrt(m)))
    assert MapEstimator(t1=50, data_term="stable").weight(0.0, prior, m) == 0


def test_latent_rps_has_the_law_of_its_closed_form():
    """From the exact mean mu with an exact sampler: x ~ N(D(mu), W C (I - G^2) W^T), G = abar C (abar C + 1 - abar)^-1;
    mean and variances of 2,000 images within 4 standard errors, MSE likewise."""
    root = torch.randn(8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prior = LinearLatentPrior(root @ root.T / 8 + 0.05 * torch.eye(8, dtype=torch.float64))
    one, n = degrade(latent_draws(prior, 1), SuperResolution(2), NOISE), 2000
    wide = replace(one.rows(torch.zeros(n, dtype=torch.int64)), streams=Streams(0, [str(k) for k in range(n)]))
    result = MapRps(t0=[0, 400, 800], estimator=PosteriorMean(), sampler=ExactPosterior(), steps=10).run(wide, prior)
    posterior = prior.posterior(one)
    mu, c = posterior.mean()[0], posterior.covariance()[0]
    assert torch.allclose(result.images[0].flatten(1), prior.decode(mu.view(1, *Z_SHAPE)).flatten(1))
    for t0 in (400, 800):
        abar = prior.schedule.alpha(t0 - 1) ** 2
        g = abar * c @ torch.linalg.inv(abar * c + (1 - abar) * torch.eye(8))
        law = prior.weight @ c @ (torch.eye(8) - g @ g) @ prior.weight.T
        x = result.images[t0].flatten(1)
        centre = prior.decode(mu.view(1, *Z_SHAPE)).flatten()
        assert ((x.mean(0) - centre).abs() < 4 * (law.diagonal() / n).sqrt()).all()
        assert ((x.var(0) - law.diagonal()).abs() < 4.5 * law.diagonal() * (2 / n) ** 0.5).all()


SAMPLED = {
    "LatentDps": (LatentDps(0.3), 40),
    "Psld": (Psld(0.3), 40),
    "Ldir": (Ldir(0.3), 40),
    "Dcdp": (Dcdp(10, 0.02), 15),
    "ReSample": (ReSample(period=50, pixel_steps=20, latent_steps=20), 40),
    "Stsl": (Stsl(0.3), 40),
    "Dmap": (Dmap(0.3), 30),
    "LatentDaps": (LatentDaps(langevin_steps=20, tau=NOISE, step_size=1e-2), 10),
    "Sitcom": (Sitcom(5), 10),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_samplers_come_near_the_posterior(name):
    """E ||D(z) - E[x | y]||^2 is Tr C for the posterior and 2.4 of it for images of the prior; here .5 to 1.02, with
    few steps and settings that were not tuned, over 32 measurements."""
    sampler, steps = SAMPLED[name]
    prior, n = LinearLatentPrior(VARIANCE), 32
    measurement = degrade(latent_draws(prior, n), SuperResolution(2), NOISE)
    z = chain(sampler, measurement, prior, sampler.timesteps(prior.schedule, 1000, steps))
    posterior = prior.posterior(measurement)
    mean = prior.decode(posterior.mean().view(n, *Z_SHAPE))
    error = (prior.decode(z) - mean).flatten(1).square().sum(1).mean()
    trace = torch.trace(prior.weight @ posterior.covariance()[0] @ prior.weight.T)
    print(f"{name}: {error / trace:.3f}")
    assert 0.4 < error / trace < 1.2


def test_resample_leaves_the_beginning_to_the_prior():
    """Where t >= fit_below a step is that of DDIM; below it, and at the end, it is the fit."""
    prior, t = LinearLatentPrior(VARIANCE), torch.tensor([700, 660, 700])
    measurement = degrade(latent_draws(prior, 3), SuperResolution(2), NOISE)
    x, noise = torch.randn(3, *Z_SHAPE, dtype=torch.float64), measurement.streams
    t_next = torch.tensor([680, 640, CLEAN])
    settings = {"pixel_steps": 5, "latent_steps": 5}
    late, always = (
        ReSample(fit_below=limit, **settings).step(x, t, t_next, measurement, prior, noise) for limit in (667, None)
    )
    ddim = reverse_step(prior.denoise(x, t), t, t_next, prior.schedule, noise, eta=0.0)
    assert torch.equal(late[0], ddim[0]) and torch.equal(late[1:], always[1:])
    assert (always - ddim).flatten(1).norm(dim=1).min() > 1e-3
