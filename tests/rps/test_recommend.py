"""The recommended level: that of the known curve, within its interval, and so are the figures on other pictures."""

import json

import pytest
import torch
import yaml

from rps.metrics import Images
from rps.records.rows import RecordWriter, Row
from rps.report import recommend
from tests.rps.curves import Population, error, write_population, write_run

LEVELS = (0, 100, 200, 400, 800)
SETS = 60


@pytest.fixture(scope="module")
def promises(tmp_path_factory):
    """(recommendation for an RMSE of .12, on 40 images; another 40 images) of SETS pairs of sets."""
    folder = tmp_path_factory.mktemp("runs")
    found = []
    for seed in range(SETS):
        run = write_population(folder / str(seed), Population(40, seed), LEVELS)
        found.append((recommend(run, "rmse", 0.12), Population(40, 1000 + seed)))
    return found


@pytest.mark.slow
def test_the_level_is_covered_by_its_interval(promises):
    """error(133.3) = .12. At 95 % each, fewer than 52 of 60 is a chance of 1 %."""
    true = 400 / 3
    assert sum(each.interval.low <= true <= each.interval.high for each, _ in promises) >= 52
    levels = torch.tensor([float(each.level) for each, _ in promises])
    assert levels.median().item() == pytest.approx(true, abs=25) and levels.std() > 20


@pytest.mark.slow
def test_the_error_of_all_pictures_is_covered(promises):
    inside = [each.expected["rmse"].low <= error(each.level) <= each.expected["rmse"].high for each, _ in promises]
    assert sum(inside) >= 52


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rmse", "sqrt_frechet"])
def test_the_promise_is_kept_on_other_pictures(promises, name):
    """The difference from the held-out figure is within 1.96 standard errors of both for 95 % of the sets."""
    kept, widths = 0, []
    for found, other in promises:
        images = Images(other.ids, {"rmse": other.rmse(found.level)}, other.features(found.level), other.clean)
        observed, expected = images.draws(name).estimate(), found.expected[name]
        se = (observed.se**2 + expected.se**2) ** 0.5
        kept += abs(observed.value - expected.value) < 1.96 * se
        widths.append(se / expected.value)
    assert kept >= 52
    assert sum(widths) / SETS < 0.3, "a promise as wide as this is none"


def test_a_bound_on_the_distance_takes_the_least_error(tmp_path):
    run = write_population(tmp_path, Population(64, 0), LEVELS)
    found = recommend(run, "frechet", 0.8)
    assert found.satisfied and 0 < found.level < 800 and found.level not in LEVELS
    assert (
        found.expected["sqrt_frechet"].value == pytest.approx(0.8, abs=0.01)
        and found.expected["sqrt_frechet"].value <= 0.8
    )
    assert any(text.startswith("Interpolated between the levels") for text in found.sentences)
    tighter = recommend(run, "sqrt_frechet", 0.6)
    assert tighter.level > found.level and tighter.expected["rmse"].value > found.expected["rmse"].value


def test_nothing_satisfies_and_everything_does(tmp_path):
    run = write_population(tmp_path, Population(64, 0), LEVELS)
    tight, loose = recommend(run, "rmse", 0.01), recommend(run, "rmse", 1.0)
    assert not tight.satisfied and tight.level == 0
    assert "No level has RMSE of at most 0.01; this one is the nearest." in tight.sentences
    assert loose.satisfied and loose.level == 800
    assert "another level beyond t0 = 800 may have a lower one" in " ".join(loose.sentences)


@pytest.mark.slow
def test_confidence_takes_a_margin(promises):
    """The level that keeps the bound with 95 % confidence keeps it for all pictures, for at least 90 % of the sets."""
    kept = margins = 0
    for found, _ in promises:
        (text,) = [text for text in found.sentences if text.endswith("with 95 % confidence.")]
        level = float(text.split()[2])
        kept += error(level) <= 0.12
        margins += found.level - level
    assert kept >= 0.9 * SETS and margins / SETS > 20


def test_the_knee(tmp_path):
    """Of RMSE 0, .1, .9 (of its range) and a distance 1, .1, 0 it is the middle; a straight curve has none."""
    generator = torch.Generator().manual_seed(0)
    a, clean = torch.rand(64, generator=generator), torch.randn(64, 4, generator=generator)
    rmse = {0: 0.1 + 0.01 * a, 50: 0.11 + 0.01 * a, 100: 0.2 + 0.01 * a}
    found = recommend(write_run(tmp_path / "a", rmse, {0: clean + 1, 50: clean + 0.1, 100: clean + 0.02}, clean))
    assert abs(found.level - 50) <= 5 and found.satisfied and "below its chord by 0.8" in found.sentences[0]
    rmse = {0: 0.1 + 0.01 * a, 50: 0.11 + 0.01 * a, 100: 0.12 + 0.01 * a}
    noise = [torch.randn(64, 4, generator=generator) * 0.3 for _ in range(3)]
    features = {level: clean + 0.5 - level / 400 + each for level, each in zip(rmse, noise, strict=True)}
    found = recommend(write_run(tmp_path / "b", rmse, features, clean))
    assert "no level stands out" in found.sentences[0]


