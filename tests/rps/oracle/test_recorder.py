"""`rps predict --config oracle/...`: a run beside the exact posterior, from the command to metrics.json."""

import json

import pytest
import torch
from torch.utils.data import DataLoader

from datamodules import Analytic
from modules import MapRps
from rps.cli import main
from rps.operators import Denoise
from rps.oracle import OracleRecorder
from rps.oracle.worlds import draw, smooth_prior
from rps.priors import Prior
from rps.schedule import Schedule
from tests.trainers import quiet

SMALL = [
    "predict", "--config", "oracle/denoise", "--data.limit", "40", "--data.batch_size", "25", "--model.t0", "[0,1000]",
    "--model.steps", "4", "--trainer.callbacks", "rps.oracle.OracleRecorder",
    "--trainer.callbacks.OracleRecorder.samples", "9",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "oracle"
    arguments = [*SMALL, "--config", "oracle/sr2", "--config", "oracle/exact"]
    assert main([*arguments, "--output", str(output)]) == 0
    return output, json.loads((output / "metrics.json").read_text())


def test_exact_stages_are_found_exact(run):
    """t0 = 0 is the posterior mean, and t0 = T has the law of the posterior within 4 standard errors."""
    mean, sample = (level["oracle"] for level in run[1]["levels"])
    assert mean["single dB"]["value"] == pytest.approx(0, abs=1e-4)
    assert mean["covariance"]["value"] == pytest.approx(1, abs=1e-4)
    assert set(sample) == {"single dB", "gap dB", "mean", "covariance", "covers 50%", "covers 90%", "sliced W2"}
    for name, figure in sample.items():
        assert abs(figure["value"] - figure["zero"]) < 4 * figure["se_off"], name


def test_exact_points_and_the_optimal_curve(run):
    """From the posterior mean to the prior's law, where it has less RMSE than a posterior sample."""
    exact = run[1]["exact"]
    (mean,), (sample,), optimal = exact["posterior_mean"], exact["posterior_sample"], exact["optimal"]
    assert [point["level"] for point in optimal] == [0, 0.25, 0.5, 0.75, 1]
    assert optimal[0]["metrics"]["rmse"]["mean"] == pytest.approx(mean["metrics"]["rmse"]["mean"])
    rmse = [point["metrics"]["rmse"]["mean"] for point in (*optimal, sample)]
    assert rmse == sorted(rmse)
    distances = [point["metrics"]["frechet"]["sqrt"] for point in optimal]
    assert distances == sorted(distances, reverse=True)
    assert mean["metrics"]["rmse"]["mean"] == pytest.approx(run[1]["levels"][0]["metrics"]["rmse"]["mean"], abs=1e-4)


def test_files(run):
    output, result = run
    assert "| *the exact law* |" in (output / "table.md").read_text()
    assert (output / "dp_curve.png").stat().st_size > 0
    assert result["levels"][0]["n"] == 40 and "oracle_*" in result["definitions"]


def test_the_page_has_the_table(run):
    """Also after rps report, which cannot compute these figures from the records."""
    page = run[0] / "report.html"
    first = page.read_text()
    value = run[1]["levels"][1]["oracle"]["sliced W2"]
    assert f"<td>{value['value']:.3f} ({value['se']:.3f})</td>" in first and ">the exact law</th>" in first
    assert main(["report", str(run[0])]) == 0
    assert page.read_text() == first


def test_a_level_that_is_added_has_the_figures_that_it_has_among_others(run, tmp_path):
    arguments = [*SMALL, "--config", "oracle/sr2", "--config", "oracle/exact", "--output", str(tmp_path)]
    for levels in ("[1000]", "[0,1000]"):
        assert main([*arguments, "--model.t0", levels]) == 0
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert result["exact"] == run[1]["exact"] and result["duplicates"] == 0
    for level, whole in zip(result["levels"], run[1]["levels"], strict=True):
        assert all(level["oracle"][name] == pytest.approx(figure) for name, figure in whole["oracle"].items())


@pytest.mark.parametrize("prior", ["mixture", "images", "fitted"])
def test_other_priors(prior, tmp_path):
    """From the command on: exact stages give the exact mean and figures, and the optimal curve runs from the exact MMSE
    point to the prior's mean and covariance, ever nearer to the prior at ever more RMSE."""
    small = ["--data.limit", "2", "--model.t0", "[0]", "--model.prior.components", "2", "--model.prior.limit", "40"]
    few = [*small, "--model.prior.rank", "5"] if prior == "fitted" else ["--data.limit", "40"]
    arguments = [*SMALL, "--config", "oracle/sr2", "--config", "oracle/exact", "--config", f"oracle/{prior}", *few]
    assert main([*arguments, "--model.steps", "4", "--output", str(tmp_path / "run")]) == 0
    result = json.loads((tmp_path / "run" / "metrics.json").read_text())
    exact, levels = result["exact"], [level["oracle"] for level in result["levels"]]
    (mean,), (sample,), optimal = exact["posterior_mean"], exact["posterior_sample"], exact["optimal"]
    assert levels[0]["mean"]["value"] == pytest.approx(0, abs=1e-3)
    assert ("covers 50%" in levels[0]) is (prior != "images")  # which have no density
    assert optimal[0]["metrics"]["rmse"]["mean"] == pytest.approx(mean["metrics"]["rmse"]["mean"])
    if prior != "fitted":  # of two images the distances are bias
        rmse = [point["metrics"]["rmse"]["mean"] for point in optimal]
        distances = [point["metrics"]["frechet"]["sqrt"] for point in optimal]
        assert rmse == sorted(rmse)
        if prior == "mixture":  # 256 images leave so little open that the distance of 40 is mostly its bias
            assert distances == sorted(distances, reverse=True)
        assert sample["metrics"]["rmse"]["mean"] > rmse[0]
        for name, figure in levels[1].items():
            assert abs(figure["value"] - figure["zero"]) < 4 * figure["se_off"], name


class Flat(Prior):
    """A prior whose posterior nobody knows."""

    def __init__(self):
        super().__init__()
        self.schedule, self.sample_shape = Schedule.linear(), (1, 4, 4)


def test_what_it_needs(tmp_path):
    def predict(prior: Prior, key: str):
        batch = {"id": ["a"], key: torch.zeros(1, 1, 4, 4)}
        trainer = quiet(default_root_dir=tmp_path, callbacks=[OracleRecorder(samples=2)])
        trainer.predict(MapRps(prior, Denoise(), 0.3, t0=[0]), DataLoader([batch], batch_size=None))

    with pytest.raises(ValueError, match=r"OracleRecorder needs an AnalyticPrior.*, got Flat; use Metric"):
        predict(Flat(), "image")
    with pytest.raises(ValueError, match=r"needs clean images drawn from the prior; use datamodules\.Analytic"):
        predict(smooth_prior(), "measurement")
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        OracleRecorder(samples=0)
    with pytest.raises(ValueError, match="the prior is NoneType, but Analytic draws its images from an AnalyticPrior"):
        Analytic(4).predict_dataloader()


def test_the_data_are_draws_of_the_modules_prior(tmp_path):
    """Skipping leaves out the first, and an image is a function of its id."""
    module, data = MapRps(smooth_prior(), Denoise(), 0.3, t0=[0]), Analytic(limit=3, batch_size=2, skip=1)
    predictions = quiet(default_root_dir=tmp_path).predict(module, datamodule=data)
    assert [id_ for p in predictions for id_ in p.ids] == ["000001", "000002", "000003"]
    found = torch.cat([p.reference for p in predictions])
    torch.testing.assert_close(found, draw(module.prior, ["000001", "000002", "000003"]).float())
    data.only_ids = {"000002", "000005"}
    predictions = quiet(default_root_dir=tmp_path).predict(module, datamodule=data)
    assert [id_ for p in predictions for id_ in p.ids] == ["000002", "000005"]
