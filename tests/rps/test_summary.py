"""metrics.json: the figures of a run come to what its images say."""

import json
import math

import pytest
import torch

from rps.metrics import MetricInfo, Statistics, as_saved, frechet_distance, rmse
from rps.records import (
    RecordWriter,
    Row,
    evaluate,
    read_records,
    summary,
    write_json,
)
from rps.records.rows import Origin
from rps.report.page import write_page
from rps.report.shown import Shown
from rps.report.table import table
from tests.rps.predictions import Blocks, clean_images, prediction

IDS = [f"image {i}" for i in range(7)]


def record(run, *predictions, features=True):
    """Writes these predictions as a run would, and reads them back."""
    network = Blocks() if features else None
    for one in predictions:
        found = evaluate(one, features=network)
        RecordWriter(run).write(found.rows, one.restoration.knob, found.vectors, network.name if network else None)
    return read_records(run)


def test_summary_of_a_run(tmp_path):
    """Figures from the images themselves; failures do not count."""
    ones = prediction(IDS[:4], broken=((50, IDS[1]),)), prediction(IDS[4:], failures={"lost": "cannot be read"})
    result = summary(record(tmp_path, *ones))
    assert result["knob"] == "t0"
    assert [(level["level"], level["n"], level["failed"]) for level in result["levels"]] == [
        (0, 7, 1),
        (50, 6, 2),
        (100, 7, 1),
    ]
    assert [level["network_calls_per_image"] for level in result["levels"]] == [10, 11, 12]
    assert [level["seconds_per_image"] for level in result["levels"]] == [0.5, 1.5, 2.5]
    assert result["total_network_calls_per_image"] == 30
    errors = [rmse(as_saved(one.restoration.images[50]), as_saved(one.reference)) for one in ones]
    errors = torch.cat([errors[0][[0, 2, 3]], errors[1]])
    found = result["levels"][1]["metrics"]["rmse"]
    assert found["mean"] == pytest.approx(errors.mean().item(), rel=1e-12)
    assert found["se"] == pytest.approx(errors.std().item() / math.sqrt(6), rel=0.1)
    assert found["ci95"][0] < found["mean"] < found["ci95"][1]
    assert result["pseudo_inverse"]["n"] == 7 and "frechet" in result["pseudo_inverse"]["metrics"]
    assert "torch" in result["versions"] and "rmse" in result["definitions"]
    assert "difference_to_first" not in result["levels"][0]


def test_frechet_distance_to_the_runs_own_clean_images(tmp_path):
    one = prediction(IDS)
    result = summary(record(tmp_path, one))
    network, level = Blocks(), result["levels"][2]
    features = [network(as_saved(x)) for x in (one.restoration.images[100], one.reference)]
    expected = frechet_distance(*(Statistics.from_features(f) for f in features))
    frechet = level["metrics"]["frechet"]
    assert frechet["value"] == pytest.approx(expected, rel=1e-9)
    assert frechet["sqrt"] == pytest.approx(math.sqrt(expected))
    assert frechet["features"] == "quarters" and frechet["n"] == 7
    assert frechet["reference"] == {"images": "the clean images of this run", "n": 7}
    assert result["reference"] == {"images": "the clean images of this run", "n": 7, "metrics": {}}


def test_frechet_distance_to_another_set(tmp_path):
    others = Blocks()(as_saved(clean_images([f"other {i}" for i in range(50)])))
    reference = Statistics.from_features(others, images="fifty others")
    records = record(tmp_path, prediction(IDS))
    result = summary(records, reference)
    clean = torch.stack(list(records.features["reference", None].values()))
    own = result["reference"]["metrics"]["frechet"]
    assert own["value"] == pytest.approx(frechet_distance(Statistics.from_features(clean), reference), rel=1e-9)
    assert result["levels"][0]["metrics"]["frechet"]["reference"] == {"images": "fifty others", "n": 50}


def test_difference_to_the_first_level_is_paired(tmp_path):
    ones = [prediction(IDS, broken=((0, IDS[0]), (100, IDS[1])))]
    result = summary(record(tmp_path, *ones))
    errors = [rmse(as_saved(ones[0].restoration.images[level]), as_saved(ones[0].reference))[2:] for level in (0, 100)]
    paired = result["levels"][2]["difference_to_first"]
    assert paired["n"] == 5
    assert paired["rmse"]["mean"] == pytest.approx((errors[1] - errors[0]).mean().item())
    assert paired["rmse"]["se"] == pytest.approx((errors[1] - errors[0]).std().item() / math.sqrt(5), rel=0.1)
    assert {"value", "se", "ci95"} == set(paired["sqrt_frechet"])


