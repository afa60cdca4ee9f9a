"""The search on objectives that are known: it finds the best, resumes, shares its trials, and ends hopeless ones."""

import math
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from rps.metrics.intervals import FRECHET_RESAMPLES, STEP, Draws, weights
from rps.tuning import Progress, Search, SettingFails, read_space
from rps.tuning.trials import Trial, choose, in_order, minus

SPACE = read_space(["model.x=0.01:100:log"])
XS = torch.linspace(-2, 2, 41, dtype=torch.float64)
WEIGHTS = 1 + STEP * (torch.cat(list(weights(32, FRECHET_RESAMPLES))) - 1)
NOISE = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def progress(value: float, pictures: int = 32, last: bool = True) -> Progress:
    return Progress(Draws(value, value + 0.1 * NOISE, pictures), pictures, last)


def bowl(settings):
    """Least at x = 3, after each of four parts of the pictures."""
    value = abs(math.log(settings["model.x"] / 3))
    for part in range(1, 5):
        yield progress(value, 8 * part, part == 4)


def found(search: Search) -> list[tuple]:
    return [(t.settings["model.x"], t.state, None if t.figure is None else t.figure.value) for t in search.trials()]


def test_it_finds_the_best_settings(tmp_path):
    search = Search(tmp_path, SPACE, "lower")
    search.run(bowl, 25)
    best = search.choice()
    assert len(search.trials()) == 25 and best.settings["model.x"] == pytest.approx(3, rel=0.3)
    assert best.figure.value == min(t.figure.value for t in search.trials() if t.state == "complete")


def test_higher_may_be_better(tmp_path):
    search = Search(tmp_path, SPACE, "higher", start={"model.x": 3.0})
    search.run(lambda settings: iter([progress(-abs(math.log(settings["model.x"] / 3)))]), 8)
    assert search.choice().number == 0 and search.choice().settings == {"model.x": 3.0}


def test_hopeless_trials_end_early_and_the_best_does_not(tmp_path):
    pruned, whole = Search(tmp_path / "a", SPACE, "lower"), Search(tmp_path / "b", SPACE, "lower", prune=False)
    for search in (pruned, whole):
        search.run(bowl, 12)
    assert {t.state for t in whole.trials()} == {"complete"}
    early = [t for t in pruned.trials() if t.state == "pruned"]
    assert early and all(t.pictures < 32 for t in early)
    median = sorted(t.figure.value for t in whole.trials())[6]
    assert all(t.figure.value > 0.5 * median for t in early)


@pytest.mark.parametrize("over", [["model.x=0.01:100:log"], ["model.x=0.01:100:log", "model.y=a,b"]])
@pytest.mark.parametrize("x", [7, 700, None])
def test_the_configured_settings_come_first_wherever_they_lie(x, over, tmp_path):
    tried = []

    def measure(settings):
        tried.append(settings)
        return bowl({"model.x": settings["model.x"] or 1e-9})

    space = read_space(over)
    start = {name: {"model.x": x, "model.y": "a"}[name] for name in space}
    search = Search(tmp_path, space, "lower", start=start)
    search.run(measure, 13)
    assert [trial.settings for trial in search.trials()] == tried
    assert tried[0] == start and all(0.01 <= settings["model.x"] <= 100 for settings in tried[1:])
    assert search.choice().number > 0 and search.choice().settings["model.x"] == pytest.approx(3, rel=1)


def test_a_grid_is_tried_once(tmp_path):
    space = read_space(["model.x=1,2,4", "model.y=a,b"])
    search = Search(tmp_path, space, "lower", prune=False, start={"model.x": 1, "model.y": "a"})
    search.run(bowl, 100)
    assert [tuple(t.settings.values()) for t in search.trials()] == [(x, y) for x in (1, 2, 4) for y in "ab"]


def test_a_search_that_is_interrupted_equals_one_that_is_not(tmp_path):
    """Twice: in the middle of a trial, and between two."""

    def interrupted(settings):
        for i, after in enumerate(bowl(settings)):
            if len(search.trials()) == 4 and i == 2:
                raise KeyboardInterrupt
            yield after

    once = Search(tmp_path / "once", SPACE, "lower", start={"model.x": 1.0})
    once.run(bowl, 16)
    search = Search(tmp_path / "twice", SPACE, "lower", start={"model.x": 1.0})
    with pytest.raises(KeyboardInterrupt):
        search.run(interrupted, 16)
    assert len(search.trials()) == 3
    search = Search(tmp_path / "twice", SPACE, "lower", start={"model.x": 1.0})
    search.run(bowl, 12)
    search = Search(tmp_path / "twice", SPACE, "lower", start={"model.x": 1.0})
    search.run(bowl, 16)
    assert found(search) == found(once)
    assert len(found(once)) == 16 and len(set(found(once))) == 16


