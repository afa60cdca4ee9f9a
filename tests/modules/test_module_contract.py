"""What every LightningModule of the package keeps to, built as a user's YAML builds it; a new one is tested by being
there."""

import inspect
import re

import pytest
import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser
from torch.utils.data import DataLoader

import modules
from modules import SolverModule
from rps import traversals
from rps.cost import RelativeCost
from rps.operators import SuperResolution
from rps.traversals.latent_map import LatentMap
from tests.rps.solvers import WORLDS, close, kinds, law
from tests.trainers import quiet

# Fewer steps than by default, and settings in every form that YAML has. Whoever is not named runs with its defaults.
MAP = {"class_path": "rps.estimators.MapEstimator", "init_args": {"num_steps": 3}}
SMALL = {
    "Ccdf": {"t0": [0, 50], "steps": 20},
    "Interpolation": {"levels": [0.0, 0.5], "steps": 3, "estimator": {"class_path": "rps.estimators.PseudoInverse"}},
    "LatentTransport": {"levels": [0.0, 0.5], "estimator": MAP},
    "LmapRps": {"t0": [0, 50], "steps": 20, "estimator": MAP},
    "MapRps": {"t0": [0, 50], "steps": 20, "samples": 2, "estimator": MAP},
    "PosteriorSampling": {"steps": 3},
    "SampleAverage": {
        "levels": [1, 2],
        "t0": 50,
        "steps": 20,
        "estimator": {"class_path": "rps.estimators.RedDiff", "init_args": {"num_steps": 2}},
    },
    "SettingSweep": {"levels": [0.5, 1.0], "steps": 3},
    "StepNumber": {"levels": [4, 2], "step_size": [1.0, 2.0]},
    "VarianceScaling": {"levels": [1.0, 0.0], "step_size": [1.0, 6.0], "blend": True, "steps": 3},
}
MAP_OF_LATENTS = LatentMap.between(law(0.2, 1.0), law(-0.1, 2.0))
MODULES = kinds(modules, SolverModule)
IDS = ["a", "b", "c"]


@pytest.fixture(params=MODULES)
def build(request, tmp_path):
    """Builds the module anew by jsonargparse, which can print it again: options -> module."""
    name = request.param
    world = "latent" if MODULES[name].__module__ in ("modules.latent_baselines", "modules.lmap_rps") else "pixel"
    MAP_OF_LATENTS.save(tmp_path / "map.safetensors")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=SolverModule)
    settings = {
        "prior": f"tests.rps.solvers.{WORLDS[world].prior.__name__}",
        "operator": {"class_path": "rps.operators.SuperResolution", "init_args": {"factor": 2}},
        "noise": 0.2,
        **SMALL.get(name, {}),
        **({"transport": str(tmp_path / "map.safetensors")} if name == "LatentTransport" else {}),
    }

    def made(**options) -> SolverModule:
        parsed = parser.parse_object({"model": {"class_path": f"modules.{name}", "init_args": {**settings, **options}}})
        assert yaml.safe_load(parser.dump(parsed))["model"]["class_path"] == f"modules.{name}"
        return parser.instantiate(parsed).model

    return made


def batch(rows=(0, 1, 2)) -> dict:
    """Some of three images, which both worlds have the shape of."""
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5
    return {"id": [IDS[i] for i in rows], "image": images[list(rows)], "failed": []}


def test_from_a_config_to_a_prediction(build):
    """In a Trainer: every level, finite, without gradients, at the cost that was announced."""
    module = build()
    (prediction,) = quiet().predict(module, DataLoader([batch()], batch_size=None))
    restoration = prediction.restoration
    assert list(restoration.images) == list(restoration.levels) == list(module.traversal.levels)
    assert all(torch.isfinite(x).all() and x.shape == (3, 1, 4, 4) for x in restoration.images.values())
    assert restoration.total_cost.network_calls == module.network_calls_per_image()
    with torch.enable_grad():
        again = module.predict_step(batch(), 0).restoration
    assert not any(images.requires_grad for images in again.images.values())
    weights = list(module.parameters())
    assert weights and not any(w.requires_grad or w.grad is not None for w in weights)
    assert not module.prior.training


def test_a_relative_cost_replaces_the_prior_s(build):
    assert build().relative_cost == build().prior.relative_cost == RelativeCost()
    assert build(relative_cost={"backward": 1.8}).relative_cost == RelativeCost(backward=1.8)
    with pytest.raises(ValueError, match=r"relative_cost\.decoder_call must be a finite number >= 0, got -1"):
        build(relative_cost={"decoder_call": -1})


def test_a_result_is_a_function_of_the_id_and_of_the_measurement(build):
    """In any batch and order, again, and without there being a clean image; with another seed it is another."""
    module = build()
    whole = module.predict_step(batch(), 0)
    assert whole.ids == IDS
    alone = build().predict_step({"id": IDS, "measurement": whole.measurement.y, "failed": []}, 0)
    assert alone.reference is None
    again, other = module.predict_step(batch(), 0), build(seed=1).predict_step(batch(), 0)
    for level, images in whole.restoration.images.items():
        assert torch.equal(again.restoration.images[level], images)
        assert not close(other.restoration.images[level], images, 1e-3)
        assert close(alone.restoration.images[level], images, 1e-6)
    for rows in ([1], [2, 0]):
        part = build().predict_step(batch(rows), 0)
        assert torch.equal(part.measurement.y, whole.measurement.y[rows])
        for level, images in part.restoration.images.items():
            assert close(images, whole.restoration.images[level][rows], 1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_defaults_build_and_every_argument_is_documented(build_parser, name, capsys):
    """In `--model.help`: those that all modules have, and those of the traversal of this name."""
    needed = {"transport": MAP_OF_LATENTS} if name == "LatentTransport" else {}
    MODULES[name](WORLDS["pixel"].prior(), SuperResolution(2), 0.1, **needed)
    with pytest.raises(SystemExit):
        build_parser.parse_args([f"--model.help=modules.{name}"])
    shown = capsys.readouterr().out
    own = {*inspect.signature(MODULES[name]).parameters, *inspect.signature(getattr(traversals, name)).parameters}
    for argument in own - {"kwargs"}:
        found = re.search(rf"^  --model\.{argument} [^\n]*?(?:\n +|  +)(\S.*)", shown, re.MULTILINE)
        assert found and not found[1].startswith("(type:"), argument


@pytest.mark.parametrize("name", MODULES)
def test_an_argument_that_the_traversal_lacks_is_refused(build_parser, name):
    with pytest.raises(ArgumentError, match="'stepz' is not accepted"):
        build_parser.parse_args([f"--model=modules.{name}", "--model.stepz=3"])


@pytest.fixture
def build_parser():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=SolverModule)
    return parser
