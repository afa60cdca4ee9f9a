"""Calibration of samples: exact ones are calibrated, over-confident ones are called so."""

import json
import math

import pytest
import torch

from modules import SolverModule
from rps.measurement import degrade
from rps.metrics import Coverage, RankSpread, SampleError, variance_ratio
from rps.metrics.base import Candidate
from rps.metrics.calibration import places
from rps.metrics.images import as_saved
from rps.operators import SuperResolution
from rps.oracle.worlds import draw, smooth_prior
from rps.records.calibration import spread_scales
from rps.records.evaluate import evaluate
from rps.records.rows import RecordWriter
from rps.report.finish import finish
from rps.restoration import Prediction, Restoration
from rps.samplers import ExactPosterior
from rps.traversals import SampleAverage

N, IDS = 160, [str(i) for i in range(160)]


class Confident(ExactPosterior):
    """Exact samples drawn together: their distance from the posterior mean is multiplied by `scale`."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def step(self, x, t, t_next, measurement, prior, noise):
        mean = prior.posterior(measurement).mean().view_as(x)
        return mean + self.scale * (super().step(x, t, t_next, measurement, prior, noise) - mean)


@pytest.fixture(scope="module")
def world():
    prior = smooth_prior(std=0.2)
    images = draw(prior, IDS)
    return prior, images, degrade(images, SuperResolution(2), 0.1, IDS)


def prediction(world, scale, m=19):
    prior, images, y = world
    return Prediction(IDS, images, y, SampleAverage([m], Confident(scale), steps=1).run(y, prior))


def columns(found):
    rows = [row for row in evaluate(found).rows if row.kind == "restored"]
    return {name: torch.tensor([row.metrics[name] for row in rows], dtype=torch.float64) for name in rows[0].metrics}


def ratio_of(found):
    values = columns(found)
    return variance_ratio(values["sample_error"], values["spread"])


def off(values, expected):
    """(mean - expected) in standard errors."""
    return float((values.mean() - expected) / values.std() * math.sqrt(len(values)))


@pytest.mark.parametrize("m", [2, 19])
def test_exact_samples_are_calibrated(world, m):
    found = prediction(world, 1.0, m)
    values, ratio = columns(found), ratio_of(found)
    assert abs(ratio.value - 1) < 3 * ratio.se < 0.3
    for name, expected in (("covers_50", 0.5), ("covers_90", 0.9), ("rank_spread", 1.0)):
        assert abs(off(values[name], expected)) < 3, name


def test_ranks_of_exact_samples_are_uniform(world):
    """chi^2 of ten bins over images, in one direction each, whose places are independent: 27.9 is 99.9 % of 9."""
    found = prediction(world, 1.0)
    samples = torch.stack(found.restoration.samples[19])
    candidate = Candidate(samples[0], samples[0], found.measurement, as_saved(found.reference), samples=samples)
    place = places((samples + 1) / 2, candidate.reference, candidate)
    assert place.min() > 0 and place.max() < 1
    count = torch.histc(place[:, 0], 10, 0, 1)
    assert ((count - N / 10).square() / (N / 10)).sum() < 27.9


@pytest.mark.parametrize(("scale", "word"), [(0.5, "over"), (2.0, "under"), (1.0, None)])
def test_a_run_says_whether_samples_are_confident(world, scale, word, tmp_path):
    found = prediction(world, scale)
    values, ratio = columns(found), ratio_of(found)
    expected = scale**2
    assert abs(ratio.value - expected) < 3 * ratio.se and ratio.low < ratio.value < ratio.high
    RecordWriter(tmp_path).write(evaluate(found).rows, "samples")
    summary = finish(tmp_path)
    (level,) = summary["levels"]
    assert level["metrics"]["variance_ratio"]["mean"] == pytest.approx(ratio.value, rel=1e-9)
    ends = level["metrics"]["variance_ratio"]["ci95"]
    told = [sentence for sentence in summary["findings"] if "-confident" in sentence]
    if word is None:
        assert not told
        return
    assert len(told) == 1 and f"{word}-confident" in told[0] and "interval {:.2f} to {:.2f}".format(*ends) in told[0]
    assert told[0] in (tmp_path / "table.md").read_text()
    sign = -1 if word == "over" else 1
    assert sign * off(values["covers_90"], 0.9) > 5 and sign * off(values["rank_spread"], 1) < -5


def test_a_calibration_rescales_the_standard_deviation(world, tmp_path):
    """By what it found on other images: the ratio of the rescaled ones is 1, though the samples are over-confident."""
    prior, found = world[0], prediction(world, 0.5)
    RecordWriter(tmp_path).write(evaluate(found).rows, "samples")
    finish(tmp_path)
    traversal, ids = SampleAverage([19], Confident(0.5), steps=1), [f"other {id_}" for id_ in IDS]
    batch = {"id": ids, "image": draw(prior, ids)}
    plain, rescaled = (
        SolverModule(prior, SuperResolution(2), 0.1, traversal, calibration=run).predict_step(batch, 0)
        for run in (None, str(tmp_path))
    )
    ratio = ratio_of(rescaled)
    assert abs(ratio.value - 1) < 4 * ratio.se  # se is that of one of the two sets
    scale = spread_scales(str(tmp_path), "samples", [19])[19]
    assert scale == pytest.approx(2, rel=0.1)
    torch.testing.assert_close(rescaled.restoration.spread[19], scale * plain.restoration.spread[19])
    assert torch.equal(rescaled.restoration.images[19], plain.restoration.images[19])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere", "samples", [19]), "calibration nowhere has no metrics.json"),
        (("RUN", "t0", [19]), "has levels of samples; give a run with the levels"),
        (("RUN", "samples", [19, 4]), "has levels of samples without 4;"),
        (("RUN", "samples", [1]), "has no calibrated level"),
    ],
)
def test_a_run_that_is_no_calibration_is_one_sentence(arguments, sentence, tmp_path):
    of_level = {1: {}, 19: {"variance_ratio": {"mean": 0.5}}} if arguments[2] != [1] else {1: {}}
    levels = [{"level": level, "metrics": metrics} for level, metrics in of_level.items()]
    (tmp_path / "metrics.json").write_text(json.dumps({"knob": "samples", "levels": levels}))
    run, *rest = arguments
    with pytest.raises(ValueError, match=sentence):
        spread_scales(str(tmp_path) if run == "RUN" else run, *rest)


def test_parts_of_a_batch_keep_their_samples(world):
    """Each chain in the order of the images."""
    whole = prediction(world, 1.0, 2).restoration
    both = Restoration.cat([whole, whole])
    assert len(both.samples[2]) == 2
    assert all(torch.equal(x, torch.cat([y, y])) for x, y in zip(both.samples[2], whole.samples[2], strict=True))
    torch.testing.assert_close(torch.stack(both.samples[2]).mean(0), both.images[2])


def test_the_metrics_need_samples_and_a_clean_image(world):
    found = prediction(world, 1.0, 2)
    (images,) = found.restoration.images.values()
    without = Candidate(images, as_saved(images), found.measurement, as_saved(found.reference))
    for metric in (SampleError(), Coverage(), RankSpread()):
        assert metric.judge(without) is None
