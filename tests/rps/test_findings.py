"""The sentences on a run: claimed when the figures show it, and not when they do not."""

import json

import pytest
import torch

from rps.metrics import Statistics
from rps.metrics.significance import images_needed
from rps.records import RecordWriter, Row, evaluate, read_records, summary
from rps.report import finish, table
from rps.report.changes import caption, changes
from rps.report.findings import findings
from tests.rps.curves import write_run
from tests.rps.predictions import Blocks, prediction


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def curve(run, n=64, shifts=(1.0, 0.5), costs=(0.0, 0.01), seed=0, **options):
    """The summary of a run whose features are off by these shifts and whose errors exceed .1 by these costs."""
    clean, a = draw(n, 4, seed=seed), 0.1 + 0.02 * draw(n, seed=seed + 1)
    levels = [100 * i for i in range(len(shifts))]
    noise = {level: draw(n, 5, seed=seed + 2 + level) for level in levels}
    rmse = {level: a + c + 0.002 * noise[level][:, 4] for level, c in zip(levels, costs, strict=True)}
    features = {level: clean + s + 0.3 * noise[level][:, :4] for level, s in zip(levels, shifts, strict=True)}
    return summary(read_records(write_run(run, rmse, features, clean, **options)))


def test_a_gain_and_its_price(tmp_path):
    """The figures are those of metrics.json, with two digits of the error."""
    found = curve(tmp_path)
    (text,) = findings(found)
    change = found["levels"][1]["difference_to_first"]
    cost, gain = change["rmse"], change["sqrt_frechet"]
    assert cost["mean"] == pytest.approx(0.01, abs=3 * 0.00035) and gain["value"] == pytest.approx(-1, abs=0.2)
    assert text == (
        f"t0 = 100 lowers √FD by {-gain['value']:.3f} ± {gain['se']:.3f} and raises RMSE by {cost['mean']:.5f} ± "
        f"{cost['se']:.5f}, compared with t0 = 0 on the same 64 pictures."
    )


def test_a_price_that_cannot_be_told_is_not_claimed(tmp_path):
    (text,) = findings(curve(tmp_path, costs=(0.0, 0.0)))
    assert " and changes RMSE by no more than its error (-0.00027 ± 0.00034)" in text


def test_a_step_that_gains_nothing(tmp_path):
    """Of 0, 100, 200 the last costs and gains nothing, so the one before it is named."""
    texts = findings(curve(tmp_path, shifts=(1.0, 0.5, 0.5), costs=(0, 0.01, 0.02)))
    assert texts[0].startswith("t0 = 100 lowers √FD")
    assert texts[1].startswith(
        "Steps of t0 that raise RMSE without a fall of √FD that can be told from zero: 100 to 200"
    )
    assert len(texts) == 2


def test_levels_that_only_lose(tmp_path):
    (text,) = findings(curve(tmp_path, shifts=(0.5, 0.6, 1.5), costs=(0, 0.01, 0.02)))
    assert text.startswith("No level gains anything over t0 = 0; t0 = 200 raises √FD by ") and "and raises RMSE" in text


def test_a_level_without_any_image_hides_nothing(tmp_path):
    """All images of t0 = 300 failed; the others are reported as if it had not been run."""
    (text,) = findings(curve(tmp_path))
    RecordWriter(tmp_path).write([Row(f"s{i:04d}", 300, status="failed", reason="gone") for i in range(64)], "t0")
    assert findings(summary(read_records(tmp_path))) == [text]


def test_the_other_direction(tmp_path):
    """A knob that lowers the error and pays in distance, such as the number of samples."""
    (text,) = findings(curve(tmp_path, shifts=(0.5, 0.6), costs=(0.01, 0.0), knob="samples"))
    assert text.startswith("samples = 100 lowers RMSE by 0.0") and " and raises √FD by 0." in text


def test_a_change_within_its_error_asks_for_more_images(tmp_path):
    found = curve(tmp_path, n=16, shifts=(0.5, 0.47), seed=1)
    change = found["levels"][1]["difference_to_first"]["sqrt_frechet"]
    assert -2 * change["se"] < change["value"] < 0, "choose another seed"
    (text,) = findings(found)
    assert text.startswith(
        "With 16 images, no change of √FD can be told from zero (the largest fall, at t0 = 100, is -0."
    )
    suggested = int(text.split("--data.limit ")[1].split(",")[0])
    needed = images_needed(change["value"], change["se"], 16)
    assert needed <= suggested < 2 * needed + 64
    assert "(-" in dict(changes(found))["√FD"][0]


def test_no_fall_asks_for_four_times_the_images(tmp_path):
    (text,) = findings(curve(tmp_path, n=16, shifts=(0.5, 0.5), seed=0))
    assert text.endswith("can be told from zero, and none is a fall; --data.limit 64 would halve the errors.")


def test_few_images_are_too_few_for_distances(tmp_path):
    """However large the change."""
    (text,) = findings(curve(tmp_path, n=12, shifts=(3.0, 0.1)))
    assert text.startswith("12 images are too few to judge √FD")


@pytest.mark.slow
def test_levels_of_one_law_are_told_apart_in_one_run_of_twenty(tmp_path):
    """40 runs of 16 images: more than 6 claims are a chance of 1 %. With 1.96 for the threshold there are 7."""
    runs = [curve(tmp_path / str(seed), 16, (0.5, 0.5), (0, 0), seed=1000 * seed) for seed in range(40)]
    assert sum(" lowers √FD " in text or "raises √FD" in text for run in runs for text in findings(run)) <= 6


