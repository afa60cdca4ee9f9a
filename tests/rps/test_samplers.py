"""Each sampler's step against the equation that it implements, one fact at a time."""

from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler

from rps.cost import Cost
from rps.measurement import degrade
from rps.operators import AnisotropicBlur, Denoise, Inpaint, SuperResolution
from rps.priors import Denoised, GaussianMixturePrior, Prior
from rps.priors.counted import CountedPrior
from rps.randomness import Streams
from rps.samplers import Daps, Ddnm, Ddrm, DiffPir, Dmap, Dmps, Dps, PiGdm, Sitcom, VsDps
from rps.samplers.chains import Chain, run_chains
from rps.samplers.reverse import reverse_step
from rps.schedule import CLEAN, Schedule
from tests.rps.gaussian import DIM, SHAPE, correlated_prior, draw
from tests.rps.solvers import chain, close, measure

PRIOR = correlated_prior(2)
T, T_NEXT = torch.tensor([900, 500, 20]), torch.tensor([700, 499, 5])
X = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def step(sampler, measurement, t=T, t_next=T_NEXT, prior=PRIOR, x=X):
    return sampler.step(x, t, t_next, measurement, prior, measurement.streams.at_step(t))


class Oracle(Prior):
    """A prior that knows the image, and an eps that has nothing to do with it."""

    def __init__(self, image, eps):
        super().__init__()
        self.schedule, self.sample_shape, self.image, self.eps = Schedule.linear(), SHAPE, image, eps

    def denoise(self, x, t):
        return Denoised(self.image, self.eps)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_reverse_step_is_the_ddim_step_of_diffusers(eta):
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(50)
    prior = GaussianMixturePrior(torch.zeros(1, *SHAPE), 0.3)
    noise = Streams(0, ["a"])
    for t, t_next in ((980, 960), (20, 0)):
        x, at = X[:1].float(), torch.tensor([t])
        denoised = prior.denoise(x, at)
        found = reverse_step(denoised, at, torch.tensor([t_next]), prior.schedule, noise, eta)
        z = noise.normal(SHAPE)
        expected = scheduler.step(denoised.eps, t, x, eta=eta, variance_noise=z if eta else None).prev_sample
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_vsdps_at_lambda_one_is_dps_and_at_zero_it_is_deterministic():
    measurement = measure(3)
    other = replace(measurement, streams=measurement.streams.at("other"))
    assert close(step(VsDps(1.0, 2.0), measurement), step(Dps(2.0), measurement))
    assert torch.equal(step(VsDps(0.0), measurement), step(VsDps(0.0), other))
    half = step(VsDps(0.5), measurement)
    assert close(half, (step(VsDps(0.0), measurement) + step(VsDps(1.0), measurement)) / 2)


def test_a_step_size_per_timestep_grows_with_the_step():
    """Each row moves by the gradient times the number of timesteps that it passes."""
    measurement = measure(3)
    free, one = (step(Dps(step_size=xi), measurement) for xi in (0.0, 1.0))
    jumps = (T - T_NEXT).view(3, 1, 1, 1)
    expected = free + 0.02 * jumps * (one - free)
    torch.testing.assert_close(step(Dps(step_size=0.02, per_timestep=True), measurement), expected)


