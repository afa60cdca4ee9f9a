"""Samplers against the exact posterior of Gaussian priors.

Where a step is affine its output law is propagated, without sampling error; elsewhere it is sampled. Samplers that are
exact in the limit of many steps must get there; the gaps of the others are recorded here, so that they cannot grow
unnoticed. Distances: ||m - m*|| / sqrt(Tr C*) and ||C - C*||_F / ||C*||_F.
"""

from dataclasses import replace

import pytest
import torch

from rps.measurement import Measurement, degrade
from rps.operators import AnisotropicBlur, Denoise, Inpaint, SuperResolution
from rps.oracle import Gaussian, propagate_affine
from rps.priors import GaussianMixturePrior
from rps.priors.counted import CountedPrior
from rps.randomness import Streams
from rps.samplers import Daps, Ddnm, Ddrm, DiffPir, Dmap, Dmps, Dps, PiGdm, Sampler, Sitcom, VsDps
from rps.samplers.chains import Chain, run_chains
from tests.rps.gaussian import DIM, SHAPE, correlated_prior, draw

VARIANCE = 0.25
WHITE = GaussianMixturePrior(torch.zeros(1, *SHAPE, dtype=torch.float64), VARIANCE)
CORRELATED = correlated_prior()
EYE = torch.eye(DIM, dtype=torch.float64)
TASKS = {
    "denoise": (Denoise(), 0.3),
    "sr2": (SuperResolution(2), 0.2),
    "inpaint": (Inpaint(0.5), 0.2),
    "blur": (AnisotropicBlur(3, 1.0, 2.0), 0.1),
}


def measured(prior, task) -> tuple[Measurement, Gaussian]:
    """The measurement of one image, and its exact posterior."""
    operator, noise_std = TASKS.get(task) or (task, 0.0)
    measurement = degrade(draw(prior, 1), operator, noise_std)
    # Without noise the posterior is the limit of a vanishing one.
    posterior = prior.posterior(replace(measurement, noise_std=max(noise_std, 1e-6)))
    return measurement, Gaussian(posterior.mean()[0], posterior.covariance()[0])


def law(sampler, prior, measurement, steps) -> Gaussian:
    timesteps = sampler.timesteps(prior.schedule, 1000, steps)
    start = Gaussian(torch.zeros(DIM, dtype=torch.float64), prior.schedule.sigma(timesteps[0]) ** 2 * EYE)
    return propagate_affine(sampler, measurement, prior, timesteps, start)


def gaps(found: Gaussian, exact: Gaussian) -> tuple[float, float]:
    """(mean, covariance)."""
    mean = (found.mean - exact.mean).norm() / exact.cov.trace().sqrt()
    return float(mean), float((found.cov - exact.cov).norm() / exact.cov.norm())


def sample(sampler, prior, measurement, steps, n) -> torch.Tensor:
    """n outputs of the chain for one measurement.  -> [n, D]."""
    rows = torch.zeros(n, dtype=torch.int64)
    streams = Streams(0, [str(k) for k in range(n)])
    wide = replace(measurement.rows(rows), streams=streams)
    timesteps = sampler.timesteps(prior.schedule, 1000, steps)
    start = Chain.renoised(torch.zeros(n, *SHAPE, dtype=torch.float64), timesteps, streams, prior.schedule, sampler)
    ((x,), _) = run_chains([start], wide, CountedPrior(prior))
    return x.flatten(1)


class Louder(Streams):
    """A deliberate break: every normal times sqrt 2."""

    def normal(self, shape):
        return 2**0.5 * super().normal(shape)


def louder(sampler: Sampler) -> Sampler:
    """The sampler with a factor sqrt 2 in its noise."""

    class Broken(type(sampler)):
        def step(self, x, t, t_next, measurement, prior, noise):
            return super().step(x, t, t_next, measurement, prior, Louder._from_keys(noise.keys))

    broken = Broken.__new__(Broken)
    vars(broken).update(vars(sampler))
    return broken