def test_order_and_batches_do_not_matter(tmp_path):
    one = summary(record(tmp_path / "one", prediction(IDS)))
    several = summary(record(tmp_path / "several", prediction(IDS[5:]), prediction(IDS[:2]), prediction(IDS[4:1:-1])))
    assert one == several


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_images(tmp_path, n):
    """One image has no standard error and no Frechet distance; none has no figures at all. All of it is valid JSON."""
    result = summary(record(tmp_path, prediction(IDS[:n], failures={"lost": "gone"})))
    write_json(tmp_path / "metrics.json", result)
    level = json.loads((tmp_path / "metrics.json").read_text())["levels"][1]
    assert (level["n"], level["failed"]) == (n, 1)
    if n == 0:
        assert level["metrics"] == {} and level["network_calls_per_image"] is None
    elif n == 1:
        assert level["metrics"]["rmse"]["mean"] > 0 and level["metrics"]["rmse"]["se"] is None
        assert level["metrics"]["frechet"]["value"] is None
    else:
        assert level["metrics"]["frechet"]["value"] > 0


def test_metrics_that_later_versions_add_are_summed_up_too(tmp_path):
    RecordWriter(tmp_path).write([Row("a", 0, metrics={"rmse": 0.1}), Row("b", 0, metrics={"niqe": 3.0})], "t0")
    metrics = summary(read_records(tmp_path))["levels"][0]["metrics"]
    assert list(metrics) == ["rmse", "niqe"] and metrics["niqe"]["mean"] == 3.0


def test_one_perfect_image_does_not_remove_the_psnr_of_the_others(tmp_path):
    """Also in the difference to the first level; where all are perfect, the figure is infinite."""
    found = prediction(IDS[:4])
    found.restoration.images[50][0] = found.reference[0]
    found.restoration.images[100] = found.reference.clone()
    result = summary(record(tmp_path, found))
    first, some, every = (level["metrics"]["psnr"] for level in result["levels"])
    others = -20 * rmse(as_saved(found.restoration.images[50][1:]), as_saved(found.reference[1:])).log10()
    assert some["mean"] == pytest.approx(others.mean().item()) and some["se"] > 0 and some["infinite"] == 1
    assert "infinite" not in first and every["infinite"] == 4
    assert result["levels"][1]["difference_to_first"]["psnr"]["mean"] < 0
    text = table(result)
    assert "PSNR infinite for 1 of 4 (t0 = 50); PSNR infinite for 4 of 4 (t0 = 100). Means are over the others." in text
    shown = Shown("run", tmp_path, read_records(tmp_path), result)
    assert "PSNR infinite for 1 of 4 (t0 = 50)" in write_page(tmp_path / "report.html", [shown]).read_text()
    psnr = [line.split("|")[5].strip() for line in text.splitlines()[2:5]]
    assert psnr[1].startswith(f"{some['mean']:.2f} ±") and psnr[2] == "∞"
    write_json(tmp_path / "metrics.json", result)
    assert json.loads((tmp_path / "metrics.json").read_text())["levels"][2]["metrics"]["psnr"]["mean"] is None


def test_a_metric_that_is_missing_of_some_images_is_said(tmp_path):
    rows = [Row("a", 0, metrics={"rmse": 0.1, "lpips": 0.3}), Row("b", 0, metrics={"rmse": 0.1})]
    info = MetricInfo("lpips", "LPIPS", "large ones")
    RecordWriter(tmp_path).write(rows, "t0", origin=Origin(metrics={"lpips": info}))
    result = summary(read_records(tmp_path))
    assert result["levels"][0]["metrics"]["lpips"]["missing"] == 1
    assert "LPIPS missing for 1 of 2 (t0 = 0). Means are over the others. LPIPS: large ones." in table(result)


class NanFor(Blocks):
    """Features that are NaN for images of one mean."""

    def __init__(self, image):
        super().__init__()
        self.mean = image.mean()

    def forward(self, images):
        found = super().forward(images)
        found[(images.mean(dim=(1, 2, 3)) - self.mean).abs() < 1e-6] = math.nan
        return found


@pytest.mark.parametrize("reference", [False, True])
def test_a_sample_with_nan_features_costs_nobody_the_distance(tmp_path, reference):
    """The distance is that of the others, and the table says so."""
    found = prediction(IDS)
    network = NanFor(as_saved(found.restoration.images[50])[2])
    evaluation = evaluate(found, features=network)
    RecordWriter(tmp_path).write(evaluation.rows, "t0", evaluation.vectors, network.name)
    fixed = Statistics.from_features(torch.rand(50, 4, generator=torch.Generator().manual_seed(0)), "fifty", keep=True)
    result = summary(read_records(tmp_path), fixed if reference else None)
    kept = [i for i in range(7) if i != 2]
    x, clean = (Blocks()(as_saved(images[kept])) for images in (found.restoration.images[50], found.reference))
    expected = frechet_distance(Statistics.from_features(x), fixed if reference else Statistics.from_features(clean))
    level = result["levels"][1]
    assert level["n"] == 7 and level["metrics"]["frechet"]["n"] == level["metrics"]["kernel"]["n"] == 6
    assert level["metrics"]["frechet"]["value"] == pytest.approx(expected, rel=1e-6)
    assert level["difference_to_first"]["n"] == 7 and level["difference_to_first"]["sqrt_frechet"]["se"] > 0
    assert "no features of 1 of 7 (t0 = 50). Means are over the others." in table(result)
