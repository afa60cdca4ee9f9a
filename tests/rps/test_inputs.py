"""The library itself refuses what it cannot use, in one sentence that names what was given and what to do."""

import warnings

import numpy
import pytest
import torch

import rps
from rps.operators import Denoise, SuperResolution
from rps.traversals import (
    Interpolation,
    MapRps,
    PosteriorSampling,
    SampleAverage,
    SettingSweep,
    StepNumber,
    VarianceScaling,
)
from tests.rps.gaussian import SHAPE, correlated_prior
from tests.rps.solvers import measure

IMAGES = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("given", [300, [300], (300,), torch.tensor([300]), numpy.int64(300), [300.0], range(300, 301)])
def test_one_level_may_be_a_bare_number(given):
    assert MapRps(t0=given).levels == [300] and isinstance(MapRps(t0=given).levels[0], int)


def test_levels_of_every_traversal():
    assert rps.Ccdf(100).levels == [100] and rps.LmapRps(100).levels == [100]
    assert SampleAverage(3).levels == [3] and StepNumber(12).levels == [12] and StepNumber(12, [2.0]).levels == [12]
    assert Interpolation(0.5).levels == [0.5] and VarianceScaling(1).levels == [1.0]
    assert SettingSweep("step_factor", 2.0).levels == [2.0]


@pytest.mark.parametrize("given", ["300", None, True, [0, "a"], [None], float("nan"), [[0]], object()])
@pytest.mark.parametrize("make", [MapRps, SampleAverage, StepNumber, Interpolation, VarianceScaling])
def test_other_levels_are_refused(make, given):
    with pytest.raises(ValueError, match=r"^(t0|levels) must be a finite number or a list of them, got "):
        make(given)


@pytest.mark.parametrize("make", [MapRps, SampleAverage, StepNumber])
def test_timesteps_and_numbers_are_whole(make):
    with pytest.raises(ValueError, match=r"must be a whole number or a list of them, such as \[0, 100, 300\], got 0.5"):
        make(0.5)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (
            255 * (IMAGES + 1) / 2,
            r"must be in \[-1, 1\], got values from .* to 242.9; scale them \(8-bit values v to",
        ),
        ((127 * (IMAGES + 1)).byte(), r"must be floating point in \[-1, 1\], got torch.uint8; scale them"),
        (IMAGES.numpy(), r"must be a tensor \[N, C, H, W\], got ndarray; use torch.as_tensor"),
        (IMAGES[0], r"must be \[N, C, H, W\], got shape \(1, 4, 4\); give images\[None\] for one image"),
        (IMAGES[0, 0], r"must be \[N, C, H, W\], got shape \(4, 4\)$"),
        (
            IMAGES.masked_fill(torch.arange(2).view(2, 1, 1, 1) == 1, torch.nan),
            r"NaN or infinity in 1 of 2, .* index 1;",
        ),
        (IMAGES / 0, "must be finite, got NaN or infinity in 2 of 2"),
    ],
)
def test_images_of_another_form_are_refused(images, sentence):
    with pytest.raises(ValueError, match=sentence):
        rps.degrade(images, Denoise(), 0.1)


def test_images_in_0_to_1_are_a_warning_and_others_are_not():
    for given in ((IMAGES + 1) / 2, IMAGES.abs() / 5 + 0.3, IMAGES.abs() * 0.4):
        with pytest.warns(
            UserWarning, match=r"no value below 0; if they are in \[0, 1\], give 2 \* images - 1"
        ) as found:
            rps.degrade(given, Denoise(), 0.1)
        assert found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fine in (IMAGES, 0 * IMAGES, 0 * IMAGES + 0.5, 3 * IMAGES, 1.2 * IMAGES.abs(), IMAGES[:0]):
            rps.degrade(fine, Denoise(), 0.1)


def test_values_outside_the_range_are_for_analytic_priors_alone():
    y = rps.degrade(2.6 * IMAGES, Denoise(), 0.1)
    prior = correlated_prior()
    assert MapRps(0).run(y, prior).levels == [0]
    prior.largest_value = rps.priors.Prior.largest_value
    with pytest.raises(ValueError, match=r"must be in \[-1, 1\], got values from -2.* to 2.*; scale them"):
        MapRps(0).run(y, prior)
    assert MapRps(0).run(rps.degrade(1.2 * IMAGES, Denoise(), 0.1), prior).levels == [0]


def test_the_class_of_an_operator_is_not_an_operator():
    with pytest.raises(
        ValueError, match=r"operator must be an rps.operators.Operator such as SuperResolution\(4\), got"
    ):
        rps.degrade(IMAGES, Denoise, 0.1)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"ids": ["a", "a"]}, "two images have the id 'a' and would have the same noise; give different ids"),
        ({"ids": "ab"}, r"ids must be a list of names, got the text 'ab'; give \['ab'\] for one image"),
        ({"seed": "a"}, "seed must be a whole number, got 'a'"),
        *(({"noise": noise}, "noise must have a std >= 0") for noise in ("0.1", True, float("inf"), None)),
    ],
)
def test_other_ids_seeds_and_noises_are_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        rps.degrade(IMAGES, **{"operator": Denoise(), "noise": 0.1, **given})


def test_parts_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"sampler must be an rps.samplers.Sampler such as Dps\(\), got the class Dps"):
        MapRps(sampler=rps.Dps)
    with pytest.raises(ValueError, match=r"estimator must be an rps.estimators.Estimator such as .*, got Dps$"):
        MapRps(estimator=rps.Dps())
    with pytest.raises(ValueError, match=r"samples must be a whole number, got 1\.5"):
        MapRps(samples=1.5)
    with pytest.raises(ValueError, match=r"steps must be a whole number, got 1\.5"):
        MapRps(100, steps=1.5).run(measure(2), correlated_prior())


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((3, 4, 4), r"images of 3 x 4 x 4 but the prior's images are 1 x 4 x 4 .* the channels of the prior"),
        ((1, 8, 8), r"images of 1 x 8 x 8 but the prior's images are 1 x 4 x 4 .* the size of the prior"),
    ],
)
def test_a_measurement_that_does_not_fit_the_prior_is_refused(shape, sentence):
    y = rps.degrade(torch.randn(2, *shape), SuperResolution(2), 0.1)
    for traversal in (MapRps([0]), PosteriorSampling(steps=2)):
        with pytest.raises(ValueError, match=sentence):
            traversal.run(y, correlated_prior())


def test_run_needs_a_measurement_and_a_prior():
    with pytest.raises(ValueError, match=r"run needs a Measurement, got Tensor; rps.degrade makes one"):
        MapRps(0).run(IMAGES, correlated_prior())
    with pytest.raises(ValueError, match=r"run needs an rps.priors.Prior, got Linear; wrap a network of diffusers"):
        MapRps(0).run(measure(2), torch.nn.Linear(2, 2))
