"""Samplers that are exact in the limit of many steps, on independent pixels: how they get there.

Their steps are affine, so that the law of their output is propagated, without sampling error. Distances:
||m - m*|| / sqrt(Tr C*) and ||C - C*||_F / ||C*||_F. The gaps of all samplers are those of test_oracle_table.py.
"""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rps.measurement import Measurement, degrade
from rps.operators import AnisotropicBlur, Denoise, Inpaint, SuperResolution
from rps.oracle import Gaussian, propagate_affine
from rps.priors import GaussianMixturePrior
from rps.randomness import Streams
from rps.samplers import Ddrm, PiGdm
from tests.rps.gaussian import DIM, SHAPE, draw
from tests.rps.solvers import chain

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from oracle_breaks import louder

VARIANCE = 0.25
WHITE = GaussianMixturePrior(torch.zeros(1, *SHAPE, dtype=torch.float64), VARIANCE)
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
    return chain(sampler, wide, prior, sampler.timesteps(prior.schedule, 1000, steps)).flatten(1)


@pytest.mark.parametrize("task", TASKS)
def test_pigdm_with_the_right_r2_tends_to_the_posterior(task):
    """On N(0, v I): the mean is exact at any number of steps, but for the start at x_T; the error of the covariance
    falls with the number of steps."""
    measurement, exact = measured(WHITE, task)
    coarse, fine = (gaps(law(PiGdm(VARIANCE, clip=False), WHITE, measurement, k), exact) for k in (50, 100))
    assert coarse[0] < 1e-5 and fine[0] < 1e-5
    assert fine[1] < 0.21 and fine[1] < 0.65 * coarse[1]


@pytest.mark.parametrize("operator", [Inpaint(0.5), SuperResolution(2)])
def test_ddrm_without_noise_and_churn_tends_to_the_posterior(operator):
    """Measured directions are y itself; in the null space eta = 0 is the probability flow of an independent prior."""
    measurement, exact = measured(WHITE, operator)
    coarse, fine = (gaps(law(Ddrm(eta=0.0), WHITE, measurement, k), exact) for k in (50, 200))
    assert coarse[0] < 1e-5 and fine[0] < 1e-5
    assert fine[1] < 0.04 and fine[1] < 0.3 * coarse[1]


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
    with louder(type(sampler))():
        assert not within_errors(sample(sampler, WHITE, measurement, 50, 1000), coarse, NONE)
