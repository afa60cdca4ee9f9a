"""Our steps against the arithmetic of published code, restated here in its own terms (betas, means, dense matrices).

What each comparison comes to is in docs/compatibility.md.
"""

import pytest
import torch

from rps.estimators import DmapEstimator, MapEstimator, RedDiff, RmpEstimator
from rps.estimators.map import PriorGradient
from rps.operators import AnisotropicBlur, Inpaint, SuperResolution
from rps.priors.base import Denoised, Prior
from rps.samplers import Daps, Dcdp, Ddnm, Ddrm, DiffPir, Dmap, Dmps, Dps, LatentDps, Ldir, Psld, Sitcom, VsDps
from rps.samplers.reverse import reverse_law
from rps.schedule import CLEAN, Schedule
from tests.rps.gaussian import SHAPE
from tests.rps.solvers import LATENT, measure

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
ABAR = torch.cumprod(1 - BETAS, 0)
OPERATORS = {"sr2": SuperResolution(2), "inpaint": Inpaint(0.5), "blur": AnisotropicBlur(3, 1.0, 2.0)}


class Network(Prior):
    """A network with learned variance: eps and v are functions of x_t."""

    def __init__(self, learned: bool = True) -> None:
        super().__init__()
        self.schedule, self.sample_shape, self.learned = Schedule.linear(), SHAPE, learned

    @staticmethod
    def outputs(x):
        return 0.7 * x + 0.1 * torch.sin(3 * x), torch.tanh(2 * x)

    def denoise(self, x, t):
        eps, v = self.outputs(x)
        return self.from_eps(x, eps, t)._replace(variance_fraction=(v.detach() + 1) / 2 if self.learned else None)


