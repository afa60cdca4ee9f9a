"""Images themselves as a prior: every answer is a sum over a few of them."""

import pyarrow.parquet
import pytest
import torch
from safetensors.torch import save_file

from rps.measurement import degrade
from rps.operators import Denoise, Inpaint, SuperResolution
from rps.priors import EmpiricalPrior
from rps.priors.analytic.images import PARQUET
from rps.randomness import Streams
from rps.samplers import ExactPosterior
from tests.rps.gaussian import draws
from tests.rps.solvers import chain

SHAPE, K = (1, 4, 4), 6


def bank() -> torch.Tensor:
    return 0.3 * torch.randn(K, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_denoiser_is_the_softmax_average():
    """Written out image by image, at the first, a middle and the last timestep."""
    prior, images, t = EmpiricalPrior(bank()), bank(), torch.tensor([0, 400, 999])
    x = prior.schedule.add_noise(images[:3], torch.ones(3, *SHAPE).double() * 0.7, t)
    for row in range(3):
        alpha, sigma = prior.schedule.alpha(int(t[row])), prior.schedule.sigma(int(t[row]))
        exponent = torch.stack([-((x[row] - alpha * one) ** 2).sum() / (2 * sigma**2) for one in images])
        expected = sum(w * one for w, one in zip(exponent.softmax(0), images, strict=True))
        torch.testing.assert_close(prior.denoise(x, t).x0[row], expected)
    torch.testing.assert_close(prior.denoise(x[:1], t[:1]).x0[0], images[0])


@pytest.mark.parametrize("operator", [Denoise(), SuperResolution(2), Inpaint(0.5)])
def test_posterior_is_the_softmax(operator):
    """Weights, mean, covariance, trace and probabilities."""
    prior, images = EmpiricalPrior(bank()), bank()
    measurement = degrade(images[:4], operator, 0.3)
    posterior = prior.posterior(measurement)
    for row in range(4):
        own = measurement.rows(torch.full((K,), row))
        weights = torch.softmax(-0.5 * (own.residual_norm(images) / 0.3) ** 2, 0)
        flat = images.flatten(1)
        mean = weights @ flat
        covariance = torch.einsum("k,kd,ke->de", weights, flat, flat) - mean.outer(mean)
        torch.testing.assert_close(posterior.weights[row], weights)
        torch.testing.assert_close(posterior.mean()[row], mean)
        torch.testing.assert_close(posterior.covariance()[row], covariance)
        torch.testing.assert_close(posterior.trace()[row], covariance.trace())
        several = torch.stack([flat[2], flat[2] + 0.1]).expand(4, 2, 16)
        assert posterior.log_density(several)[row, 0].exp() == pytest.approx(float(weights[2]))
        assert posterior.log_density(several)[row, 1] == -torch.inf


def test_the_exact_sampler_finds_each_image_as_often_as_it_should():
    """ExactPosterior over 5 steps ends at images of the bank; their frequencies within 4 standard errors."""
    prior, n = EmpiricalPrior(bank()), 2000
    measurement = degrade(bank()[:1], SuperResolution(2), 0.3).rows(torch.zeros(n, dtype=torch.int64))
    measurement.streams = Streams(0, [str(k) for k in range(n)])
    x = chain(ExactPosterior(), measurement, prior, prior.schedule.grid(1000, 5))
    distance = torch.cdist(x.flatten(1), bank().flatten(1))
    assert distance.amin(1).max() < 1e-6
    weights = prior.posterior(measurement.rows(slice(0, 1))).weights[0]
    frequency = torch.bincount(distance.argmin(1), minlength=K) / n
    assert weights.max() < 0.9
    assert ((frequency - weights).abs() <= 4 * (weights * (1 - weights) / n).sqrt()).all()


def test_draws_have_the_weights():
    posterior = EmpiricalPrior(bank()).posterior(degrade(bank()[:2], SuperResolution(2), 0.3))
    for row in range(2):
        x = draws(posterior.rows(slice(row, row + 1)), 4000)
        frequency = torch.bincount(torch.cdist(x, bank().flatten(1)).argmin(1), minlength=K) / 4000
        weights = posterior.weights[row]
        assert ((frequency - weights).abs() <= 4 * (weights * (1 - weights) / 4000).sqrt()).all()


def test_without_noise_only_images_that_fit_remain():
    """Two images with the same measurement share the weight; the others have none."""
    images = bank()
    images[1] = images[0] + torch.tensor([[0.5, -0.5], [-0.5, 0.5]]).repeat(2, 2)
    posterior = EmpiricalPrior(images).posterior(degrade(images[:1], SuperResolution(2), 0.0))
    torch.testing.assert_close(posterior.weights[0], torch.tensor([0.5, 0.5, 0, 0, 0, 0]).double())


def test_stored_images(tmp_path):
    """The embedded ones, by another decoder of PNG; those of a file."""
    from torchvision.io import decode_png

    prior = EmpiricalPrior.of(skip=3, limit=5)
    rows = pyarrow.parquet.read_table(PARQUET).slice(3, 5).column("image").to_pylist()
    expected = torch.stack([decode_png(torch.frombuffer(bytearray(r["bytes"]), dtype=torch.uint8)) for r in rows])
    assert torch.equal(prior.images, expected / 127.5 - 1)
    save_file({"images": expected}, tmp_path / "five.safetensors")
    again = EmpiricalPrior.of(str(tmp_path / "five.safetensors"), skip=1, limit=None)
    assert torch.equal(again.images, prior.images[1:])
    save_file({"pixels": expected}, tmp_path / "other.safetensors")
    with pytest.raises(
        ValueError, match=r"must contain one tensor `images` \[n, C, H, W\], found pixels \(5, 1, 32, 32\)"
    ):
        EmpiricalPrior.of(str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match="skip=1000 and limit=300 leave no images of 'embedded'"):
        EmpiricalPrior.of(skip=1000)
    with pytest.raises(FileNotFoundError, match=r"an existing \.safetensors file, got 'photos'"):
        EmpiricalPrior.of("photos")
    with pytest.raises(ValueError, match=r"must be \[K, C, H, W\]"):
        EmpiricalPrior(torch.zeros(3, 4))
