"""Reprs show settings and no tensors; results and measurements are summaries."""

import numpy
import pytest
import torch

import rps
from rps.estimators import MapEstimator
from rps.noise import Gaussian, Poisson
from rps.operators import Compose, Denoise, Mask, SeparableBlur, Shared, SuperResolution
from rps.samplers import Daps, Dps
from rps.shown import shown
from rps.traversals import MapRps, PosteriorSampling, SampleAverage, SettingSweep
from tests.rps.operator_cases import OPERATORS
from tests.rps.solvers import ESTIMATORS, PIXEL, SAMPLERS, TRAVERSALS

NAMES = {name: getattr(rps, name) for name in rps.__all__}
THINGS = {**OPERATORS, **SAMPLERS, **ESTIMATORS, **TRAVERSALS}


@pytest.mark.parametrize("name", THINGS)
def test_a_repr_makes_the_same_thing_again(name):
    """All its settings are in it, in one line, if they are numbers, texts and classes of ours."""
    text = repr(THINGS[name])
    assert len(text) < 300 and "\n" not in text
    if "<" not in text:
        assert repr(eval(text, dict(NAMES))) == text


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (Dps(step_size=0.15, per_timestep=True), "Dps(step_size=0.15, per_timestep=True)"),
        (SuperResolution(), "SuperResolution(factor=4)"),
        (MapRps(300, sampler=Daps(tau=0.1)), "MapRps(t0=[300], sampler=Daps(ode_steps=5, tau=0.1))"),
        (MapEstimator(data_term="stable"), "MapEstimator(num_steps=100, data_term='stable')"),
        (SampleAverage(range(1, 40)), "SampleAverage(levels=[1, 2, 3, 4, 5, ..., 35, 36, 37, 38, 39])"),
        (PosteriorSampling(Dps(), 7), "PosteriorSampling(sampler=Dps(step_size=None), steps=7)"),
        (SettingSweep(levels=[1, 2]), "SettingSweep(setting='step_factor', levels=[1, 2])"),
        (Shared(Compose([Denoise()]), 3), "Shared(operator=Compose(operators=[Denoise()]), seed=3)"),
        (SeparableBlur([1.0], [0.5]), "SeparableBlur(vertical=[1.0], horizontal=[0.5])"),
        (Gaussian(0.1), "Gaussian(std=0.1)"),
        (Poisson(255), "Poisson(peak=255)"),
    ],
)
def test_settings_are_shown(thing, text):
    assert repr(thing) == text


def test_tensors_and_networks_are_shown_by_their_shape_or_class():
    class Own(Mask):
        def __init__(self, where, network, name="a", scale=float("inf")):
            super().__init__()
            self.where, self.network, self.name, self.scale = where, network, name, scale

    made = Own(torch.zeros(3, 4), torch.nn.Linear(5, 5), scale=float("-inf"))
    assert repr(made) == "Own(where=<Tensor of 3 x 4>, network=<Linear>, scale=float('-inf'))"
    assert (
        shown(numpy.zeros(2)) == "<ndarray of 2>" and shown({"a": (1, 2)}) == "{'a': [1, 2]}" and shown(len) == "<len>"
    )


def test_results_are_summaries():
    images, prior = PIXEL.images(3), PIXEL.prior()
    y = rps.degrade(images, SuperResolution(2), 0.2, ["a", "b", "c"])
    assert (
        repr(y) == "Measurement of 3 images of 1 x 4 x 4: y of 1 x 2 x 2, SuperResolution(factor=2), Gaussian(std=0.2)"
    )
    assert "given a caption each" in repr(
        rps.Measurement(y.y, y.operator, 0.2, (1, 4, 4), y.streams, None, {"caption": "xyz"})
    )
    result = MapRps([0, 100], MapEstimator(2), steps=20).run(y, prior)
    lines = repr(result).splitlines()
    assert lines[0] == "Restoration of 3 images of 1 x 4 x 4 at 2 levels of t0; costs per image:"
    assert lines[1].startswith("  t0 = 0: 2 network calls, ") and lines[2].startswith(
        "  t0 = 100: 4 network calls, 2 backwards, "
    )
    assert lines[3] == "  all levels in one pass: 4 network calls, 2 backwards" and len(lines) == 4
    result.images[100][1] = float("nan")
    assert repr(result).splitlines()[2].endswith("1 of 3 not finite")
    found = repr(rps.Prediction(["a", "b", "c", "d"], None, y, result, {"e": "bad\x1b"}))
    assert found.startswith(
        "Prediction of 4 samples (a, b, c, ...), without clean images\n  failed: e: bad\\x1b\nMeasur"
    )
    assert found.endswith(repr(result))
    assert "images of 1 x 4 x 4, 1000 timesteps" in repr(prior) and "\n" not in repr(prior)


def test_a_result_without_images_is_shown():
    empty = rps.Restoration("t0", [], {}, {}, rps.restoration.Cost(), {})
    assert "0 images at 0 levels of t0" in repr(empty) and "no network calls" in repr(empty)
