"""Every LightningModule of the package: built as a user's YAML builds it, and run by a Trainer."""

import inspect

import lightning as L
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader

import modules
from modules import SolverModule
from rps.operators import SuperResolution
from rps.priors import GaussianMixturePrior
from tests.rps.gaussian import SHAPE

SMALL = {
    "Ccdf": {"t0": [0, 50], "steps": 20},
    "Interpolation": {"levels": [0.0, 0.5], "steps": 3, "estimator": {"class_path": "rps.estimators.PseudoInverse"}},
    **{name: {"steps": 3} for name in ("LatentDps", "Psld", "Ldir", "Stsl", "LatentDmap")},
    "Dcdp": {"sampler": {"init_args": {"inner_steps": 2}}, "steps": 3},
    "LatentDaps": {"sampler": {"init_args": {"langevin_steps": 2}}, "steps": 3},
    "ReSample": {"sampler": {"init_args": {"pixel_steps": 2, "latent_steps": 2}}, "steps": 3},
    "Sitcom": {"sampler": {"init_args": {"inner_steps": 2}}, "steps": 3},
    "LmapRps": {"t0": [0, 50], "steps": 20},
    "MapRps": {"t0": [0, 50], "steps": 20, "samples": 2},
    "PosteriorSampling": {"sampler": {"class_path": "rps.samplers.Ddrm", "init_args": {"eta": 0.5}}, "steps": 3},
    "SampleAverage": {
        "levels": [1, 2],
        "t0": 50,
        "steps": 20,
        "estimator": {"class_path": "rps.estimators.RedDiff", "init_args": {"num_steps": 2}},
    },
    "StepNumber": {"levels": [4, 2], "step_size": [1.0, 2.0]},
    "VarianceScaling": {"levels": [1.0, 0.0], "step_size": [1.0, 6.0], "blend": True, "steps": 3},
}
MODULES = [name for name in modules.__all__ if name != "SolverModule"]


class Prior(GaussianMixturePrior):
    def __init__(self) -> None:
        super().__init__(torch.zeros(1, *SHAPE), 0.25)


@pytest.mark.parametrize("name", MODULES)
def test_from_a_config_to_a_prediction(name):
    """jsonargparse builds it from plain YAML, prints it again, and predict_step restores every level."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=SolverModule)
    config = {
        "class_path": f"modules.{name}",
        "init_args": {
            "prior": f"{__name__}.Prior",
            "operator": {"class_path": "rps.operators.SuperResolution", "init_args": {"factor": 2}},
            "noise": 0.2,
            **SMALL.get(name, {}),
        },
    }
    parsed = parser.parse_object({"model": config})
    assert yaml.safe_load(parser.dump(parsed))["model"]["class_path"] == f"modules.{name}"
    module = parser.instantiate(parsed).model
    trainer = L.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", inference_mode=False,
    )  # fmt: skip
    batch = {"id": ["a", "b"], "image": torch.zeros(2, *SHAPE)}
    (prediction,) = trainer.predict(module, DataLoader([batch], batch_size=None))
    restoration = prediction.restoration
    assert list(restoration.images) == list(restoration.levels) == list(module.traversal.levels)
    assert all(torch.isfinite(x).all() and x.shape == (2, *SHAPE) for x in restoration.images.values())
    assert restoration.total_network_calls.tolist() == [module.network_calls_per_image()] * 2


@pytest.mark.parametrize("name", MODULES)
def test_defaults_build_and_every_argument_is_documented(name):
    kind = getattr(modules, name)
    kind(Prior(), SuperResolution(2), 0.1)
    arguments = set(inspect.signature(kind).parameters)
    if "kwargs" in arguments:  # what the base class takes is documented there
        arguments = {"sampler"}
        assert f"see {kind.__base__.__name__}." in inspect.getdoc(kind)
    for argument in arguments:
        assert f"{argument}:" in inspect.getdoc(kind), argument
