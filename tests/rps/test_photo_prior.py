"""The photo prior that ships, on pictures that it was not trained on."""

import pytest
import torch
from skimage.data import chelsea

from rps.estimators import ProximalMap
from rps.measurement import degrade
from rps.operators import Inpaint, SuperResolution
from rps.priors import PhotoPrior, TiledPrior


@pytest.fixture(scope="module")
def cat():
    """Eight patches of 64 x 64 of one photograph: [8, 3, 64, 64] in [-1, 1]."""
    pixels = torch.tensor(chelsea()).permute(2, 0, 1).float() / 127.5 - 1
    return torch.stack([pixels[:, i : i + 64, j : j + 64] for i in (80, 180) for j in (40, 130, 220, 310)])


def gain(better, worse, images):
    """Mean over images of the RMSE of `worse` minus that of `better`, in standard errors."""
    errors = [(x.clamp(-1, 1) - images).square().mean((1, 2, 3)).sqrt() for x in (better, worse)]
    difference = errors[1] - errors[0]
    return float(difference.mean() / (difference.std() / len(difference) ** 0.5))


def test_it_removes_most_of_the_noise(cat):
    prior, t = PhotoPrior(), torch.full((8,), 200)
    alpha, sigma = prior.schedule.alpha_table[200], prior.schedule.sigma_table[200]
    x = alpha * cat + sigma * torch.randn(cat.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = prior.denoise(x, t).x0
    before, after = ((image - cat).square().mean().sqrt() for image in (x / alpha, found))
    assert after < before / 4


@pytest.mark.parametrize("operator", [SuperResolution(4), Inpaint(0.3)], ids=["sr4", "inpaint"])
def test_stage_1_beats_the_pseudo_inverse(operator, cat):
    measurement = degrade(cat, operator, 0.1)
    estimate = ProximalMap(num_steps=10).estimate(measurement, TiledPrior(PhotoPrior()).given(measurement))
    assert gain(estimate, measurement.pseudo_inverse(), cat) > 4