def state(t, scale=1.0):
    """x_t of about the size that it has, so that some of x0hat is clipped."""
    x = torch.randn(len(t), *SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return scale * x


def column(value):
    return value.view(-1, 1, 1, 1)


def at(t):
    """(abar, abar') of each row for the step to t - 1."""
    padded = torch.cat([torch.ones(1, dtype=torch.float64), ABAR])
    return column(padded[t + 1]), column(padded[t])


def dps_as_run(x, t, measurement, z, xi):
    """One step of the published stage 2: method and errors as its code has them."""
    abar, abar_next = at(t)
    x = x.clone().requires_grad_()
    eps, v = Network.outputs(x)
    x0 = ((x - (1 - abar).sqrt() * eps) / abar.sqrt()).clamp(-1, 1)
    norm = torch.linalg.vector_norm((measurement.y - measurement.operator(x0)).flatten(1), dim=1)
    (gradient,) = torch.autograd.grad(norm.sum(), x)
    x, x0, eps, v = (a.detach() for a in (x, x0, eps, v))
    before = torch.cat([torch.ones(1, dtype=torch.float64), ABAR[:-1]])
    posterior_variance = BETAS * (1 - before) / (1 - ABAR)
    smallest = torch.cat([posterior_variance[1:2], posterior_variance[1:]]).log()
    fraction = (v.exp() + 1) / 2
    log_variance = fraction * column(BETAS[t].log()) + (1 - fraction) * column(smallest[t])
    mean = abar_next.sqrt() * x0 + (1 - abar_next - column(posterior_variance[t])).sqrt() * eps
    return mean + (0.5 * log_variance).exp() * z - xi * gradient


@pytest.mark.parametrize("operator", OPERATORS)
def test_legacy_dps_is_the_published_stage_2(operator):
    t = torch.tensor([999, 400, 1, 0])
    measurement, x = measure(4, OPERATORS[operator]), state(t)
    streams = measurement.streams.at_step(t)
    found = Dps(0.7, legacy=True).step(x, t, t - 1, measurement, Network(), streams)
    expected = dps_as_run(x, t, measurement, streams.normal(SHAPE).double(), 0.7)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    correct = Dps(0.7).step(x, t, t - 1, measurement, Network(), streams)
    assert ((found - correct).flatten(1).norm(dim=1) > 1e-3).all()  # each of the rows shows an error


def test_learned_variance_changes_the_noise_and_not_the_mean():
    """The coefficient of eps is sqrt(sigma'^2 - s^2) with the fixed small s (method.md 8), whatever v is."""
    t = torch.tensor([999, 400, 1, 0])
    x, abar, abar_next = state(t), *at(t)
    fixed, learned = (Network(flag).denoise(x, t) for flag in (False, True))
    small = ((1 - abar_next) / (1 - abar) * (1 - abar / abar_next)).sqrt()
    for denoised in (fixed, learned):
        mean, std = reverse_law(denoised, t, t - 1, Schedule.linear())
        expected = abar_next.sqrt() * denoised.x0 + (1 - abar_next - small**2).sqrt() * denoised.eps
        torch.testing.assert_close(mean, expected, rtol=0, atol=1e-12)
    variance = column(BETAS[t]) ** learned.variance_fraction * (small**2) ** (1 - learned.variance_fraction)
    torch.testing.assert_close(std[:3], variance.sqrt()[:3])
    assert not std[3].any()  # the last step adds no noise


@pytest.mark.parametrize("sampler", [Dps(0.0), VsDps(0.0, 0.0), Dmap(radius=0.0)])
def test_all_ancestral_steps_have_that_mean(sampler):
    t, measurement = torch.tensor([400, 1]), measure(2)
    x, (abar, abar_next) = state(t), at(t)
    found = sampler.step(x, t, t - 1, measurement, Network(), measurement.streams)
    d = Network().denoise(x, t)
    small2 = (1 - abar_next) / (1 - abar) * (1 - abar / abar_next)
    mean = abar_next.sqrt() * d.x0.clamp(-1, 1) + (1 - abar_next - small2).sqrt() * d.eps
    std = (small2 ** (1 - d.variance_fraction) * column(BETAS[t]) ** d.variance_fraction).sqrt()
    noisy = type(sampler) is Dps
    torch.testing.assert_close(found, mean + noisy * std * measurement.streams.normal(SHAPE).double())


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("noise_std", [0.0, 0.1])
def test_ddnm_is_the_published_method(operator, noise_std):
    """DDNM+ direction by direction: where the noise of y fits below sigma', fresh noise alone tops it up; without noise
    DDNM, which keeps eps in every direction."""
    eta, t = 0.85, torch.tensor([900, 300, 40])
    t_next = torch.tensor([880, 280, 20])
    measurement, x = measure(3, OPERATORS[operator], noise_std), state(t)
    streams, schedule = measurement.streams.at_step(t), Schedule.linear()
    found = Ddnm(eta).step(x, t, t_next, measurement, Network(), streams)
    x0, eps, _ = Network().denoise(x, t)
    z = streams.normal(SHAPE).double()
    for row in range(3):
        part = measurement.rows(slice(row, row + 1))
        u, s, v = torch.linalg.svd(part.operator.matrix(torch.float64))
        c = torch.cat([s, s.new_zeros(len(v) - len(s))])
        c = torch.where(c > 1e-10, c, 0.0)
        a, sigma = schedule.alpha(int(t_next[row])), schedule.sigma(int(t_next[row]))
        inverse = torch.where(c > 0, 1 / c.clamp(min=1e-30), 0.0)
        measured = inverse * torch.cat([u.T @ part.y.flatten(), s.new_zeros(len(v) - len(s))])[: len(v)]
        m = a * noise_std * inverse
        weak = m > sigma
        share = torch.where(weak, (1 - eta**2) ** 0.5 * sigma / m.clamp(min=1e-30), 1.0) * (c > 0)
        fresh = torch.where(weak, eta * sigma, (sigma**2 - m**2).clamp(min=0).sqrt())
        kept = torch.zeros_like(fresh)
        free = (c == 0) | (torch.tensor(noise_std) == 0)
        fresh, kept = torch.where(free, eta * sigma, fresh), torch.where(free, (1 - eta**2) ** 0.5 * sigma, kept)
        clean, e, n = (v @ image[row].flatten() for image in (x0, eps, z))
        expected = v.T @ (a * (clean + share * (measured - clean)) + fresh * n + kept * e)
        torch.testing.assert_close(found[row].flatten(), expected, rtol=0, atol=1e-7)
    if noise_std:
        torch.testing.assert_close(found, Ddrm(eta, 1.0).step(x, t, t_next, measurement, Network(), streams))


@pytest.mark.parametrize("kind", [Ddnm, Ddrm, Dmps])
def test_clip_clips_x0hat_before_the_data(kind):
    """The step is that of a network whose x0hat is in [-1, 1]; its eps stays."""

    class Clipped(Network):
        def denoise(self, x, t):
            denoised = super().denoise(x, t)
            return denoised._replace(x0=denoised.x0.clamp(-1, 1))

    t, measurement = torch.tensor([900, 300]), measure(2)
    steps = (kind(clip=True), Network()), (kind(), Clipped()), (kind(), Network())
    clip, inside, free = (s.step(state(t), t, t - 20, measurement, p, measurement.streams) for s, p in steps)
    torch.testing.assert_close(clip, inside)
    assert not torch.allclose(clip, free)


@pytest.mark.parametrize("operator", OPERATORS)
def test_red_diff_weighs_means_as_its_code_does(operator):
    """Half the mean square over y plus lambda_t times a mean over x, by Adam with betas .9 and .99."""
    measurement, prior = measure(3, OPERATORS[operator]), Network(False)
    steps, lam, lr = 5, 0.25, 0.5
    mu = measurement.operator.pinv(measurement.y, 0.1).clone().requires_grad_()
    # Our gradients are 2 m times theirs, and Adam's epsilon is the one thing that depends on their scale.
    optimizer = torch.optim.Adam([mu], lr=lr, betas=(0.9, 0.99), eps=1e-8 / (2 * measurement.y[:1].numel()))
    for t in (999, 799, 599, 399, 199):
        e = measurement.streams.at("stage1").at_step(torch.full((3,), t)).normal(SHAPE).double()
        x = ABAR[t].sqrt() * mu.detach() + (1 - ABAR[t]).sqrt() * e
        eps, weight = Network.outputs(x)[0], lam * ((1 - ABAR[t]) / ABAR[t]).sqrt()
        rows = (measurement.y - measurement.operator(mu)).flatten(1).square().mean(1) / 2
        loss = rows + weight * ((eps - e) * mu).flatten(1).mean(1)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    found = RedDiff(steps, lr, lam).estimate(measurement, prior)
    torch.testing.assert_close(found, mu.detach(), rtol=0, atol=1e-10)


def test_daps_has_the_published_potential():
    """One Langevin step on ||x - x0hat||^2 / (2 r^2) + ||y - A x||^2 / tau^2 with the published tau = .01."""
    t, measurement = torch.tensor([600, 100]), measure(2)
    x, h = state(t), 1e-6
    noise, (abar, _) = measurement.streams.at_step(t), at(t)
    sampler = Daps(ode_steps=1, langevin_steps=1, step_size=h, step_decay=1.0, tau=0.01 / 2**0.5)
    found = sampler.step(x, t, torch.full((2,), CLEAN), measurement, Network(False), noise)
    x0hat = ((x - (1 - abar).sqrt() * Network.outputs(x)[0]) / abar.sqrt()).requires_grad_()
    potential = (measurement.y - measurement.operator(x0hat)).square().sum() / 0.01**2
    (gradient,) = torch.autograd.grad(potential, x0hat)
    z = noise.at("langevin").at_step(0).normal(SHAPE).double()
    torch.testing.assert_close(found, x0hat.detach() - h * gradient + (2 * h) ** 0.5 * z)


@pytest.mark.parametrize("operator", OPERATORS)
def test_diffpir_has_the_published_trade_off(operator):
    """min ||y - A x||^2 + rho ||x - x0hat||^2 with rho = lambda sigma_n^2 / (sigma / alpha)^2, lambda = 7, where
    sigma_n is in [0, 1] units although x and y are in [-1, 1]."""
    t, measurement = torch.tensor([600]), measure(1, OPERATORS[operator], noise_std=0.1)
    x, (abar, _) = state(t), at(t)
    found = DiffPir().step(x, t, torch.full((1,), CLEAN), measurement, Network(False), measurement.streams)
    a = measurement.operator.matrix(torch.float64)
    rho = 7 * (0.1 / 2) ** 2 / ((1 - abar) / abar).item()
    x0hat = (x - (1 - abar).sqrt() * Network.outputs(x)[0]) / abar.sqrt()
    right = a.T @ measurement.y.flatten() + rho * x0hat.flatten()
    expected = torch.linalg.solve(a.T @ a + rho * torch.eye(a.shape[1]), right)
    torch.testing.assert_close(found.flatten(), expected)


def test_sitcom_clips_images_and_shows_it_in_the_loss():
    """With no inner step x' = clip(x0hat); where all of x0hat is clipped, the data have no pull."""
    t, clean = torch.tensor([600, 100]), torch.full((2,), CLEAN)
    measurement, x = measure(2), 50 * torch.ones(2, *SHAPE, dtype=torch.float64)
    x0hat = Network().denoise(x, t).x0
    assert (x0hat > 1).all()
    for steps in (0, 3):
        found = Sitcom(steps, lr=0.1, lam=0.0, tolerance=0.0).step(
            x, t, clean, measurement, Network(), measurement.streams
        )
        torch.testing.assert_close(found, torch.ones_like(x))


def test_ldir_carries_abar_t():
    t, measurement = torch.tensor([600, 100]), measure(2)
    x, (abar, _) = state(t), at(t)
    moves = {}
    for decay in (True, False):
        still, moved = (
            Ldir(xi, decay=decay).step(x, t, t - 1, measurement, Network(), measurement.streams) for xi in (0.0, 0.1)
        )
        moves[decay] = moved - still
    torch.testing.assert_close(moves[True], abar * moves[False])


def test_dcdp_descends_the_norm_with_the_default_decay_of_adamw():
    t, clean, measurement = torch.tensor([600, 100]), torch.full((2,), CLEAN), measure(2)
    x = state(t)
    z = Network().denoise(x, t).x0.detach().requires_grad_()
    optimizer = torch.optim.AdamW([z], lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        torch.linalg.vector_norm((measurement.y - measurement.operator(z)).flatten(1), dim=1).sum().backward()
        optimizer.step()
    found = Dcdp(inner_steps=4).step(x, t, clean, measurement, Network(), measurement.streams)
    torch.testing.assert_close(found, z.detach())


FAR = [Dps(), VsDps(0.5), Dmap(), Sitcom(2)]


@pytest.mark.parametrize("sampler", FAR, ids=lambda s: type(s).__name__)
def test_latents_are_never_clipped_by_default(sampler):
    """Latents reach 6: the default step is that of clip=False there, and of clip=True for images."""

    def step(chosen, world, prior):
        t, measurement = torch.tensor([500, 20]), world.measure(2)
        x = 5 * torch.randn(2, *world.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        return chosen.step(x, t, t - 10, measurement, prior, measurement.streams.at_step(t))

    yes, no = (sampler.replace(clip=flag) for flag in (True, False))
    prior = LATENT.prior()
    assert torch.equal(step(sampler, LATENT, prior), step(no, LATENT, prior))
    assert not torch.allclose(step(yes, LATENT, prior), step(no, LATENT, prior))
    prior.latent = False
    assert torch.equal(step(sampler, LATENT, prior), step(yes, LATENT, prior))


def test_no_estimator_and_no_latent_sampler_clips_latents_by_default():
    for solver in (RmpEstimator().sampler, DmapEstimator().sampler, LatentDps()):
        denoised = Denoised(torch.full((1, 1, 2, 4), 6.0), torch.zeros(1, 1, 2, 4))
        mean, _ = solver.law(denoised, torch.tensor([0]), torch.tensor([CLEAN]), LATENT.prior())
        assert torch.equal(mean, denoised.x0)


def test_the_control_variate_uses_every_draw_before():
    """c = <eps, e> / <e, e> over the draws of an image so far, also within one iteration."""
    measurement, prior = measure(2), Network(False)
    gradient = PriorGradient("control_variate", 50, 2, measurement, prior)
    x = state(torch.zeros(2))
    found = gradient(x, 0)
    total, top, bottom = torch.zeros_like(x), torch.ones(2, 1, 1, 1).double(), torch.ones(2, 1, 1, 1).double()
    for draw in range(2):
        e = measurement.streams.at("stage1").at_step(draw).normal(SHAPE).double()
        eps = Network.outputs(ABAR[50].sqrt() * x + (1 - ABAR[50]).sqrt() * e)[0]
        total += eps - top / bottom * e
        top = top + (eps * e).flatten(1).mean(1).view(-1, 1, 1, 1)
        bottom = bottom + (e * e).flatten(1).mean(1).view(-1, 1, 1, 1)
    torch.testing.assert_close(found, total / 2)


@pytest.mark.parametrize("make", [RedDiff, RmpEstimator, DmapEstimator])
def test_a_number_of_steps_below_one_is_refused(make):
    for steps in (0, -1):
        with pytest.raises(ValueError, match=f"num_steps must be at least 1, got {steps}"):
            make(num_steps=steps)


def test_the_timestep_of_stage_1_is_the_priors_unless_given():
    assert MapEstimator().timestep(Network()) == 10
    assert MapEstimator(t1=30).timestep(Network()) == 30


@pytest.mark.parametrize("data_term", ["squared", "stable"])
def test_stage_1_is_the_published_loop(data_term):
    """AdamW with its defaults on ||y - A x||^2 + w <eps, x> (the norm itself when stable), a cosine learning rate."""
    steps, lr, w, t1, measurement = 6, 0.5, 0.25, 10, measure(3)
    x = measurement.operator.pinv(measurement.y, 0.1).clone().requires_grad_()
    optimizer = torch.optim.AdamW([x], lr=lr)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-5)
    for step in range(steps):
        e = measurement.streams.at("stage1").at_step(step).normal(SHAPE).double()
        eps = Network.outputs(ABAR[t1].sqrt() * x.detach() + (1 - ABAR[t1]).sqrt() * e)[0]
        error = (measurement.y - measurement.operator(x)).flatten(1)
        data = error.square().sum(1) if data_term == "squared" else error.norm(dim=1)
        optimizer.zero_grad()
        (data.sum() + w * (eps * x).sum()).backward()
        optimizer.step()
        cosine.step()
    estimator = MapEstimator(steps, lr, t1, w, prior_term="published", data_term=data_term)
    torch.testing.assert_close(estimator.estimate(measurement, Network()), x.detach(), rtol=0, atol=1e-6)


class LatentNetwork(Network):
    """The same network on latents that a linear decoder makes images of."""

    latent = True

    def __init__(self) -> None:
        super().__init__(learned=False)
        self.coder = LATENT.prior()
        self.sample_shape = self.coder.sample_shape

    @property
    def image_shape(self):
        return self.coder.image_shape

    def encode(self, image):
        return self.coder.encode(image)

    def decode(self, sample):
        return self.coder.decode(sample)


@pytest.mark.parametrize("name", ["latent DPS", "PSLD"])
@pytest.mark.parametrize("squared", [True, False])
def test_the_latent_stage_2_is_the_published_one(name, squared):
    """z' = sqrt(abar') z0hat + sqrt(1 - abar' - s^2) eps + s n - xi abar grad_z L; PSLD's L has the noise of y and the
    gluing term (method.md 4)."""
    t, xi, lam = torch.tensor([700, 30]), 0.05, 0.1
    measurement, prior = LATENT.measure(2), LatentNetwork()
    streams, operator, y = measurement.streams.at_step(t), measurement.operator, measurement.y
    x = torch.randn(2, *LATENT.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    abar, abar_next = at(t)
    z = x.clone().requires_grad_()
    eps = Network.outputs(z)[0]
    z0 = (z - (1 - abar).sqrt() * eps) / abar.sqrt()
    image = prior.decode(z0)
    n = streams.at("measurement noise").normal(y.shape[1:]).double() if name == "PSLD" else 0.0
    error = (y - operator(image) - measurement.noise_std * n).flatten(1)
    loss = error.square().sum(1) if squared else error.norm(dim=1)
    if name == "PSLD":
        glued = prior.encode(image + operator.pinv(y - operator(image))).detach()
        loss = loss + lam * (z0 - glued).flatten(1).square().sum(1)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    s2 = (1 - abar_next) / (1 - abar) * (1 - abar / abar_next)
    mean = abar_next.sqrt() * z0 + (1 - abar_next - s2).sqrt() * eps
    expected = (mean + s2.sqrt() * streams.normal(LATENT.shape).double() - xi * abar * gradient).detach()
    sampler = LatentDps(xi, squared) if name == "latent DPS" else Psld(xi, lam, squared)
    torch.testing.assert_close(sampler.step(x, t, t - 1, measurement, prior, streams), expected, rtol=0, atol=1e-6)