def test_changes_that_cannot_be_told_are_in_parentheses(tmp_path):
    found = curve(tmp_path, baseline=0.3 + 0.01 * draw(64), costs=(0, 0))
    cells = dict(changes(found))
    assert cells["t0"] == ["100", "A⁺y"] and cells["n"] == ["64", "64"]
    assert cells["RMSE"][0].startswith("(-0.000") and cells["RMSE"][1].startswith("+0.2")
    assert cells["√FD"][0].startswith("-")
    assert "which takes 2.0 standard errors." in table(found)
    assert changes(curve(tmp_path / "one", shifts=(1.0,), costs=(0.0,))) == []


def test_a_baseline_with_less_error(tmp_path):
    (text,) = [text for text in findings(curve(tmp_path, baseline=0.08 + 0.02 * draw(64))) if "A⁺y" in text]
    assert text.startswith("A⁺y, which uses no prior, has 0.0") and " less RMSE than t0 = 0" in text
    assert "or the prior does not suit these pictures" in text
    assert not [text for text in findings(curve(tmp_path / "b", baseline=0.2 + 0.02 * draw(64))) if "A⁺y" in text]


@pytest.mark.parametrize(
    ("mean", "expected"),
    [
        (8.1, "far from the measurement; raise step_size or"),
        (0.3, "fits the noise"),
        (1.0, ""),
        (2.05, ""),
        (0.47, ""),
    ],
)
def test_consistency(mean, expected, tmp_path):
    """The standard error is .05, so 2.05 and .47 may be within the limits of 2 and .5."""
    value = {0: 1 + 0.2 * draw(16), 100: mean + 0.2 * (draw(16) - draw(16).mean()) / draw(16).std()}
    run = write_run(tmp_path, {level: 0.1 + 0.01 * draw(16) for level in value}, more={"consistency": value})
    texts = findings(summary(read_records(run)))
    shown = f"{mean:.1f}" if mean > 1 else f"{mean:.2f}"
    assert [text.split(":")[0] for text in texts] == [f"consistency is {shown} at t0 = 100"] * bool(expected)
    assert all(expected in text for text in texts)


def test_images_that_are_not_finite(tmp_path):
    ids = [f"i{i}" for i in range(5)]
    one = prediction(ids, broken=((50, ids[0]), (50, ids[3])), failures={"lost": "cannot be read"})
    RecordWriter(tmp_path).write(evaluate(one).rows, "t0")
    (text,) = [text for text in findings(summary(read_records(tmp_path))) if "finite" in text]
    assert text.startswith("2 of 6 images are not finite at t0 = 50: the method diverged; try a smaller step_size")


def of_reference(run, n, offset, seed, size=2000):
    """The sentences on the reference set, which has clean images of the same law, moved by `offset`."""
    clean = draw(n, 6, seed=seed)
    rmse = {level: 0.1 + 0.01 * draw(n) for level in (0, 100)}
    run = write_run(run, rmse, {level: clean + 0.3 * draw(n, 6, seed=seed + 1) for level in rmse}, clean)
    reference = Statistics.from_features(draw(size, 6, seed=10_000) + offset, "shoes")
    return [text for text in findings(summary(read_records(run), reference)) if "reference set" in text]


def test_a_reference_set_of_another_kind(tmp_path):
    (text,) = of_reference(tmp_path / "far", 16, 2.0, 0)
    assert text.startswith("The reference set (shoes) shows other things than the pictures")
    assert "where 16 images of its kind would be at about 1.0" in text
    for seed in range(10):
        assert not of_reference(tmp_path / str(seed), 16, 0.0, seed)


def test_a_distant_reference_that_hardly_matters(tmp_path):
    """Of 3000 images, a small offset can be told from none, but restorations are much farther away."""
    clean = draw(3000, 6)
    restored = {level: clean + 5 + draw(3000, 6, seed=1) for level in (0, 100)}
    run = write_run(tmp_path, {level: 0.1 + 0.01 * draw(3000) for level in restored}, restored, clean)
    found = summary(read_records(run), Statistics.from_features(draw(3000, 6, seed=9) + 0.15, "others"))
    frechet = found["reference"]["metrics"]["frechet"]
    assert frechet["sqrt"] - 2 * frechet["se_sqrt"] > 2 * frechet["expected_sqrt"]
    assert not [text for text in findings(found) if "reference set" in text]


def test_they_are_in_every_report(tmp_path):
    curve(tmp_path)
    result = finish(tmp_path)
    (text,) = result["findings"]
    assert json.loads((tmp_path / "metrics.json").read_text())["findings"] == [text]
    for name in ("table.md", "report.html"):
        written = (tmp_path / name).read_text()
        assert text in written and "Change from t0 = 0 on the same pictures" in written


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_images_claim_nothing(n, tmp_path):
    one = prediction([f"i{i}" for i in range(n)], failures={"lost": "gone"})
    found = evaluate(one, features=Blocks())
    RecordWriter(tmp_path).write(found.rows, "t0", found.vectors, Blocks.name)
    text = table(summary(read_records(tmp_path)))
    assert "lowers" not in text and "raises" not in text and "nan" not in text


@pytest.mark.parametrize(("n", "words"), [(1, "on one picture"), (2, "takes 12.7 standard errors")])
def test_the_caption_of_one_picture_claims_nothing(n, words):
    level = {"level": 0, "difference_to_first": None}
    changed = {"level": 100, "difference_to_first": {"n": n, "rmse": {"value": 0.01}}}
    assert words in caption({"knob": "t0", "levels": [level, changed]})
