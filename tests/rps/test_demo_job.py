"""What `rps demo` does with a picture, without its page."""

import numpy as np
import pytest
from PIL import Image

import rps
from rps.cli import demo, main
from rps.cli.demo_job import PAINTED, TASKS, Demo, Job, Stopped
from rps.metrics import as_saved
from rps.report.pictures import pixels


@pytest.fixture(scope="module")
def prior():
    return rps.TiledPrior(rps.EmbeddedPrior())


@pytest.fixture
def made(prior, tmp_path):
    """A demo with pictures of at most 40 pixels, a picture of 40 x 32 and a mask of its left half."""
    values = np.random.default_rng(0).integers(60, 200, (8, 10), dtype=np.uint8)
    Image.fromarray(values).resize((40, 32)).save(tmp_path / "picture.png")
    painted = np.zeros((32, 40, 4), np.uint8)
    painted[:, :20] = (208, 0, 0, 255)
    Image.fromarray(painted).save(tmp_path / "mask.png")
    return Demo({"clothes": lambda: prior}, tmp_path, 40), tmp_path


def job(folder, task=PAINTED, **settings):
    found = TASKS[task]
    given = {"number": found.value, "noise": found.noise, "prior": "clothes", "steps": 6} | settings
    return Job(folder / "picture.png", folder / "mask.png", task, **given)


def test_levels_are_those_of_one_run_with_one_stage_1(made, prior, monkeypatch):
    page, folder = made
    runs = []
    estimate = rps.ProximalMap.estimate_and_spread
    monkeypatch.setattr(rps.ProximalMap, "estimate_and_spread", lambda *given: (runs.append(1), estimate(*given))[1])
    given = job(folder, steps=20)
    before, *levels = page.restore(given, [200, 0, 100])
    moved = list(page.restore(given, [150]))[1]
    assert len(runs) == 1
    assert moved[1].name == "picture_t0_150.png"
    assert before[0] is None and [level for level, _, _ in levels] == [0, 100, 200] and moved[0] == 150
    measurement, _ = page.measurement(given)
    whole = rps.MapRps([0, 100, 150, 200], steps=20, micro_batch=1).run(measurement, prior)
    for level, path, _ in [*levels, moved]:
        assert np.array_equal(np.asarray(Image.open(path)), pixels(as_saved(whole.images[level])[0])), level


def test_what_is_painted_is_missing(made):
    page, folder = made
    measurement, clean = page.measurement(job(folder))
    assert clean is None and measurement.y.shape == (1, 1, 32 * 20)
    picture = np.asarray(Image.open(folder / "picture.png"))
    assert np.abs(measurement.y.view(32, 20).numpy() - (picture[:, 20:] / 127.5 - 1)).max() < 1e-6


@pytest.mark.parametrize("task", TASKS)
def test_every_task_measures_degraded_and_clean_pictures(made, task):
    page, folder = made
    measurement, clean = page.measurement(job(folder, task, noise=0.05))
    height, width = measurement.image_shape[1:]
    assert clean is None and max(height, width) == 40 and measurement.noise_std >= 0.05
    measurement, clean = page.measurement(job(folder, task, noise=0.05, clean=True))
    assert clean.shape == (1, 1, 32, 40) and measurement.image_shape == (1, 32, 40)


def test_clean_pictures_are_compared(made):
    page, folder = made
    noisy, restored = page.restore(job(folder, "It is noisy", noise=0.3, clean=True), [0])
    clean = np.asarray(Image.open(folder / "picture.png")) / 255
    for _, path, about in (noisy, restored):
        error = np.sqrt(np.square(np.asarray(Image.open(path)) / 255 - clean).mean())
        assert about.endswith(f", PSNR {-20 * np.log10(error):.1f} dB")
    assert noisy[2].startswith("40 x 32 pixels from 40 x 32, noise 0.3, ")


def test_an_implausible_blur_is_said(made):
    page, folder = made
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (32, 40), dtype=np.uint8)).save(folder / "picture.png")
    assert "Check: y is not A(x) + noise" in next(page.restore(job(folder, "It is blurred", noise=0.01), [0]))[2]
    assert "Check" not in next(page.restore(job(folder, "It is blurred", noise=0.01, clean=True), [0]))[2]


def test_the_noise_is_estimated(made):
    pytest.importorskip("pywt")
    page, folder = made
    grain = np.random.default_rng(1).normal(128, 0.2 * 127.5, (200, 200)).clip(0, 255).astype(np.uint8)
    Image.fromarray(grain).save(folder / "picture.png")
    page.largest = 200
    assert abs(page.measurement(job(folder, "It is noisy"))[0].noise_std - 0.2) < 0.02


def test_what_cannot_be_done_is_one_sentence(made):
    page, folder = made
    Image.new("RGBA", (40, 32)).save(folder / "mask.png")
    with pytest.raises(ValueError, match="nothing is painted"):
        next(page.restore(job(folder), [0]))
    Image.new("L", (40, 32)).save(folder / "mask.png")
    with pytest.raises(ValueError, match="everything is painted"):
        next(page.restore(job(folder), [0]))
    with pytest.raises(ValueError, match="degraded pictures only"):
        next(page.restore(job(folder, "It is noisy", clean=True), [0]))
    with pytest.raises(ValueError, match="t0"):
        list(page.restore(job(folder, "It is noisy", noise=0.1), [2000]))


def test_stopping_ends_a_level_and_not_the_next_job(made):
    page, folder = made
    given = job(folder, "It is noisy", noise=0.1)
    seen = []

    def stop(part, what):
        seen.append((part, what))
        page.stopped.set()

    with pytest.raises(Stopped):
        list(page.restore(given, [0, 100], stop))
    assert len(seen) == 1 and seen[0][0] < 1 and seen[0][1].startswith("t0 = 0, stage 1")
    assert len(list(page.restore(given, [0]))) == 2
    begun = page.restore(given, [0])
    page.stopped.set()
    with pytest.raises(Stopped):
        list(begun)


def test_bad_options_and_a_missing_package_are_one_sentence(monkeypatch, capsys):
    assert main(["demo", "--largest", "0"]) == 2
    assert "--largest must be at least 8, got 0" in capsys.readouterr().err
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert main(["demo"]) == 2
    assert "pip install 'gradio>=6'" in capsys.readouterr().err
    assert main(["demo", "--help"]) == 0 and "127.0.0.1" in capsys.readouterr().out
