"""`rps predict` on the embedded default, as a user runs it: results, invariance, failures, own pictures, operators."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rps.cli import main
from tests.resume_fakes import fork, log, wait

SMALL = [
    "predict", "--config", "demo", "--data.limit", "5", "--data.batch_size", "3", "--model.t0", "[0,100]",
    "--model.steps", "20", "--model.estimator.num_steps", "3", "--trainer.accelerator", "cpu",
]  # fmt: skip


def predict(*arguments: str, expect: int = 0) -> None:
    """Runs in this process; `rps predict` in a process of its own costs 15 seconds of imports on two cores."""
    assert main([*SMALL, *arguments]) == expect


def metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def pixels(run: Path) -> dict[str, np.ndarray]:
    return {str(p.relative_to(run)): np.asarray(Image.open(p)).astype(int) for p in sorted(run.glob("images/*/*.png"))}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "demo"
    predict("--output", str(output))
    return output


def test_run_directory(run):
    result = metrics(run)
    assert result["knob"] == "t0"
    assert [level["level"] for level in result["levels"]] == [0, 100]
    for level, calls in zip(result["levels"], (3, 5), strict=True):
        assert level["n"] == 5 and level["failed"] == 0
        assert level["network_calls_per_image"] == calls
        assert {"rmse", "psnr", "ssim", "consistency", "frechet"} <= set(level["metrics"])
    for name in ("config.yaml", "table.md", "dp_curve.png", "report.html"):
        assert (run / name).stat().st_size > 0
    assert len(list((run / "images" / "100").glob("*.png"))) == 5
    assert list((run / "grids").glob("*.png"))


def test_metrics_are_of_the_saved_files(run):
    """RMSE recomputed from the PNGs and the parquet of the package."""
    from datasets import load_dataset

    from datamodules.embedded import PARQUET

    rows = {row["id"]: row["image"] for row in load_dataset("parquet", data_files=str(PARQUET), split="train[:5]")}
    errors = []
    for id_, image in rows.items():
        saved = np.asarray(Image.open(run / "images" / "100" / f"{id_}.png")) / 255
        errors.append(np.sqrt(np.mean((saved - np.asarray(image) / 255) ** 2)))
    assert metrics(run)["levels"][1]["metrics"]["rmse"]["mean"] == pytest.approx(np.mean(errors), abs=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data.batch_size", "1"],
        ["--data.num_workers", "2"],
        ["--model.t0", "[300,100,0]"],
        ["--model.micro_batch", "2"],
        ["--trainer.devices", "2"],
    ],
    ids=["batch of 1", "2 workers", "other levels", "micro-batch", "2 processes"],
)
def test_result_does_not_depend_on(run, tmp_path, arguments, monkeypatch):
    """Batch size, workers, levels beside it, micro-batch, processes: the same images up to one grey value."""
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "other"
    if "--trainer.devices" in arguments:
        assert wait(fork([*SMALL, *arguments, "--output", str(output)], processes=2)) == 0, log()
    else:
        predict(*arguments, "--output", str(output))
    mine, theirs = pixels(output), pixels(run)
    assert set(theirs) <= set(mine)
    for name, image in theirs.items():
        difference = np.abs(mine[name] - image)
        assert difference.max() <= (0 if "measurement" in name else 1), name
    rmse = {level["level"]: level["metrics"]["rmse"]["mean"] for level in metrics(output)["levels"]}
    for level in metrics(run)["levels"]:
        assert rmse[level["level"]] == pytest.approx(level["metrics"]["rmse"]["mean"], abs=1e-5)


def test_seed_changes_the_result(run, tmp_path):
    predict("--seed", "1", "--output", str(tmp_path / "seed1"))
    assert any(
        not np.array_equal(a, b) for a, b in zip(pixels(run).values(), pixels(tmp_path / "seed1").values(), strict=True)
    )


def test_a_changed_config_is_refused_and_nothing_is_touched(run, capsys):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    predict("--model.estimator.lr", "0.2", "--output", str(run), expect=2)
    assert "model.estimator.lr was 0.3 and is now 0.2" in capsys.readouterr().err
    assert before == {p: p.stat().st_mtime_ns for p in run.rglob("*")}


def test_config_of_a_run_repeats_it(run, tmp_path):
    assert main(["predict", "--config", str(run / "config.yaml"), "--output", str(tmp_path / "again")]) == 0
    for name, image in pixels(run).items():
        assert np.array_equal(image, pixels(tmp_path / "again")[name])


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Colour pictures of several sizes, one of them broken and one too small."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    Image.fromarray(data.camera()).save(folder / "camera.jpg")
    Image.fromarray(data.coffee()).resize((90, 60)).save(folder / "coffee.png")
    (folder / "broken.png").write_bytes((folder / "astronaut.png").read_bytes()[:2000])
    Image.new("L", (8, 8)).save(folder / "tiny.png")
    return folder


def test_own_clean_pictures_with_a_broken_and_a_small_one(photos, tmp_path, capsys):
    """The others are done, the failures have a reason, the exit code tells."""
    predict("--data.folder", str(photos), "--output", str(tmp_path / "run"), expect=3)
    result = metrics(tmp_path / "run")
    assert [(level["n"], level["failed"]) for level in result["levels"]] == [(3, 2), (3, 2)]
    assert "rmse" in result["levels"][0]["metrics"]
    assert "broken" in capsys.readouterr().err


def test_restoration_of_degraded_pictures_without_references(tmp_path):
    """8 x 8 pictures are the measurements of sr4: no distortion is reported, only consistency and the images."""
    folder = tmp_path / "small"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(np.full((8, 8), 60 * i + 40, dtype=np.uint8)).save(folder / f"{i}.png")
    predict("--data.folder", str(folder), "--data.degraded", "true", "--output", str(tmp_path / "run"))
    reported = metrics(tmp_path / "run")["levels"][0]["metrics"]
    assert "consistency" in reported and "rmse" not in reported and "psnr" not in reported
    assert (tmp_path / "run" / "images" / "0" / "1.png").is_file()


@pytest.mark.parametrize("sizes", [[(32, 32)], [(8, 8), (32, 32)]], ids=["none fits", "one fits"])
def test_degraded_pictures_that_cannot_fit_are_reported_before_any_sample(sizes, tmp_path, capsys):
    """Those of the image's size are never degraded once more: y is a picture itself."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k, size in enumerate(sizes):
        Image.new("L", size, 90).save(folder / f"{k}.png")
    fits = len(sizes) - 1
    given = ["--data.folder", str(folder), "--data.degraded", "true", "--output", str(tmp_path / "run")]
    predict(*given, expect=3 if fits else 2)
    sentence = "degraded pictures have shape (1, 32, 32), expected the shape of the measurement (1, 8, 8)"
    if fits:
        assert metrics(tmp_path / "run")["failures"]["1"].startswith(sentence)
    else:
        assert capsys.readouterr().err.count(sentence) == 1 and not (tmp_path / "run").exists()