@pytest.mark.parametrize("task", TASKS)
def test_pigdm_with_the_right_r2_tends_to_the_posterior(task):
    """On N(0, v I): the mean is exact at any number of steps, but for the start at x_T; the error of the covariance
    falls with the number of steps."""
    measurement, exact = measured(WHITE, task)
    coarse, fine = (gaps(law(PiGdm(VARIANCE, clip=False), WHITE, measurement, k), exact) for k in (50, 100))
    assert coarse[0] < 1e-5 and fine[0] < 1e-5
    assert fine[1] < 0.21 and fine[1] < 0.65 * coarse[1]


def test_pigdm_gets_there():
    """3.9 % of the covariance at 400 steps (1.3 % at 1000)."""
    measurement, exact = measured(WHITE, "sr2")
    assert gaps(law(PiGdm(VARIANCE, clip=False), WHITE, measurement, 400), exact)[1] < 0.042


@pytest.mark.parametrize("operator", [Inpaint(0.5), SuperResolution(2)])
def test_ddrm_without_noise_and_churn_tends_to_the_posterior(operator):
    """Measured directions are y itself; in the null space eta = 0 is the probability flow of an independent prior."""
    measurement, exact = measured(WHITE, operator)
    coarse, fine = (gaps(law(Ddrm(eta=0.0), WHITE, measurement, k), exact) for k in (50, 200))
    assert coarse[0] < 1e-5 and fine[0] < 1e-5
    assert fine[1] < 0.04 and fine[1] < 0.3 * coarse[1]


def test_ddrm_is_not_exact_with_noise():
    """Its published settings on denoising: what the paper's eta costs, whatever the number of steps."""
    measurement, exact = measured(WHITE, "denoise")
    assert gaps(law(Ddrm(), WHITE, measurement, 20), exact)[1] > 0.5


def within_errors(x: torch.Tensor, exact: Gaussian, allowance: Gaussian) -> bool:
    """Mean and every entry of the covariance within 4 standard errors (5 for the largest of D^2) plus an allowance."""
    n, c = len(x), exact.cov
    mean_error = 4 * (c.diagonal() / n).sqrt() + allowance.mean + 1e-5
    covariance_error = 5 * ((c**2 + torch.outer(c.diagonal(), c.diagonal())) / n).sqrt() + allowance.cov + 1e-9
    return bool(((x.mean(0) - exact.mean).abs() < mean_error).all()) and bool(
        ((torch.cov(x.T) - c).abs() < covariance_error).all()
    )


NONE = Gaussian(torch.zeros(DIM, dtype=torch.float64), torch.zeros(DIM, DIM, dtype=torch.float64))


@pytest.mark.parametrize(("sampler", "task"), [(PiGdm(VARIANCE, clip=False), "sr2"), (Ddrm(eta=0.0), Inpaint(0.5))])
def test_samples_have_the_propagated_law_and_the_posterior(sampler, task):
    """2,000 samples of 100 steps: the law that was propagated, within 4 standard errors; and the exact posterior, if
    the discretisation is allowed three times what halving the step changes (errors that fall to 2/3 add up to that).
    """
    measurement, exact = measured(WHITE, task)
    coarse, fine = (law(sampler, WHITE, measurement, steps) for steps in (100, 200))
    x = sample(sampler, WHITE, measurement, 100, 2000)
    assert within_errors(x, coarse, NONE)
    allowance = Gaussian(3 * (coarse.mean - fine.mean).abs(), 3 * (coarse.cov - fine.cov).abs())
    assert within_errors(x, exact, allowance)


@pytest.mark.parametrize(("sampler", "task"), [(PiGdm(VARIANCE, clip=False), "sr2"), (Ddrm(eta=0.3), Inpaint(0.5))])
def test_a_factor_in_the_noise_would_be_noticed(sampler, task):
    measurement, _ = measured(WHITE, task)
    coarse = law(sampler, WHITE, measurement, 50)
    assert within_errors(sample(sampler, WHITE, measurement, 50, 1000), coarse, NONE)
    assert not within_errors(sample(louder(sampler), WHITE, measurement, 50, 1000), coarse, NONE)


