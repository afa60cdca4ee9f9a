"""The networks that ship for the tasks of configs/embedded: their size, and what they do to 16 images."""

import pytest
import torch
import yaml

from datamodules import Embedded
from rps import degrade, operators
from rps.cli.arguments import packaged_configs
from rps.priors import EmbeddedGenerator, EmbeddedPmrf
from rps.priors.loading import EMBEDDED
from rps.samplers import Ddim
from rps.traversals import SampleAverage, SettingSweep, StepNumber

pytestmark = pytest.mark.slow
MOST = 1.5e6
"""Bytes of the networks of a method for a task."""


@pytest.fixture(scope="module", params=["denoise", "inpaint", "sr4", "deblur_aniso"])
def task(request):
    """(name, images, their measurement as the config says)."""
    given = yaml.safe_load(packaged_configs()[f"embedded/{request.param}"].read_text())["model"]["init_args"]
    kind = getattr(operators, given["operator"]["class_path"].rpartition(".")[2])
    data = Embedded(limit=16, batch_size=16)
    data.setup("predict")
    batch = next(iter(data.predict_dataloader()))
    measurement = degrade(batch["image"], kind(**given["operator"].get("init_args", {})), given["noise"], batch["id"])
    return request.param, batch["image"], measurement


def gain(image, worse, reference):
    """Mean over images of the RMSE of `worse` minus that of `image`, in standard errors."""
    errors = [((x.clamp(-1, 1) - reference) / 2).square().flatten(1).mean(1).sqrt() for x in (image, worse)]
    difference = errors[1] - errors[0]
    return float(difference.mean() / (difference.std() / len(difference) ** 0.5))


def test_sizes(task):
    for method in ("generator", "pmrf"):
        files = list((EMBEDDED / method / task[0]).rglob("*.safetensors"))
        assert files and sum(file.stat().st_size for file in files) <= MOST


def test_means_of_samples_are_better_than_one_and_than_no_network(task):
    name, images, measurement = task
    run = SampleAverage([1, 8], Ddim(), steps=None).run(measurement, EmbeddedGenerator(name)).images
    assert gain(run[8], measurement.pseudo_inverse(), images) > 4
    assert gain(run[8], run[1], images) > 2


def test_sigma_z_changes_an_image_more_the_larger_it_is(task):
    name, _, measurement = task
    levels = [0.0, 0.5, 1.0]
    run = SettingSweep("sigma_z", levels, Ddim(), steps=None).run(measurement, EmbeddedGenerator(name)).images
    changes = [float((run[level] - run[0.0]).square().mean().sqrt()) for level in levels]
    assert 0 == changes[0] < changes[1] < changes[2]


def test_the_regression_is_better_than_the_end_of_the_flow_and_than_no_network(task):
    name, images, measurement = task
    run = StepNumber([1, 9], sampler=Ddim()).run(measurement, EmbeddedPmrf(name, flow_steps=8)).images
    assert gain(run[1], measurement.pseudo_inverse(), images) > 4
    assert gain(run[1], run[9], images) > 2
    assert torch.isfinite(run[9]).all()