def test_a_curve_that_is_best_at_its_end_has_no_knee(tmp_path):
    """Both figures fall all the way."""
    images = Population(32, 0)
    rmse = {level: images.a + 0.1 - level / 10_000 for level in LEVELS}
    run = write_run(tmp_path, rmse, {level: images.features(level) for level in LEVELS}, images.clean)
    found = recommend(run)
    assert found.level == 800 and found.sentences[0].startswith("The curve has no knee")


def test_other_knobs_choose_among_their_levels(tmp_path):
    run = write_population(tmp_path, Population(64, 0), (1, 2, 4), knob="samples")
    assert {recommend(run, "rmse", bound).level for bound in (0.1003, 0.1006, 0.5)} <= {1, 2, 4}
    run = write_population(tmp_path / "w", Population(64, 0), (0.0, 0.5, 1.0), knob="weight")
    assert recommend(run, "rmse", recommend(run, "rmse", 1.0).expected["rmse"].value - 1e-5).level not in (0, 0.5, 1)


def test_higher_is_better_and_no_second_figure(tmp_path):
    """PSNR of at least 20, without features: the level that comes nearest."""
    n = torch.arange(20) / 100
    at = {level: 22 - level / 100 + n for level in (0, 100, 400)}
    run = write_run(tmp_path, dict.fromkeys(at, n), more={"psnr": at})
    found = recommend(run, "psnr", 20.0)
    assert found.expected["psnr"].value == pytest.approx(20, abs=0.01) and found.expected["psnr"].value >= 20
    assert "nearest to PSNR of at least 20" in found.sentences[0] and set(found.expected) == {"psnr"}


def test_images_that_a_level_lacks_are_left_out(tmp_path):
    run = write_population(tmp_path, Population(20, 0), LEVELS)
    RecordWriter(run).write([Row("s9999", 0, metrics={"rmse": 9.0}), Row("s9999", 100, status="failed")], "t0")
    found = recommend(run, "rmse", 0.12)
    assert found.n == 20 and "Based on the 20 of 21 images that every level restored." in found.sentences


def config(run, model):
    (run / "config.yaml").write_text(yaml.safe_dump({"model": model}))


def test_the_command(tmp_path):
    """It sets the knob, and what has one value per level; without a config there is none."""
    run = write_population(tmp_path / "my run", Population(20, 0), LEVELS)
    found = recommend(run, "rmse", 0.12)
    assert found.command == [] and "rps predict" not in str(found)
    config(run, {"class_path": "modules.MapRps", "init_args": {"t0": [0, 100], "steps": 5}})
    found = recommend(run, "rmse", 0.12)
    place = ["--model.t0", f"[{found.level}]", "--output", f"{run}-t0-{found.level}"]
    assert found.command == ["rps", "predict", "--config", f"{run}/config.yaml", *place]
    assert f"--model.t0 '[{found.level}]' --output '{run}-t0-" in str(found)


def test_the_command_of_a_level_with_its_own_settings(tmp_path):
    run = write_population(tmp_path / "run", Population(20, 0), (0.0, 0.5, 1.0), knob="lambda")
    arguments = {"levels": [1.0, 0.5, 0.0], "step_size": [1, 2, 3], "steps": None}
    traversal = {"class_path": "rps.traversals.VarianceScaling", "init_args": arguments}
    config(run, {"class_path": "modules.SolverModule", "init_args": {"traversal": traversal, "seed": 0}})
    found = recommend(run, "rmse", 0.01)
    flags = dict(zip(found.command[4::2], found.command[5::2], strict=True))
    assert json.loads(flags["--model.traversal.levels"]) == [0.0]
    assert json.loads(flags["--model.traversal.step_size"]) == [3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("rmse", float("nan")),
            "a bound is a number for one of rmse, sqrt_frechet, kernel, frechet; got nan for rmse",
        ),
        (("consistency", 1.0), "got 1.0 for consistency"),
        (("psnr", 1.0), "got 1.0 for psnr"),
    ],
)
def test_bounds_that_cannot_be(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        recommend(write_population(tmp_path, Population(8, 0), LEVELS), *arguments)


def test_too_few_levels(tmp_path):
    one, two = (write_population(tmp_path / str(n), Population(8, 0), LEVELS[:n]) for n in (1, 2))
    with pytest.raises(ValueError, match="has 1 level of t0 with two or more images, but this choice needs 2"):
        recommend(one, "rmse", 0.1)
    with pytest.raises(ValueError, match="needs 3; run more levels"):
        recommend(two)
