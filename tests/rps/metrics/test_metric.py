"""Any metric in the records, the tables and the comparison: what a user's own one is held to."""

import math

import pytest
import torch

import rps.metrics
from rps.metrics import Metric, standard
from rps.records import RecordWriter, evaluate, read_records, summary
from rps.records.rows import Origin
from rps.report.table import table
from tests.rps.predictions import prediction

IDS = [f"image {i}" for i in range(7)]


class Gaps(Metric):
    """No value for the third image, and infinite for the first."""

    name, title, definition, digits, better, needs_reference = "gaps", "Gaps", "a test's", 1, "higher", False

    def forward(self, restored, reference=None):
        return torch.tensor([math.inf, 1.0, math.nan, 2.0, 3.0, 4.0, 5.0])[: len(restored)]


def test_any_metric_is_recorded_and_explained(tmp_path):
    """Its column, mean, interval, definition, and how many of its values are infinite or missing; in order."""
    metrics = standard([Gaps()])
    found = evaluate(prediction(IDS), metrics)
    origin = Origin(metrics={metric.name: metric.info for metric in metrics})
    RecordWriter(tmp_path).write(found.rows, "t0", origin=origin)
    result = summary(read_records(tmp_path))
    level = result["levels"][0]["metrics"]["gaps"]
    assert level["mean"] == 3.0 and level["infinite"] == 1 and level["missing"] == 1
    assert level["se"] == pytest.approx(0.5**0.5, rel=0.1)
    assert result["definitions"]["gaps"] == "a test's"
    titles = [title.strip() for title in table(result).split("\n")[0].split("|")[1:-1]]
    assert titles[3:8] == ["RMSE", "PSNR", "SSIM", "Gaps", "consistency"]  # MS-SSIM has no use for such small images
    assert "Gaps infinite for 1 of 7 (t0 = 0); Gaps missing for 1 of 7 (t0 = 0)" in table(result)


def test_a_metric_without_any_value_keeps_its_column(tmp_path):
    class Nothing(Gaps):
        def forward(self, restored, reference=None):
            return torch.full((len(restored),), math.nan)

    RecordWriter(tmp_path).write(evaluate(prediction(IDS), [Nothing()]).rows, "t0")
    result = summary(read_records(tmp_path))
    assert "| gaps |" in table(result).replace("  ", "") and "gaps missing for 7 of 7 (t0 = 0)" in table(result)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": "Bad Name"}, "needs a name of lower-case letters, .* got 'Bad Name'"),
        ({"name": "level"}, "not reserved, got 'level'"),
        ({"name": "oracle_mean"}, "not reserved, got 'oracle_mean'"),
        ({"better": "more"}, "better must be 'lower', 'higher' or None, got 'more' of gaps"),
        ({"forward": lambda self, x, y=None: x.mean()}, r"gaps must return one value per image, \[7\], got \(\)"),
    ],
)
def test_a_metric_that_cannot_be_recorded_is_one_sentence(wrong, sentence):
    metric = type("Wrong", (Gaps,), wrong)()
    with pytest.raises(ValueError, match=sentence):
        evaluate(prediction(IDS), standard([metric]))


class Strict(Gaps):
    """Refuses what torchmetrics refuses: values outside [0, 1], NaN among them."""

    name = "strict"

    def forward(self, restored, reference=None):
        assert bool(((restored >= 0) & (restored <= 1)).all())
        return restored.flatten(1).mean(1)


def test_a_metric_sees_finite_images_alone():
    """One NaN image costs no other image its value."""
    rows = evaluate(prediction(IDS, broken=((50, IDS[2]),)), [Strict()]).rows
    at_50 = {row.id: row for row in rows if row.kind == "restored" and row.level == 50}
    assert at_50[IDS[2]].status == "failed" and not at_50[IDS[2]].metrics
    assert all("strict" in row.metrics for id_, row in at_50.items() if id_ != IDS[2])
    whole = {row.id: row for row in evaluate(prediction(IDS), [Strict()]).rows if row.level == 50}
    assert all(at_50[id_].metrics == whole[id_].metrics for id_ in IDS if id_ != IDS[2])


def test_values_are_recorded_in_double_precision():
    class Third(Gaps):
        def forward(self, restored, reference=None):
            return torch.full((len(restored),), 1 / 3, dtype=torch.float64)

    row = next(row for row in evaluate(prediction(IDS), [Third()]).rows if row.kind == "restored")
    assert row.metrics["gaps"] == 1 / 3


def test_files_of_processes_with_different_metrics_are_merged(tmp_path):
    """The union of the metrics; what a process did not record is missing, and the first file's definition counts."""
    for i, metric in enumerate((Gaps(), Strict())):
        origin = Origin(
            metrics={"gaps": type("Own", (Gaps,), {"definition": f"of {i}"})().info, metric.name: metric.info}
        )
        found = evaluate(prediction(IDS[3 * i : 3 * i + 3]), [metric])
        RecordWriter(tmp_path, i).write(found.rows, "t0", origin=origin if i else Origin(metrics={"gaps": Gaps().info}))
    result = summary(read_records(tmp_path))
    metrics = result["levels"][0]["metrics"]
    assert metrics["strict"]["missing"] == 3 and metrics["gaps"]["missing"] == 3 + 1
    assert result["definitions"]["gaps"] == "a test's"


def test_a_metric_takes_the_place_of_the_standard_one_of_its_name():
    class Ssim(rps.metrics.Ssim):
        digits = 5

    own = Ssim()
    assert [metric for metric in standard([own]) if metric.name == "ssim"] == [own]
    assert [metric.name for metric in standard([own])] == [metric.name for metric in standard()]
    with pytest.raises(ValueError, match="two metrics are named rmse"):
        standard([type("Other", (Gaps,), {"name": "rmse"})()])
    with pytest.raises(ValueError, match="two metrics are named gaps"):
        standard([Gaps(), Gaps()])


def test_what_is_no_metric_is_one_sentence():
    with pytest.raises(ValueError, match=r"must be an rps\.metrics\.Metric, got Identity; wrap one of torchmetrics in"):
        standard([torch.nn.Identity()])
