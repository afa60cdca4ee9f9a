"""Any metric in the records, the tables and the comparison: what a user's own one is held to."""

import math

import pytest
import torch

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
    assert level["se"] == pytest.approx((2 / 5) ** 0.5, rel=0.1)
    assert result["definitions"]["gaps"] == "a test's"
    titles = [title.strip() for title in table(result).split("\n")[0].split("|")[1:-1]]
    assert titles[3:8] == ["RMSE", "PSNR", "SSIM", "Gaps", "consistency"]  # MS-SSIM has no use for such small images
    assert "Gaps infinite for 1 of 7 (0); Gaps missing for 1 of 7 (0)" in table(result)


def test_a_metric_without_any_value_keeps_its_column(tmp_path):
    class Nothing(Gaps):
        def forward(self, restored, reference=None):
            return torch.full((len(restored),), math.nan)

    RecordWriter(tmp_path).write(evaluate(prediction(IDS), [Nothing()]).rows, "t0")
    result = summary(read_records(tmp_path))
    assert "| gaps |" in table(result).replace("  ", "") and "gaps missing for 7 of 7 (0)" in table(result)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": "Bad Name"}, "needs a name of lower-case letters, .* got 'Bad Name'"),
        ({"name": "level"}, "not reserved, got 'level'"),
        ({"better": "more"}, "better must be 'lower', 'higher' or None, got 'more' of gaps"),
        ({"forward": lambda self, x, y=None: x.mean()}, r"gaps must return one value per image, \[7\], got \(\)"),
    ],
)
def test_a_metric_that_cannot_be_recorded_is_one_sentence(wrong, sentence):
    metric = type("Wrong", (Gaps,), wrong)()
    with pytest.raises(ValueError, match=sentence):
        evaluate(prediction(IDS), standard([metric]))


def test_a_metric_takes_the_place_of_the_standard_one_of_its_name():
    class Ssim(Gaps):
        name = "ssim"

    own = Ssim()
    assert [metric for metric in standard([own]) if metric.name == "ssim"] == [own]
    assert [metric.name for metric in standard([own])] == [metric.name for metric in standard()]
    with pytest.raises(ValueError, match="two metrics are named gaps"):
        standard([Gaps(), Gaps()])
