"""Class-conditional priors conditioned on each sample's own class."""

from dataclasses import replace

import pytest
import torch

from modules import MapRps as MapRpsModule
from rps.estimators import MapEstimator
from rps.measurement import Measurement, degrade
from rps.operators import SuperResolution
from rps.priors import DiffusersPrior, GuidedDiffusionPrior, LatentPrior, StableDiffusionPrior
from rps.samplers import Dps, LatentDps
from rps.traversals import MapRps, SampleAverage
from tests.rps.guided_unet import TINY, network
from tests.rps.latent_models import save_stable_diffusion, scheduler, unet, vae
from tests.rps.solvers import close

LABELS = [2, 0, 3]


def images(size: int) -> torch.Tensor:
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def measured(size: int, labels=LABELS) -> Measurement:
    return replace(degrade(images(size), SuperResolution(2), 0.1), conditions={"label": labels})


def pixel(label=None, *path) -> DiffusersPrior:
    return DiffusersPrior(unet(3, num_class_embeds=5), scheduler(), label)


def guided(label=None, *path) -> DiffusersPrior:
    return DiffusersPrior(unet(3, num_class_embeds=5), scheduler(), label, guidance_scale=4.0)


def latent(label=None, *path) -> LatentPrior:
    return LatentPrior(unet(num_class_embeds=5), vae(), scheduler(), label, guidance_scale=4.0, posterior="sample")


def file(label, path) -> GuidedDiffusionPrior:
    torch.save(network(TINY | {"classes": 5}).state_dict(), path / "net.pt")
    return GuidedDiffusionPrior(str(path / "net.pt"), label, 32, image_size=8)


PRIORS = [pixel, guided, latent, file]


@pytest.mark.parametrize("make", PRIORS)
def test_each_row_is_denoised_as_its_own_class(make, tmp_path):
    """As by priors of one class each; classes differ; rows that are taken again keep theirs."""
    prior = make(None, tmp_path)
    measurement = measured(prior.image_shape[1])
    x = torch.randn(3, *prior.sample_shape, generator=torch.Generator().manual_seed(1))
    index = torch.tensor([1, 2, 0, 1])
    t = torch.tensor([900, 10, 500, 100])
    found = prior.given(measurement.rows(index)).denoise(x[index], t).eps
    for k, row in enumerate(index.tolist()):
        alone = make(LABELS[row], tmp_path).denoise(x[row : row + 1], t[k : k + 1]).eps
        assert close(found[k : k + 1], alone, 1e-5)
    other = prior.given(replace(measurement, conditions={"label": [4, 4, 4]}).rows(index)).denoise(x[index], t).eps
    assert not close(other, found, 1e-3)


@pytest.mark.parametrize(("make", "kind"), [(pixel, SampleAverage), (latent, MapRps)])
def test_a_batch_of_mixed_classes_is_as_its_samples_alone(make, kind):
    """Through both stages, chains that repeat the rows and join later, and network calls of two rows."""
    prior = make()
    sampler = LatentDps(0.01) if prior.latent else Dps(0.5)
    if kind is MapRps:
        traversal = MapRps([0, 100, 600], MapEstimator(num_steps=2, t1=50), sampler, steps=5, micro_batch=2)
    else:
        traversal = SampleAverage([1, 3], sampler, steps=3, micro_batch=2)
    measurement = measured(prior.image_shape[1])
    whole = traversal.run(measurement, prior)
    other = traversal.run(replace(measurement, conditions={"label": [2, 4, 3]}), prior)
    for row, label in enumerate(LABELS):
        one = measurement.rows(slice(row, row + 1))
        alone, of_class = traversal.run(one, prior), traversal.run(replace(one, conditions={}), make(label))
        for level, found in whole.images.items():
            assert close(alone.images[level], found[row : row + 1], 1e-5)
            assert close(of_class.images[level], found[row : row + 1], 1e-5)
            assert close(other.images[level][row], found[row], 1e-5) == (row != 1)


@pytest.mark.parametrize("label", [5, -1, None, 2.5, "2"])
def test_what_is_no_class_is_that_samples_failure(label):
    module = MapRpsModule(pixel(), SuperResolution(2), 0.1, t0=[0, 100], steps=3, estimator=MapEstimator(num_steps=2))
    batch = {"id": ["a", "b", "c"], "image": images(8), "label": LABELS}
    whole = module.predict_step(batch, 0)
    found = module.predict_step({**batch, "label": [2, label, 3]}, 0)
    assert found.failures == {"b": f"this network has 5 classes; label must be 0 .. 4, got {label!r}"}
    assert found.ids == ["a", "c"] and found.measurement.conditions == {"label": [2, 3]}
    assert close(found.restoration.images[100], whole.restoration.images[100][[0, 2]], 1e-5)


@pytest.mark.parametrize("ids", [["a"], ["a", "b"]])
def test_data_without_labels_are_told_by_the_first_batch(ids):
    """Also of one sample, which would pass for a failure of its own."""
    module, of_class = (MapRpsModule(pixel(label), SuperResolution(2), 0.1, t0=[0]) for label in (None, 1))
    batch = {"id": ids, "image": images(8)[: len(ids)]}
    with pytest.raises(ValueError, match=r"have no labels; .*--data\.label_column, .*class_label"):
        module.predict_step(batch, 0)
    nothing = module.predict_step({"id": [], "image": torch.zeros(0, 1, 1, 1), "failed": [("a", "gone")]}, 0)
    assert nothing.failures == {"a": "gone"} and of_class.predict_step(batch, 0).ids == ids


def test_rows_without_their_classes_are_refused(tmp_path):
    prior, x, t = pixel(), torch.zeros(3, 3, 8, 8), torch.tensor([1, 2, 3])
    message = r"is conditioned on the label of each sample .* or give a class_label for all"
    with pytest.raises(ValueError, match=message):
        prior.denoise(x, t)
    for labels in ({}, {"label": [1, 2]}):
        with pytest.raises(ValueError, match=message):
            prior.given(replace(measured(8), conditions=labels))
    with pytest.raises(ValueError, match="x has 3 rows, but the prior is bound to 1"):
        prior.given(measured(8).rows(slice(0, 1))).denoise(x, t)
    sd = StableDiffusionPrior.from_pretrained(save_stable_diffusion(tmp_path))
    with pytest.raises(ValueError, match="conditioned on 5 classes, but this prior gives it texts; use LatentPrior"):
        StableDiffusionPrior(unet(num_class_embeds=5), vae(), scheduler(), sd.text)
