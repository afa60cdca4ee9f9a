"""What every LightningModule of the package keeps to, for pixel and for latent models; a new one is tested by being
there."""

import itertools

import pytest
import torch

import modules
from modules import SolverModule
from rps.estimators import MapEstimator, PseudoInverse, RedDiff
from rps.operators import SuperResolution
from rps.samplers import Dcdp, LatentDaps, ReSample, Sitcom
from tests.rps.solvers import WORLDS, close, kinds

# Fewer steps than by default. Whoever is not named runs with its defaults.
SMALL = {
    "Ccdf": {"t0": [0, 50], "steps": 20},
    "Interpolation": {"levels": [0.0, 0.5], "steps": 3, "estimator": PseudoInverse()},
    **{name: {"steps": 3} for name in ("LatentDps", "Psld", "Ldir", "Stsl", "LatentDmap")},
    "Dcdp": {"sampler": Dcdp(inner_steps=2), "steps": 3},
    "LatentDaps": {"sampler": LatentDaps(langevin_steps=2), "steps": 3},
    "ReSample": {"sampler": ReSample(pixel_steps=2, latent_steps=2), "steps": 3},
    "Sitcom": {"sampler": Sitcom(inner_steps=2), "steps": 3},
    "LmapRps": {"t0": [0, 50], "steps": 20, "estimator": MapEstimator(3)},
    "MapRps": {"t0": [0, 50], "steps": 20, "samples": 2, "estimator": MapEstimator(3)},
    "PosteriorSampling": {"steps": 3},
    "SampleAverage": {"levels": [1, 2], "t0": 50, "steps": 20, "estimator": RedDiff(2)},
    "StepNumber": {"levels": [4, 2]},
    "VarianceScaling": {"levels": [1.0, 0.0], "step_size": [1.0, 6.0], "steps": 3},
}
MODULES = kinds(modules, SolverModule)
IDS = ["a", "b", "c"]


@pytest.fixture(params=itertools.product(MODULES, WORLDS), ids="-".join)
def build(request):
    """Builds the module anew: options -> module."""
    name, world = request.param
    small = SMALL.get(name, {})
    return lambda **options: MODULES[name](WORLDS[world].prior(), SuperResolution(2), 0.2, **{**small, **options})


def batch(rows=(0, 1, 2), **replaced) -> dict:
    """Some of three images, which both worlds have the shape of; replaced: id -> the value of all its pixels."""
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5
    for id_, value in replaced.items():
        images[IDS.index(id_)] = value
    return {"id": [IDS[i] for i in rows], "image": images[list(rows)], "failed": []}


def test_a_result_is_a_function_of_the_id_and_of_the_image(build):
    """In any batch and order, and again; with another seed it is another."""
    module = build()
    whole = module.predict_step(batch(), 0)
    assert whole.ids == IDS and list(whole.restoration.images) == list(module.traversal.levels)
    for rows in ([1], [2, 0]):
        part = build().predict_step(batch(rows), 0)
        assert torch.equal(part.measurement.y, whole.measurement.y[rows])
        for level, images in part.restoration.images.items():
            assert close(images, whole.restoration.images[level][rows], 1e-5)
    again, other = module.predict_step(batch(), 0), build(seed=1).predict_step(batch(), 0)
    for level, images in whole.restoration.images.items():
        assert torch.equal(again.restoration.images[level], images)
        assert not close(other.restoration.images[level], images, 1e-3)


def test_one_that_diverges_leaves_the_others_untouched(build):
    whole = build().predict_step(batch(), 0)
    broken = build().predict_step(batch(b=float("nan")), 0)
    for level, images in broken.restoration.images.items():
        rows = [broken.ids.index("a"), broken.ids.index("c")]
        assert close(images[rows], whole.restoration.images[level][[0, 2]], 1e-5)
    assert "b" in broken.failures or not all(
        torch.isfinite(images[broken.ids.index("b")]).all() for images in broken.restoration.images.values()
    )


def test_network_calls_are_as_announced(build):
    module = build()
    result = module.predict_step(batch(), 0).restoration
    assert result.total_network_calls.tolist() == [module.network_calls_per_image()] * 3


def test_weights_take_no_gradient_and_results_carry_none(build):
    module = build()
    with torch.enable_grad():
        result = module.predict_step(batch(), 0).restoration
    weights = list(module.parameters())
    assert weights and not any(w.requires_grad or w.grad is not None for w in weights)
    assert not any(images.requires_grad for images in result.images.values())
    assert not module.prior.training


def test_the_clean_image_does_not_reach_the_solver(build):
    """What is given as a measurement restores to the same images, without there being a clean one."""
    module = build()
    whole = module.predict_step(batch(), 0)
    alone = build().predict_step({"id": IDS, "measurement": whole.measurement.y, "failed": []}, 0)
    assert alone.reference is None
    for level, images in alone.restoration.images.items():
        assert close(images, whole.restoration.images[level], 1e-6)