@pytest.mark.parametrize(
    ("sampler", "task", "module"),
    [(PiGdm(VARIANCE, clip=False), "sr2", "pigdm.guidance"), (Ddrm(eta=0.0), Inpaint(0.5), "ddnm.spectral")],
)
def test_a_sign_in_the_guidance_would_be_noticed(sampler, task, module, monkeypatch):
    import importlib

    file, name = module.split(".")
    place = importlib.import_module(f"rps.samplers.{file}")
    right = getattr(place, name)
    monkeypatch.setattr(place, name, lambda *args: -right(*args))
    measurement, exact = measured(WHITE, task)
    assert gaps(law(sampler, WHITE, measurement, 10), exact)[0] > 0.5


# (mean, covariance) on the correlated prior: (sampler, steps) -> sr2, inpaint.
AFFINE = {
    "pigdm": (PiGdm(clip=False), 20, (0.1222, 0.3190), (0.2125, 0.2923)),
    "pigdm, published update": (PiGdm(update="published", clip=False), 20, (0.0458, 0.3391), (0.1713, 0.3194)),
    "dmps": (Dmps(), 20, (0.1897, 0.3308), (0.2788, 0.2746)),
    "diffpir": (DiffPir(7.0), 20, (0.2382, 0.2244), (0.2908, 0.3062)),
    "ddnm": (Ddnm(), 20, (0.1291, 0.3830), (0.2328, 0.3244)),
    "ddrm": (Ddrm(), 20, (0.1291, 0.3830), (0.2328, 0.3244)),
    "daps": (Daps(tau=0.2, langevin_steps=10, step_size=1e-2), 10, (0.4501, 0.2547), (0.3680, 0.3455)),
}


@pytest.mark.parametrize("name", AFFINE)
def test_recorded_gaps(name):
    """Propagated, so without any error of sampling: within 1 % of what was recorded."""
    sampler, steps, *recorded = AFFINE[name]
    for task, expected in zip(("sr2", "inpaint"), recorded, strict=True):
        measurement, exact = measured(CORRELATED, task)
        found = gaps(law(sampler, CORRELATED, measurement, steps), exact)
        print(f"{name}, {task}: {found[0]:.4f} {found[1]:.4f}")
        assert found == pytest.approx(expected, rel=0.01, abs=1e-3)


# (mean gap, Tr C / Tr C*) of the samplers whose step is not affine, on the correlated prior and sr2, from 400 samples.
SAMPLED = {
    "dps": (Dps(), 100, 0.321, 0.484),
    "vsdps, lambda 0": (VsDps(0.0), 100, 0.378, 0.0),
    "dmap": (Dmap(), 50, 0.312, 0.464),
    "sitcom": (Sitcom(5), 20, 0.335, 0.435),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_recorded_gaps_of_the_others(name):
    """Within 4 standard errors of what was recorded."""
    sampler, steps, mean_gap, trace_ratio = SAMPLED[name]
    measurement, exact = measured(CORRELATED, "sr2")
    x = sample(sampler, CORRELATED, measurement, steps, 400)
    total = exact.cov.trace()
    error = (x.var(0).sum() / len(x) / total).sqrt()
    spread = (x - x.mean(0)).square().sum(1)
    found = (x.mean(0) - exact.mean).norm() / total.sqrt(), spread.mean() / total
    print(f"{name}: {found[0]:.3f} {found[1]:.3f}")
    assert abs(found[0] - mean_gap) < 4 * error + 0.005
    assert abs(found[1] - trace_ratio) < 4 * spread.std() / len(x) ** 0.5 / total + 0.005


def test_a_step_that_is_not_affine_is_told():
    measurement, _ = measured(CORRELATED, "sr2")
    with pytest.raises(ValueError, match=r"Dps is not affine at t = \d+ .by .*: its law is not Gaussian"):
        law(Dps(), CORRELATED, measurement, 20)
