"""The packaged configs under a plain LightningCLI, which knows nothing of this package."""

import csv
import json
from pathlib import Path

import pytest
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI

from rps.cli.arguments import packaged_configs

pytestmark = pytest.mark.slow


def test_the_demo_runs_as_it_is(tmp_path, monkeypatch):
    """In Lightning's inference mode, with the logger that Lightning chooses."""
    monkeypatch.chdir(tmp_path)
    small = ["--data.limit", "2", "--model.steps", "3", "--model.estimator.num_steps", "2"]
    trainer = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "run", "--trainer.default_root_dir", "run"]
    cli = LightningCLI(
        LightningModule, LightningDataModule, subclass_mode_model=True, subclass_mode_data=True,
        seed_everything_default=False,
        args=["predict", "--config", str(packaged_configs()["demo"]), *small, *trainer],
    )  # fmt: skip
    assert cli.config.predict.trainer.inference_mode
    levels = json.loads(Path("run/metrics.json").read_text())["levels"]
    assert [(level["level"], level["n"]) for level in levels] == [(t0, 2) for t0 in (0, 50, 100, 200, 400)]
    assert len(list(Path("run/images/400").glob("*.png"))) == 2
    with Path("run/lightning_logs/version_0/metrics.csv").open() as file:
        rows = {int(row["step"]): float(row["rmse"]) for row in csv.DictReader(file)}
    assert rows == {level["level"]: level["metrics"]["rmse"]["mean"] for level in levels}
