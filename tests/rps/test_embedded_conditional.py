"""The class-conditional prior that ships with the package."""

import pytest
import torch

from datamodules import Embedded
from modules import MapRps
from rps.estimators import ProximalMap
from rps.operators import BoxInpaint
from rps.priors import EmbeddedConditionalPrior, check_prior
from rps.priors.loading import EMBEDDED

FOLDER = EMBEDDED / "conditional_prior"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the weights are not there yet")


@pytest.fixture(scope="module")
def batch():
    return next(iter(Embedded(limit=64).predict_dataloader()))


def test_the_weights_are_small_and_the_prior_is_sound():
    assert (FOLDER / "unet/diffusion_pytorch_model.safetensors").stat().st_size < 5e6
    prior = EmbeddedConditionalPrior(class_label=3)
    assert prior.classes == 11 and prior.evaluations == 2 and prior.guidance_scale == 4
    assert check_prior(prior) == []


@torch.no_grad()
@pytest.mark.parametrize("t", [300, 500])
def test_the_right_class_denoises_better_than_none_and_none_better_than_a_wrong_one(t, batch):
    """Mean over 64 images of the paired difference of ||eps - eps_theta||^2, by more than 3 standard errors."""
    x0, labels = batch["image"], torch.tensor(batch["label"])
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    prior, time = EmbeddedConditionalPrior(10, guidance_scale=1), torch.full((len(x0),), t)
    x = prior.schedule.add_noise(x0, eps, time)
    wrong, none = (labels + 5) % 10, torch.full_like(labels, 10)  # trousers become a shirt, and a coat shoes
    error = {
        name: (prior.predict(x, time, label) - eps).square().flatten(1).mean(1)
        for name, label in (("right", labels), ("none", none), ("wrong", wrong))
    }
    for better, worse in (("right", "none"), ("none", "wrong")):
        difference = error[worse] - error[better]
        assert difference.mean() > 3 * difference.std() / len(x0) ** 0.5, (better, worse)


def test_a_run_conditions_on_the_labels_of_the_data(batch):
    batch = {name: batch[name][:4] for name in ("id", "image", "label")}
    module = MapRps(EmbeddedConditionalPrior(), BoxInpaint(), 0.1, t0=[0], estimator=ProximalMap(num_steps=3))
    found = module.predict_step(batch, 0)
    assert found.measurement.conditions == {"label": batch["label"]} and not found.failures
    assert found.restoration.cost[0].network_calls == 2 * 3
    other = module.predict_step({**batch, "label": [(label + 5) % 10 for label in batch["label"]]}, 0)
    change = (other.restoration.images[0] - found.restoration.images[0]).square().mean((1, 2, 3)).sqrt()
    assert (change > 1e-3).all()