def test_the_blend_of_vsdps_is_the_published_formula():
    """x' = beta sqrt(abar') / (1-abar) x0hat + sqrt(a) (1-abar') / (1-abar) xt~ with a = abar / abar' (method.md 6)."""
    measurement, schedule = measure(3), PRIOR.schedule
    x = 3 * X  # so that something is clipped
    (alpha, sigma), (alpha_next, sigma_next) = schedule.at(T, x), schedule.at(T_NEXT, x)
    denoised = PRIOR.denoise(x, T)
    x0 = denoised.x0.clamp(-1, 1)
    assert not torch.equal(x0, denoised.x0)
    blended = alpha * (alpha * x0 + sigma * denoised.eps) + (1 - alpha) * x
    ratio = alpha / alpha_next
    expected = (1 - ratio**2) * alpha_next / sigma**2 * x0 + ratio * sigma_next**2 / sigma**2 * blended
    found = step(VsDps(0.0, step_size=0.0, blend=True), measurement, x=x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    unclipped = [step(VsDps(1.0, clip=False, blend=b), measurement, x=x) for b in (False, True)]
    assert close(*unclipped)


def test_pigdm_guidance_is_the_gradient_of_its_likelihood():
    """On N(0, v I) with r^2 of that v: the step moves along grad log N(y; alpha-scaled mean, r^2 A A^T + s^2 I)."""
    v, measurement = 0.25, measure(3)
    prior = GaussianMixturePrior(torch.zeros(1, *SHAPE, dtype=torch.float64), v)
    a = measurement.operator.matrix(torch.float64)
    alpha, sigma = prior.schedule.at(T, X)
    r2 = v * sigma**2 / (sigma**2 + alpha**2 * v)
    x = X.clone().requires_grad_()
    e = measurement.residual(prior.denoise(x, T).x0).flatten(1)
    covariance = r2.view(3, 1, 1) * a @ a.T + measurement.noise_std**2 * torch.eye(len(a))
    (score,) = torch.autograd.grad(-0.5 * (e * torch.linalg.solve(covariance, e.unsqueeze(2)).squeeze(2)).sum(), x)
    unguided = Dps(step_size=0.0, clip=False)
    (alpha_next, sigma_next), s = prior.schedule.at(T_NEXT, X), prior.schedule.reverse_std(T, T_NEXT, X)
    weight = alpha_next * sigma**2 / alpha - (sigma_next**2 - s**2).sqrt() * sigma
    expected = step(unguided, measurement, prior=prior) + weight * score
    torch.testing.assert_close(step(PiGdm(v, clip=False), measurement, prior=prior), expected, rtol=1e-7, atol=1e-7)
    expected = step(unguided, measurement, prior=prior) + alpha * r2 * score
    torch.testing.assert_close(step(PiGdm(v, update="published", clip=False), measurement, prior=prior), expected)


def test_dmps_guidance_is_that_of_a_flat_prior():
    """The limit of PiGDM's on N(0, v I) for v -> infinity."""
    prior = GaussianMixturePrior(torch.zeros(1, *SHAPE, dtype=torch.float64), 1e9)
    found, expected = (step(s, measure(3), prior=prior) for s in (Dmps(), PiGdm(1e9, clip=False)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampler", [Ddnm(0.85), Ddnm(0.0), Ddrm(0.85, 1.0), Ddrm(0.3, 0.6), Ddrm(1.0, 0.0)])
@pytest.mark.parametrize("t_next", [600, 40])
def test_noise_at_the_next_time_is_right_in_every_direction(sampler, t_next):
    """With a denoiser that knows the image, x' ~ N(alpha' x, sigma'^2 I) over the noise of y and of the step: in the
    null space, where y is better than x_t', and where it is worse. Every covariance within 5 standard errors."""
    n, operator = 2000, AnisotropicBlur(3, 1.0, 2.0)
    image = draw(PRIOR, 1).expand(n, -1, -1, -1)
    measurement = degrade(image, operator, 0.1)
    eps = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    prior = Oracle(image, eps)
    times = torch.full((n,), t_next)
    x = sampler.step(image, torch.full((n,), 700), times, measurement, prior, measurement.streams).flatten(1)
    alpha, sigma = prior.schedule.alpha(t_next), prior.schedule.sigma(t_next)
    assert ((x.mean(0) - alpha * image[0].flatten()).abs() < 5 * sigma / n**0.5).all()
    error = 5 * sigma**2 * ((1 + torch.eye(DIM)) / n) ** 0.5
    assert ((torch.cov(x.T) - sigma**2 * torch.eye(DIM)).abs() < error).all()


@pytest.mark.parametrize("sampler", [Ddnm(), Ddrm(), DiffPir()])
@pytest.mark.parametrize("operator", [Denoise(), SuperResolution(2), Inpaint(0.5)])
def test_without_noise_the_result_agrees_with_the_measurement(sampler, operator):
    measurement = measure(3, operator, noise_std=0.0)
    x = step(sampler, measurement, t_next=torch.full((3,), CLEAN))
    torch.testing.assert_close(measurement.operator(x), measurement.y, rtol=1e-9, atol=1e-9)


def test_dmap_ends_on_the_sphere_and_climbs():
    measurement, schedule = measure(3), PRIOR.schedule
    denoised, s = PRIOR.denoise(X, T), schedule.reverse_std(T, T_NEXT, X)
    alpha_next, sigma_next = schedule.at(T_NEXT, X)
    mean = alpha_next * denoised.x0.clamp(-1, 1) + (sigma_next**2 - s**2).sqrt() * denoised.eps

    def misfit(x):
        return measurement.residual_norm(PRIOR.denoise(x, T_NEXT).x0)

    found = {k: step(Dmap(0.05, radius=0.7, ascents=k), measurement) for k in (1, 2, 8)}
    for x in found.values():
        distance = (x - mean).flatten(1).norm(dim=1)
        torch.testing.assert_close(distance, 0.7 * s.flatten() * DIM**0.5)
    assert (misfit(found[8]) < misfit(found[1])).all()
    clean = torch.full((3,), CLEAN)
    torch.testing.assert_close(step(Dmap(), measurement, t_next=clean), denoised.x0.clamp(-1, 1))


def test_sitcom_fits_the_measurement_and_stops_at_its_noise():
    measurement, clean = measure(3), torch.full((3,), CLEAN)
    before = measurement.residual_norm(PRIOR.denoise(X, T).x0)
    moved = step(Sitcom(20, lr=0.1, lam=0.0, tolerance=0.0, clip=False), measurement, t_next=clean)
    after = measurement.residual_norm(moved)
    assert (after < before).all()
    start = PRIOR.denoise(X, T).x0
    held, free = (step(Sitcom(20, 0.1, lam, 0.0, False), measurement, t_next=clean) - start for lam in (1e4, 0.0))
    assert held.norm() < 0.5 * free.norm()
    still = step(Sitcom(20, tolerance=1e6, clip=False), measurement, t_next=clean)
    torch.testing.assert_close(still, start)


def test_pigdm_does_not_run_away_from_a_network_that_is_wrong_at_high_noise():
    """With an eps that is off by .1, x0hat is off by 16 at t = 999, and guidance multiplies that by its Jacobian."""

    class Wrong(GaussianMixturePrior):
        def denoise(self, x, t):
            return self.from_eps(x, super().denoise(x, t).eps + 0.1 * torch.sin(5 * x), t)

    prior, t = Wrong(torch.zeros(1, *SHAPE, dtype=torch.float64), 0.25), torch.full((3,), 999)
    clipped, free = (step(PiGdm(clip=c), measure(3), t, t - 33, prior) for c in (True, False))
    assert clipped.abs().max() < 5
    assert free.abs().max() > 50


def test_pigdm_clips_the_conditional_mean():
    x0 = step(PiGdm(), measure(3), t_next=torch.full((3,), CLEAN), x=3 * X)
    free = step(PiGdm(clip=False), measure(3), t_next=torch.full((3,), CLEAN), x=3 * X)
    torch.testing.assert_close(x0, free.clamp(-1, 1))
    assert not close(x0, free)


def test_daps_has_the_published_grid():
    """sigma / alpha from 100 to .1 in 200 levels of power 7, each at the nearest timestep."""
    schedule = Schedule.linear()
    timesteps = Daps().timesteps(schedule, 1000, 200)
    levels = [schedule.sigma(t) / schedule.alpha(t) for t in timesteps]
    assert levels[0] == pytest.approx(100, rel=0.02) and levels[-1] == pytest.approx(0.1, rel=0.05)
    assert 190 < len(timesteps) <= 200
    middle = ((100 ** (1 / 7) + 0.1 ** (1 / 7)) / 2) ** 7
    assert levels[100] == pytest.approx(middle, rel=0.05)
    assert Daps().timesteps(schedule, 300, 50)[0] == 299


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_daps_is_exact_where_its_assumption_is(momentum):
    """Under a flat prior p(x_0 | x_t) is N(x_t / alpha, (sigma / alpha)^2 I), as DAPS has it: the samples are those of
    the likelihood, N(y, tau^2 I), within 4 standard errors and what steps of finite size add: of Langevin steps 4 %, of
    Hamiltonian ones, of which x is the slower part, 4 % at most."""
    n, tau = 500, 0.2
    prior = GaussianMixturePrior(torch.zeros(1, *SHAPE, dtype=torch.float64), 1e6)
    measurement = degrade(torch.zeros(n, *SHAPE, dtype=torch.float64), Denoise(), tau)
    measurement = replace(measurement, y=measurement.y[:1].expand(n, -1, -1, -1))
    sampler = Daps(langevin_steps=80, step_size=2e-3, step_decay=1.0, tau=tau, sigma_min=0.3, momentum=momentum)
    x = chain(sampler, measurement, prior, sampler.timesteps(prior.schedule, 1000, 5))
    error = (x - measurement.y).flatten(1)
    assert (error.mean(0).abs() < 4 * tau / n**0.5).all()
    variance = error.square().mean()
    allowed = 4 * (2 / (n * DIM)) ** 0.5
    assert (1.0 if momentum else 1.04) - allowed < variance / tau**2 < 1.04 + allowed


def test_chains_of_several_samplers_are_what_they_are_alone():
    """Three chains of different length and sampler, two of one sampler, in one batch of two images each."""
    prior, measurement = correlated_prior(), measure(2)
    shared = Dps(0.5)
    samplers, lengths = (shared, Dps(2.0), Ddnm(), shared), (5, 3, 9, 2)

    def one(k):
        timesteps = prior.schedule.grid(1000, lengths[k])
        zero = torch.zeros_like(X[:2])
        return Chain.renoised(zero, timesteps, measurement.streams, prior.schedule, samplers[k])

    together, costs = run_chains([one(k) for k in range(4)], measurement, CountedPrior(prior), micro_batch=3)
    assert costs == [Cost(n, n * (k != 2)) for k, n in enumerate(lengths)]  # DDNM is not differentiated
    for k in range(4):
        ((alone,), _) = run_chains([one(k)], measurement, CountedPrior(prior))
        assert close(together[k], alone)


def test_bad_settings_are_told():
    for kind, arguments, sentence in [
        (PiGdm, {"prior_variance": 0}, "prior_variance must be > 0, got 0"),
        (PiGdm, {"update": "best"}, "update must be posterior or published, got 'best'"),
        (DiffPir, {"zeta": 2}, "zeta between 0 and 1"),
        (Ddnm, {"eta": -1}, "eta must be between 0 and 1, got -1"),
        (Ddrm, {"eta_b": 2}, "eta_b must be between 0 and 1, got 2"),
        (Daps, {"tau": 0}, "tau and r_factor must be > 0"),
        (Daps, {"ode_steps": 0}, "ode_steps must be >= 1"),
        (Sitcom, {"inner_steps": -1}, "inner_steps must be a finite number >= 0, got -1"),
        (Dmap, {"ascents": -1}, "ascents must be a finite number >= 0, got -1"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            kind(**arguments)
