"""Every estimator and every sampler has less error than A^+ y with its default settings. A new one is tested by being
there; the images are those of a known law."""

import inspect

import pytest
import torch

from rps import estimators, samplers
from rps.measurement import degrade
from rps.operators import Denoise, SuperResolution
from rps.priors import GaussianMixturePrior
from rps.randomness import Streams
from tests.rps.solvers import chain, kinds

N, SIZE, STEPS = 16, 8, 10
FEWER = {"num_steps": 30, "pixel_steps": 20, "inner_steps": 10, "langevin_steps": 15}
"""Settings that cost time; all others have their defaults."""
BOUND = {"denoise": 0.75, "sr2": 1.0}
"""On the error, in units of that of A^+ y, which is all noise in denoise."""
EXCEPT = {
    ("denoise", "Ddim"): 1.5, ("sr2", "Ddim"): 2.5, ("sr2", "Daps"): 1.2, ("sr2", "LatentDaps"): 1.2,
}  # fmt: skip
"""Other bounds: of unconditional samples, which ignore y; and of DAPS on 10 of its 200 levels in sr2, where already a
posterior sample has .78."""
LEFT_OUT = {"ChainEstimator", "PseudoInverse"}
"""A class that needs a sampler, which is tested by itself, and A^+ y."""


def prior_of_smooth_images():
    """Bright and dark images with a standard deviation of .39."""
    place = torch.cartesian_prod(torch.arange(SIZE), torch.arange(SIZE)).double()
    means = torch.tensor([0.3, -0.3]).double().view(2, 1, 1, 1).expand(2, 1, SIZE, SIZE)
    return GaussianMixturePrior(means, (0.06 * torch.exp(-torch.cdist(place, place) / 4)).expand(2, -1, -1))


PRIOR, NOISE = prior_of_smooth_images(), Streams(0, [str(k) for k in range(N)]).at("image")
IMAGES = PRIOR.mixture.sample(NOISE.uniform((1,)).double(), NOISE.normal((SIZE**2,)).double()).view(N, 1, SIZE, SIZE)
TASKS = {"denoise": degrade(IMAGES, Denoise(), 0.5), "sr2": degrade(IMAGES, SuperResolution(2), 0.3)}
METHODS = kinds(estimators, estimators.Estimator) | kinds(samplers, samplers.Sampler)


def error(x):
    return (x - IMAGES).square().flatten(1).mean(1).sqrt()


@pytest.mark.parametrize("name", sorted(METHODS.keys() - LEFT_OUT))
@pytest.mark.parametrize("task", TASKS)
def test_defaults_have_less_error_than_the_pseudo_inverse(name, task):
    """By more than two standard errors of the paired difference."""
    y, kind = TASKS[task], METHODS[name]
    method = kind(**{key: n for key, n in FEWER.items() if key in inspect.signature(kind).parameters})
    if isinstance(method, estimators.Estimator):
        restored = method.estimate(y, PRIOR)
    else:
        restored = chain(method, y, PRIOR, method.timesteps(PRIOR.schedule, len(PRIOR.schedule), STEPS))
    gain = EXCEPT.get((task, name), BOUND[task]) * error(y.pseudo_inverse()) - error(restored)
    assert gain.mean() > 2 * gain.std() / N**0.5, (gain.mean(), gain.std() / N**0.5)
