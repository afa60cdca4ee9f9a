"""Figures against the exact posterior, of one run minus another."""

import json

import pytest
import torch

from rps.cli import main
from rps.oracle.measures import figures
from rps.oracle.paired import numbers_of, paired_figures
from rps.records import Row, read_records
from rps.report import compare_runs, paired_table


def rows(bias, n=200, outputs=4):
    """Numbers of n measurements that vary widely, the same in each run, with an error `bias` on top."""
    spread = torch.rand(n, generator=torch.Generator().manual_seed(0)) + 0.5
    numbers = {
        "mmse": spread, "single": spread * (1 + bias), "mean": 0.1 * spread * (1 + bias) ** 2, "trace": spread,
        "mean_zero": torch.full((n,), 1 / outputs), "sliced": spread, "sliced_zero": spread,
    }  # fmt: skip
    return [
        Row(f"s{i}", 0, metrics={"rmse": 0.1, **{f"oracle_{k}": float(v[i]) for k, v in numbers.items()}})
        for i in range(n)
    ]


def test_differences_are_those_of_the_figures_with_a_paired_error():
    """sqrt(E mean) of the second is exactly 1.2 / 1.1 times that of the first, on every resample."""
    a, b = rows(0.1), rows(0.2)
    found = {info.title: (info, figure) for info, figure in paired_figures(a, b)}
    assert set(found) == {"oracle: single dB", "oracle: mean", "oracle: sliced W2"}
    info, figure = found["oracle: mean"]
    alone = [figures(numbers_of(side))["mean"] for side in (a, b)]
    assert figure["run"] == pytest.approx(alone[0].value) and figure["other"] == pytest.approx(alone[1].value)
    assert figure["difference"] == pytest.approx(alone[0].value - alone[1].value)
    assert figure["se"] == pytest.approx(alone[0].se * 0.1 / 1.1, rel=1e-3), "unpaired it would be 15 times as large"
    assert info.better == "lower" and figure["exact"] == pytest.approx(0.5)
    assert found["oracle: single dB"][0].better is None
    assert found["oracle: sliced W2"][1]["difference"] == 0


def test_runs_with_other_numbers_of_outputs_have_no_difference():
    assert paired_figures(rows(0.1), rows(0.1, outputs=9)) == []


@pytest.mark.slow
def test_the_command_compares_them(tmp_path, capsys):
    small = [
        "predict", "--config", "oracle/denoise", "--config", "oracle/exact", "--data.limit", "20",
        "--model.t0", "[0,400]",
    ]  # fmt: skip
    for name, samples, steps in (("a", 4, 3), ("b", 4, 6), ("c", 3, 3)):
        recorder = json.dumps([{"class_path": "rps.oracle.OracleRecorder", "init_args": {"samples": samples}}])
        more = ["--model.steps", str(steps), "--trainer.callbacks", recorder]
        assert main([*small, *more, "--output", str(tmp_path / name)]) == 0
    capsys.readouterr()
    a, b, c = (str(tmp_path / name) for name in "abc")
    assert main(["compare", a, b, c, "--output", str(tmp_path / "x.json")]) == 0
    out = capsys.readouterr().out
    assert "oracle: gap dB" in out and "An exact sampler is expected to have single dB" in out
    assert "Left out of A and C, since their networks, definitions or numbers of outputs differ: oracle." in out
    both, other = json.loads((tmp_path / "x.json").read_text())["comparisons"]
    recorded = [json.loads((tmp_path / name / "metrics.json").read_text())["levels"][1]["oracle"] for name in "ab"]
    found = both["levels"][1]["metrics"]["oracle covariance"]
    assert found["run"] == pytest.approx(recorded[0]["covariance"]["value"])
    assert found["other"] == pytest.approx(recorded[1]["covariance"]["value"])
    assert "oracle covariance" not in other["levels"][1]["metrics"] and read_records(a).judged
    assert "oracle" not in paired_table(compare_runs(a, b))
