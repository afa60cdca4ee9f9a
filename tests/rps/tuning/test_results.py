"""What a search ends with: the order of its table, its sentences, and configs that merge over that of the search."""

import math
from dataclasses import replace

import pytest
import torch

from rps.metrics import standard
from rps.metrics.intervals import Draws
from rps.tuning import Trial, make_objective, read_space
from rps.tuning.figure import trials_plot
from rps.tuning.results import as_config, notes, short_names, table, value_at

SPACE = read_space(["model.sampler.step_size=0.1:10:log", "model.steps=1:50:int"])
NOISE = 0.01 * torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def trial(number, value, state="complete", pictures=32, noise=0.0, reason=None):
    """`noise` is of this trial alone; the other is that of the pictures, which all trials share."""
    own = noise * torch.randn(200, generator=torch.Generator().manual_seed(number), dtype=torch.float64) * 0.1
    figure = None if value is None else Draws(value, value + NOISE + own, 16)
    settings = {"model.sampler.step_size": 0.5 + number, "model.steps": number + 1}
    return Trial(number, settings, state, figure, pictures, 2.0, reason)


TRIALS = [
    trial(0, 0.30), trial(1, 0.20), trial(2, 0.21, noise=0.05), trial(3, 0.15, "pruned", pictures=8),
    trial(4, None, "failed", 0, reason="picture 7: not finite"), trial(5, None, "running", 0),
]  # fmt: skip


def column(text, title):
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return [row[head.index(title)] for row in rows]


def test_completed_trials_come_first_and_are_compared_with_the_best():
    text = table(TRIALS, SPACE, make_objective("rmse", standard()))
    assert column(text, "trial") == ["1", "2", "0", "3", "4", "5"]
    assert column(text, "minus the best")[0] == column(text, "minus the best")[3] == "–"  # noqa: RUF001
    value, se = column(text, "minus the best")[1].split(" ± ")
    assert value == "+0.0100" and float(se) == pytest.approx(0.05, rel=0.2)
    assert column(text, "minus the best")[2] == "+0.1000 ± 0.0000", "the noise of the pictures cancels"
    best = table(TRIALS, SPACE, make_objective("psnr", standard()))
    assert column(best, "trial")[:3] == ["0", "2", "1"]


def test_sentences_name_the_best_what_equals_it_and_what_failed():
    objective = make_objective("rmse", standard())
    found = " ".join(notes(TRIALS, SPACE, objective, TRIALS[1]))
    assert "The best is trial 1: step_size = 1.5, steps = 2: RMSE 0.2000 ± " in found
    assert "Within one standard error of it, paired: trial 2." in found
    assert "Trial 4 failed: picture 7: not finite." in found
    assert "kept" not in found
    assert "settings, trial 2, are kept" in " ".join(notes(TRIALS, SPACE, objective, TRIALS[2]))
    assert notes(TRIALS[3:], SPACE, objective, None) == ["No trial was completed."]


def test_the_figure_needs_a_completed_trial(tmp_path):
    objective = make_objective("rmse", standard())
    trials_plot(TRIALS, SPACE, objective, tmp_path / "trials.png")
    assert (tmp_path / "trials.png").stat().st_size > 10_000
    outside = replace(TRIALS[0], settings={"model.sampler.step_size": None, "model.steps": 0})
    trials_plot([outside, *TRIALS[1:]], SPACE, objective, tmp_path / "outside.png")
    assert (tmp_path / "outside.png").read_bytes() != (tmp_path / "trials.png").read_bytes()
    with pytest.raises(ValueError, match="needs one that was completed"):
        trials_plot(TRIALS[3:], SPACE, objective, tmp_path / "none.png")


def test_options_that_end_alike_keep_their_whole_names():
    space = read_space(["model.sampler.lr=1:2", "model.estimator.lr=1:2", "model.steps=1,2"])
    assert list(short_names(space).values()) == ["model.sampler.lr", "model.estimator.lr", "steps"]


PARSED = {
    "model": {
        "class_path": "modules.MapRps",
        "init_args": {
            "steps": 25,
            "sampler": {"class_path": "rps.samplers.Dps", "init_args": {"step_size": 0.1}},
            "estimator": {"class_path": "my.E", "init_args": {"inner": {"class_path": "my.I", "init_args": {"w": 1}}}},
        },
    }
}


def test_settings_become_a_config_with_the_classes_that_they_belong_to():
    settings = {"model.sampler.step_size": 0.3, "model.steps": 9, "model.estimator.inner.w": 2}
    assert as_config(settings, PARSED) == {
        "model": {
            "init_args": {
                "sampler": {"class_path": "rps.samplers.Dps", "init_args": {"step_size": 0.3}},
                "steps": 9,
                "estimator": {
                    "class_path": "my.E",
                    "init_args": {"inner": {"class_path": "my.I", "init_args": {"w": 2}}},
                },
            }
        }
    }
    both = as_config({"model.sampler.step_size": 0.3, "model.sampler": "Dps"}, PARSED)
    assert both["model"]["init_args"] == {
        "sampler": {"class_path": "rps.samplers.Dps", "init_args": {"step_size": 0.3}}
    }


def test_values_are_found_in_a_config():
    assert value_at("model.sampler.step_size", PARSED) == 0.1
    assert value_at("model.sampler", PARSED) == "rps.samplers.Dps"
    assert value_at("model.nothing.at.all", PARSED) is None
    assert math.isclose(value_at("model.estimator.inner.w", PARSED), 1)