def test_another_seed_is_another_search(tmp_path):
    a, b = (Search(tmp_path / str(seed), SPACE, "lower", seed) for seed in (0, 1))
    for search in (a, b):
        search.run(bowl, 2)
    assert found(a) != found(b)


def test_settings_that_fail_are_kept_with_their_reason(tmp_path):
    def half(settings):
        if settings["model.x"] > 1:
            raise SettingFails("picture 3:\nnot finite")
        return bowl(settings)

    search = Search(tmp_path, SPACE, "lower", start={"model.x": 0.5})
    search.run(half, 10)
    failed = [t for t in search.trials() if t.state == "failed"]
    assert len(search.trials()) == 10 and failed and search.choice().state == "complete"
    assert {t.reason for t in failed} == {"picture 3: not finite"}


def test_an_objective_that_is_not_finite_fails(tmp_path):
    search = Search(tmp_path, SPACE, "lower", start={"model.x": 1.0})
    search.run(lambda settings: iter([progress(math.nan if settings["model.x"] != 1 else 1.0)]), 3)
    assert [t.state for t in search.trials()] == ["complete", "failed", "failed"]


def test_a_search_ends_if_nothing_but_failures_is_found(tmp_path):
    def fails(settings):
        raise ValueError("the noise is not Gaussian")
        yield

    with pytest.raises(ValueError, match="3 trials failed and none completed; the last one: the noise is not Gaussian"):
        Search(tmp_path, SPACE, "lower").run(fails, 20)


def test_a_bug_ends_the_search_and_its_trial_is_tried_again(tmp_path):
    def bug(settings):
        raise KeyError("nothing")
        yield

    search = Search(tmp_path, SPACE, "lower", start={"model.x": 1.0})
    with pytest.raises(KeyError):
        search.run(bug, 2)
    assert search.trials() == []
    search.run(bowl, 1)
    assert search.trials()[0].settings == {"model.x": 1.0}


def test_differences_are_paired(tmp_path):
    search = Search(tmp_path, SPACE, "lower", prune=False)
    search.run(bowl, 2)
    a, b = search.trials()
    difference = minus(a, b)
    assert difference.value == pytest.approx(a.figure.value - b.figure.value)
    assert difference.se < 1e-9 < a.figure.estimate().se


def quadratic_trials(optima: torch.Tensor) -> list[Trial]:
    """Trials at x = -2, -1.9, ..., 2 of the mean over 32 pictures of (x - optimum of the picture)^2."""
    values = (XS - optima[:, None]) ** 2
    figures = [
        Draws(value, draws, 32) for value, draws in zip(values.mean(0).tolist(), (WEIGHTS @ values / 32).T, strict=True)
    ]
    return [Trial(k, {"x": k}, "complete", figure, 32, 0.0) for k, figure in enumerate(figures)]


def test_a_lead_by_luck_keeps_the_configured_settings_and_a_clear_one_does_not():
    """Pictures differ in their optimum, N(0, 1) around 0, so the best of a search is off by 1 / sqrt(32) = .18. Where 0
    is configured, it is kept in 95 % of searches; where 1.5 is, in none."""
    generator = torch.Generator().manual_seed(0)
    kept = []
    for _ in range(100):
        trials = quadratic_trials(torch.randn(32, generator=generator, dtype=torch.float64))
        kept.append(choose(trials, "lower", {"x": 20}).settings == {"x": 20})
        assert choose(trials, "lower", {"x": 35}) is choose(trials, "lower", None) is in_order(trials, "lower")[0]
    assert sum(kept) == pytest.approx(95, abs=3 * 95**0.5 * 0.05**0.5)


def one_process(folder: Path, trials: int, hang: bool = False) -> None:
    def slow(settings):
        for after in bowl(settings):
            time.sleep(0.01)
            if hang and len(search.trials()) == 3:
                (folder / "hangs").touch()
                time.sleep(60)
            yield after

    search = Search(folder, SPACE, "lower", start={"model.x": 1.0})
    search.run(slow, trials)


@pytest.mark.slow
def test_processes_share_the_trials(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=one_process, args=(tmp_path, 12)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    trials = Search(tmp_path, SPACE, "lower").trials()
    assert len(trials) == 12 and {t.state for t in trials} <= {"complete", "pruned"}
    assert len({t.settings["model.x"] for t in trials}) == 12


@pytest.mark.slow
def test_the_trial_of_a_killed_process_is_tried_again(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=one_process, args=(tmp_path, 6, True))
    process.start()
    for _ in range(600):
        if (tmp_path / "hangs").exists():
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    search = Search(tmp_path, SPACE, "lower", start={"model.x": 1.0})
    assert search.trials()[2].state == "running"
    search.run(bowl, 6)
    once = Search(tmp_path / "once", SPACE, "lower", start={"model.x": 1.0})
    once.run(bowl, 6)
    assert found(search) == found(once)