def test_the_spread_of_samples_is_a_picture_and_on_the_page(tmp_path):
    predict("--model.t0", "[0,100]", "--model.samples", "3", "--output", str(tmp_path / "run"))
    images, level = tmp_path / "run" / "images", metrics(tmp_path / "run")["levels"][1]["metrics"]
    assert not (images / "0_std").exists() and level["variance_ratio"]["mean"] > 0
    for path in (images / "100").iterdir():
        std = np.asarray(Image.open(images / "100_std" / path.name)) / 255 / 4
        assert 0 < std.mean() < 0.25
    assert f"images/100_std/{path.name}" in (tmp_path / "run" / "report.html").read_text()
    predict("--config", "demo", "--model.t0", "[50]", "--output", str(tmp_path / "run"), "--overwrite")
    assert not (images / "100_std").exists()


BAD = {
    "missing folder": (["--data.folder", "/nonexistent/pictures"], "/nonexistent/pictures"),
    "negative noise": (["--model.noise", "-0.1"], "noise must have a std >= 0"),
    "t0 above T": (["--model.t0", "[0,2000]"], "t0 must be between 0 and the number of timesteps 1000"),
    "channel mismatch": (["--data.folder", "PHOTOS", "--data.channels", "3"], "channels"),
    "a box too large": (
        ["--model.operator", "BoxInpaint", "--model.operator.size", "40"],
        "does not fit into an image",
    ),
    "bad micro batch": (["--model.micro_batch", "0"], "micro_batch"),
    "no such prior": (
        ["--model.prior", "rps.priors.DiffusersPrior.from_pretrained", "--model.prior.path", "./none"],
        "./none",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case, tmp_path, photos, capsys):
    arguments, expected = BAD[case]
    arguments = [str(photos) if a == "PHOTOS" else a for a in arguments]
    assert main([*SMALL, *arguments, "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("rps: error: ") and expected in error
    assert "Traceback" not in error and len(error.splitlines()) == 1


def test_empty_folder(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    predict("--data.folder", str(tmp_path / "empty"), "--output", str(tmp_path / "run"), expect=2)
    assert "no image" in capsys.readouterr().err


def test_ctrl_c(tmp_path, monkeypatch):
    """One sentence, exit code 130, and what was done is kept."""
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "run"
    process = fork([*SMALL, "--data.limit", "500", "--data.batch_size", "2", "--output", str(output)])
    deadline = time.monotonic() + 200
    while not list(output.glob("records/[!.]*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.kill(process, signal.SIGINT)
    assert wait(process) == 130
    assert log().count("rps: interrupted") == 1 and "Traceback" not in log()
    assert metrics(output)["levels"][0]["n"] >= 2
