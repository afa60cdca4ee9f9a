"""A folder in which some pictures are broken and one is tiny, with a prior that fails on one: the rest is done."""

import json
from copy import copy
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from rps.cli import main
from rps.priors import Prior
from rps.randomness import Streams
from rps.schedule import Schedule

CONFIG = """
model:
  class_path: modules.MapRps
  init_args:
    prior: {class_path: tests.test_broken_folder.NanFor, init_args: {name: "030"}}
    operator: {class_path: rps.operators.SuperResolution, init_args: {factor: 2}}
    noise: 0.1
    t0: [0, 50]
    steps: 40
    estimator: {class_path: rps.estimators.MapEstimator, init_args: {num_steps: 2}}
data: {class_path: datamodules.ImageFolder, init_args: {folder: pictures, batch_size: 8}}
trainer:
  accelerator: cpu
  enable_progress_bar: false
  callbacks:
    - {class_path: rps.callbacks.MetricRecorder, init_args: {features: {class_path: tests.rps.predictions.Blocks}}}
"""

REASONS = {
    "003": "not a picture",  # a text
    "011": "cannot be read",  # nothing at all
    "017": "cannot be read",  # a JPEG that was cut
    "024": "cannot be read",  # a PNG that was cut
    "042": "cannot be read",  # a PNG with damaged content
    "045": "1 x 1, smaller than the 8 x 8",
    "030": "not finite",
}


class NanFor(Prior):
    """x_0 ~ N(0, I), but NaN for the sample of this name, which is known by its random numbers."""

    def __init__(self, name: str):
        super().__init__()
        self.schedule, self.sample_shape = Schedule.linear(), (1, 8, 8)
        self.key, self.keys = Streams(0, [name]).keys, torch.zeros(0, 2)

    def given(self, measurement):
        prior = copy(self)
        prior.keys = measurement.streams.keys
        return prior

    def denoise(self, x, t):
        alpha, sigma = self.schedule.at(t, x)
        bad = (self.keys == self.key).all(1).view(-1, 1, 1, 1)
        return self.from_x0(x, (alpha * x / (alpha**2 + sigma**2)).masked_fill(bad, torch.nan), t)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """-> the run directory, its exit code, and what it printed."""
    folder = tmp_path_factory.mktemp("broken")
    pictures = folder / "pictures"
    pictures.mkdir()
    generator = np.random.default_rng(0)
    for i in range(50):
        pixels = generator.integers(256, size=(24, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{i:03d}.{'jpg' if i == 17 else 'png'}")
    for name, size in (("017.jpg", 200), ("024.png", 300)):
        (pictures / name).write_bytes((pictures / name).read_bytes()[:size])
    (pictures / "003.png").write_text("this is no picture\n" * 20)
    (pictures / "011.png").write_bytes(b"")
    content = bytearray((pictures / "042.png").read_bytes())
    content[60:] = generator.integers(256, size=len(content) - 60, dtype=np.uint8).tobytes()
    (pictures / "042.png").write_bytes(bytes(content))
    Image.new("L", (1, 1)).save(pictures / "045.png")
    (folder / "config.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context() as quiet:
        patch.chdir(folder)
        output = folder / "output"
        with output.open("w") as stream:
            quiet.setattr("sys.stderr", stream)
            code = main(["predict", "--config", "config.yaml", "--output", "run"])
    return folder / "run", code, output.read_text()


def test_all_others_are_good_records(outcome):
    run, _, _ = outcome
    rows = [row for file in (run / "records").glob("*.parquet") for row in pyarrow.parquet.read_table(file).to_pylist()]
    for level in (0, 50):
        of_level = {row["id"]: row for row in rows if row["kind"] == "restored" and row["level"] == level}
        assert len(of_level) == 50
        failed = {id_: row for id_, row in of_level.items() if row["status"] == "failed"}
        assert set(failed) == set(REASONS), "43 are good"
        for id_, words in REASONS.items():
            assert words in failed[id_]["reason"] and failed[id_]["rmse"] is None
        assert all(0 < row["rmse"] < 1 for id_, row in of_level.items() if id_ not in failed)


def test_intervals_are_over_the_good_ones(outcome):
    levels = json.loads((outcome[0] / "metrics.json").read_text())["levels"]
    assert [(level["level"], level["n"], level["failed"]) for level in levels] == [(0, 43, 7), (50, 43, 7)]
    for level in levels:
        for name in ("rmse", "psnr", "consistency"):
            low, high = level["metrics"][name]["ci95"]
            assert low < level["metrics"][name]["mean"] < high
        assert level["metrics"]["frechet"]["n"] == 43


def test_exit_code_and_table_tell(outcome):
    run, code, output = outcome
    assert code == 3
    assert "7 samples failed; the reasons are in records/." in (run / "table.md").read_text()
    assert "rps: 7 samples failed; the others are done" in output
    for id_, words in REASONS.items():
        (line,) = [line for line in output.splitlines() if line.startswith(f"rps: failed: {id_}: ")]
        assert words in line
    assert "Traceback" not in output


def test_the_same_command_leaves_failures_alone_and_retry_tries_them(outcome, monkeypatch):
    """A picture that was mended is done with --retry_failed, and not without."""
    run, _, _ = outcome
    monkeypatch.chdir(run.parent)
    Image.fromarray(np.full((24, 24), 99, dtype=np.uint8)).save(Path("pictures/003.png"))
    command = ["predict", "--config", "config.yaml", "--output", "run"]
    for more, good in (([], 43), (["--retry_failed"], 44)):
        assert main([*command, *more]) == 3
        level = json.loads((run / "metrics.json").read_text())["levels"][0]
        assert (level["n"], level["failed"]) == (good, 50 - good)


def test_a_picture_beside_a_failed_one_of_the_same_name_is_refused(outcome, monkeypatch, capsys):
    """011.png could not be read; with 011.jpg beside it, its id would change."""
    run, _, _ = outcome
    monkeypatch.chdir(run.parent)
    Image.new("L", (24, 24)).save("pictures/011.jpg")
    before = (run / "metrics.json").read_bytes()
    assert main(["predict", "--config", "config.yaml", "--output", "run"]) == 2
    assert "rps: error: the run has a record of '011', but 011." in capsys.readouterr().err
    Path("pictures/011.jpg").unlink()
    assert main(["predict", "--config", "config.yaml", "--output", "run"]) == 3
    assert (run / "metrics.json").read_bytes() == before
