"""Objectives: their figures are those of the run's metrics, on all pictures so far, and their names are checked."""

from dataclasses import replace

import pytest
import torch

from rps.metrics import standard
from rps.metrics.frechet import Statistics
from rps.metrics.images import rmse
from rps.metrics.intervals import frechet_draws, means
from rps.records.evaluate import evaluate
from rps.tuning import fission, make_objective
from tests.rps.predictions import Blocks, prediction

IDS = [f"picture {i}" for i in range(24)]


def found(metrics, features=None, parts=3):
    """Evaluations of all pictures in parts, and the predictions."""
    predictions = [prediction(IDS[part::parts]) for part in range(parts)]
    return [evaluate(p, metrics, features) for p in predictions], predictions


def test_a_metric_is_its_mean_over_pictures_and_levels_with_its_standard_error():
    objective = make_objective("rmse", standard())
    evaluations, predictions = found(objective.metrics)
    assert [metric.name for metric in objective.metrics] == ["rmse"] and objective.better == "lower"
    per_level = [torch.cat([errors(p, level) for p in predictions]) for level in predictions[0].restoration.levels]
    (expected,) = means(torch.stack(per_level).mean(0).unsqueeze(1))
    figure = objective.figure(evaluations).estimate()
    assert figure.value == pytest.approx(expected.value, rel=1e-5)
    assert figure.se == pytest.approx(expected.se, rel=0.15)  # 200 resamples here, 1000 there
    first = objective.figure(evaluations[:1])
    assert first.value == pytest.approx(float(torch.stack(per_level)[:, : len(IDS) // 3].mean()), rel=1e-5)


def errors(p, level):
    as_saved = [((x.clamp(-1, 1) + 1) * 127.5).round() / 255 for x in (p.restoration.images[level], p.reference)]
    return rmse(*as_saved)


def test_a_distance_and_a_product():
    reference = Statistics.from_features(torch.rand(50, 4, generator=torch.Generator().manual_seed(1)))
    distance = make_objective("sqrt_frechet", standard(), Blocks(), reference)
    product = make_objective("rmse,sqrt_frechet", standard(), Blocks(), reference)
    evaluations, predictions = found(product.metrics, Blocks())
    levels = predictions[0].restoration.levels
    roots, products = [], []
    for level in levels:
        vectors = [v.vectors for e in evaluations for v in e.vectors if v.kind == "restored" and v.level == level]
        draws = frechet_draws(torch.cat(vectors), reference).root
        roots.append(draws.value)
        products.append(draws.value * float(torch.cat([errors(p, level) for p in predictions]).mean()))
    assert distance.figure(evaluations).value == pytest.approx(sum(roots) / len(roots), rel=1e-5)
    assert product.figure(evaluations).value == pytest.approx(sum(products) / len(products), rel=1e-5)
    assert product.title == "RMSE x √FD" and "biased upwards" in product.limits[0]


def test_the_factors_of_a_product_are_resampled_together():
    reference = Statistics.from_features(torch.rand(50, 4, generator=torch.Generator().manual_seed(1)))
    rmse_, distance, product = (
        make_objective(name, standard(), Blocks(), reference) for name in ("rmse", "sqrt_frechet", "rmse,sqrt_frechet")
    )
    evaluations = [evaluate(prediction(IDS, levels=(50,)), product.metrics, Blocks())]
    a, b, both = (objective.figure(evaluations) for objective in (rmse_, distance, product))
    assert torch.equal(both.draws, a.draws * b.draws) and both.value == a.value * b.value
    assert both.estimate().se > 0


def test_the_error_on_held_data_needs_no_clean_picture():
    objective = make_objective("fission", standard(), tau=1.0)
    (one,) = found((), parts=1)[1]
    split = objective.split(one.measurement)
    blind = replace(one, reference=None, measurement=split)
    assert torch.equal(split.y, fission(one.measurement, 1.0).y)
    assert objective.figure([evaluate(blind, objective.metrics)]).value > 0
    assert "sees only A(x)" in objective.limits[0] and "1.41 times" in objective.limits[0]
    assert "90%" in make_objective("held_out", standard()).limits[0]


def test_a_metric_without_clean_pictures_is_refused():
    objective = make_objective("psnr", standard())
    (one,) = found((), parts=1)[1]
    assert objective.better == "higher"
    with pytest.raises(
        ValueError, match=r"psnr cannot be computed on these pictures.* --objective fission or held_out"
    ):
        objective.figure([evaluate(replace(one, reference=None), objective.metrics)])


@pytest.mark.parametrize(("name", "why"), [
    ("rsme", "there is no objective 'rsme'; it may be one of rmse, psnr"),
    ("consistency", "neither better when higher nor when lower"),
    ("rmse,psnr", "psnr is better when higher"),
    ("sqrt_frechet", "needs a feature network"),
    ("rmse,fission", "there is no objective 'fission'"),
])  # fmt: skip
def test_other_names_are_refused(name, why):
    with pytest.raises(ValueError, match=why):
        make_objective(name, standard())
