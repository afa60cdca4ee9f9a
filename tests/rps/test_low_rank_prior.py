"""A mixture fitted to images: what the fit finds, files, configurations, and whole images."""

import itertools

import jsonargparse
import pytest
import torch

from rps.measurement import degrade
from rps.operators import Inpaint, SuperResolution
from rps.priors import EmpiricalPrior, LowRankMixturePrior, Prior, fit_mixture
from rps.priors.analytic.images import read_images
from tests.rps.gaussian import SHAPE, draws
from tests.rps.test_low_rank_mixture import low_rank


def test_the_fit_finds_the_mixture_that_images_were_drawn_from():
    """Three far clusters of rank 2: weights within 4 standard errors, means within 4, covariances to 10 %."""
    source = low_rank(rank=2, floor=0.01).mixture
    apart = source.means + 20 * torch.eye(16)[:3].double()
    source = type(source)(source.log_weights, apart, source.vectors, source.values, source.floor)
    n = 4000
    fitted = fit_mixture(draws(source, n, 0).view(n, *SHAPE), components=3, rank=2)
    order = torch.cdist(apart[0], fitted.means[0]).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2]
    weights = source.weights[0]
    assert ((fitted.weights[0, order] - weights).abs() < 4 * (weights * (1 - weights) / n).sqrt()).all()
    variances = source.covariances()[0].diagonal(dim1=1, dim2=2)
    error = (fitted.means[0, order] - apart[0]).abs() / (variances / (n * weights[:, None])).sqrt()
    assert error.max() < 4
    gap = (fitted.covariances()[0, order] - source.covariances()[0]).flatten(1).norm(dim=1)
    assert (gap < 0.1 * source.covariances()[0].flatten(1).norm(dim=1)).all()
    torch.testing.assert_close(fitted.floor[0, order], source.floor[0], rtol=0.1, atol=0)


def test_one_component_of_full_rank_has_the_mean_and_covariance_of_the_images():
    images = 0.3 * torch.randn(50, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centred = images.flatten(1) - images.flatten(1).mean(0)
    mixture = fit_mixture(images, 1, 16, min_std=1e-3)
    torch.testing.assert_close(mixture.mean()[0], images.flatten(1).mean(0))
    torch.testing.assert_close(mixture.covariance()[0], centred.mT @ centred / 50)


def test_the_floor_is_what_other_images_have_outside_the_components():
    """Mean squared residual per pixel of 200 images that were not fitted, within 4 standard errors, which are those of
    the 200 and of the 60 that were fitted."""
    others = read_images("embedded", limit=200).flatten(1).double()
    mixture = LowRankMixturePrior.fitted(components=1, rank=30, limit=60).mixture
    offset, u = others - mixture.means[0], mixture.vectors[0]
    residual = (offset - offset @ u @ u.mT).square().sum(1) / (1024 - 30)
    assert (residual.mean() - mixture.floor).abs() < 4 * residual.std() * (1 / 200 + 1 / 60) ** 0.5


def test_fewer_images_than_components_of_rank():
    """A cluster of one image is that image with min_std; as many clusters as images are all images."""
    images = read_images("embedded", limit=8)
    mixture = fit_mixture(images, components=8, rank=5, min_std=0.05)
    assert torch.cdist(mixture.means[0], images.flatten(1).double()).amin(1).max() < 1e-6
    assert not mixture.values.any()
    torch.testing.assert_close(mixture.floor, torch.full((1, 8), 0.05**2).double())
    twice = fit_mixture(images[:1].repeat(4, 1, 1, 1), components=3, rank=2)
    assert torch.isfinite(twice.log_weights).all()


def test_one_seed_gives_one_mixture():
    images = read_images("embedded", skip=700, limit=60)
    first, again, other = (fit_mixture(images, 4, 3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.means, again.means) and torch.equal(first.vectors, again.vectors)
    assert not torch.equal(first.means, other.means)


def test_more_components_and_rank_describe_other_images_better():
    """Mean log-density per pixel of images that were not fitted, in the order of the models, by 4 standard errors."""
    others = read_images("embedded", limit=100).flatten(1).double()
    densities = [
        LowRankMixturePrior.fitted(components=k, rank=r).mixture.log_density(others) / 1024
        for k, r in ((1, 0), (10, 0), (10, 20))
    ]
    for worse, better in itertools.pairwise(densities):
        gain = better - worse
        assert gain.mean() > 4 * gain.std() / 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"components": 9}, "between 1 and the number of images 8, got 9"),
        ({"rank": 17}, "between 0 and the number of pixels 16, got 17"),
        ({"min_std": 0.0}, "min_std must be > 0"),
    ],
)
def test_what_cannot_be_fitted_is_told(changes, message):
    with pytest.raises(ValueError, match=message):
        fit_mixture(torch.zeros(8, *SHAPE), **{"components": 2, "rank": 2, **changes})


def test_a_saved_prior_is_the_same_prior(tmp_path):
    prior = LowRankMixturePrior.fitted(components=3, rank=4, limit=60)
    prior.save(str(tmp_path / "mixture.safetensors"))
    again = LowRankMixturePrior.from_file(str(tmp_path / "mixture.safetensors"))
    x, t = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 600])
    assert torch.equal(again.denoise(x, t).x0, prior.denoise(x, t).x0)
    assert len(again.schedule) == 1000 and again.sample_shape == (1, 32, 32)
    from safetensors.torch import save_file

    save_file({"means": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="is not a mixture: it lacks alpha, floor, log_weights"):
        LowRankMixturePrior.from_file(str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match="as many pixels, got"):
        LowRankMixturePrior(prior.mixture, (1, 16, 16))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"class_path": "rps.priors.LowRankMixturePrior.fitted", "init_args": {"components": 2, "limit": 20}}, None),
        ({"class_path": "rps.priors.LowRankMixturePrior.from_file", "init_args": {"path": "m.safetensors"}}, None),
        ({"class_path": "rps.priors.EmpiricalPrior.of", "init_args": {"limit": 20}}, EmpiricalPrior),
    ],
)
def test_a_config_can_name_it(config, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LowRankMixturePrior.fitted(components=1, rank=0, limit=2).save("m.safetensors")
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--prior", type=Prior)
    prior = parser.instantiate(parser.parse_object({"prior": config})).prior
    assert type(prior) is (kind or LowRankMixturePrior)
    assert prior.sample_shape == (1, 32, 32)


@pytest.mark.parametrize("operator", [SuperResolution(4), Inpaint(0.5)])
def test_whole_images_in_single_precision(operator):
    """32 x 32 pixels drawn from the prior: the error of the posterior mean is the trace, within 4 standard errors."""
    prior, n = LowRankMixturePrior.fitted(), 24
    images = draws(prior.mixture, n).view(n, 1, 32, 32).float()
    posterior = prior.posterior(degrade(images, operator, 0.1))
    error = (posterior.mean() - images.flatten(1)).square().sum(1)
    gap = error - posterior.trace()
    assert gap.mean().abs() < 4 * gap.std() / n**0.5
    assert error.mean() < 0.5 * (images.flatten(1) - prior.mixture.mean()).square().sum(1).mean()


def test_the_device_follows_the_module():
    prior = low_rank().to("meta")
    assert {v.device.type for v in (prior.means, prior.vectors, prior.mixture.floor)} == {"meta"}
