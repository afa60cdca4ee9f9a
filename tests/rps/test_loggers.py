"""What a run sends to the loggers of its Trainer."""

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from PIL import Image
from torch.utils.data import DataLoader

from rps.callbacks import GridWriter, MetricRecorder
from rps.callbacks.loggers import level_figures, level_steps, log_picture
from tests.rps.predictions import LEVELS, Blocks
from tests.rps.test_callbacks import BATCHES, Restorer
from tests.trainers import quiet


class Kept(Logger):
    """Keeps what it is given, in the manner of W&B."""

    name, version = "kept", 0

    def __init__(self):
        super().__init__()
        self.metrics, self.images = {}, {}

    def log_hyperparams(self, params):
        pass

    def log_metrics(self, metrics, step=None):
        self.metrics[step] = metrics

    def log_image(self, key, images):
        self.images[key] = images


def predict(root, *loggers, batches=BATCHES, **options):
    trainer = quiet(callbacks=[MetricRecorder(features=Blocks()), GridWriter()], default_root_dir=root, logger=loggers)
    trainer.predict(Restorer(**options), DataLoader(batches, batch_size=None), return_predictions=False)
    return json.loads((Path(root) / "metrics.json").read_text())


def test_every_figure_of_every_level_and_every_picture(tmp_path):
    """By the names of metrics.json, with standard errors, at the level as the step; in each of several loggers."""
    loggers = Kept(), Kept()
    result = predict(tmp_path, *loggers)
    for kept in loggers:
        assert list(kept.metrics) == list(LEVELS) == [entry["level"] for entry in result["levels"]]
        for entry in result["levels"]:
            logged, metrics = kept.metrics[entry["level"]], entry["metrics"]
            assert logged["t0"] == entry["level"] and logged["n"] == 6 and logged["failed"] == 0
            assert logged["rmse"] == metrics["rmse"]["mean"] and logged["rmse_se"] == metrics["rmse"]["se"]
            assert logged["frechet"] == metrics["frechet"]["value"]
            assert logged["sqrt_frechet"] == metrics["frechet"]["sqrt"]
            assert logged["sqrt_frechet_se"] == metrics["frechet"]["se_sqrt"]
            assert {name for name in metrics if math.isfinite(metrics[name].get("mean") or 0)} <= set(logged)
            assert all(math.isfinite(value) for value in logged.values())
        grids = {f"grids/rank0_batch{i:05d}" for i in range(3)}
        assert set(kept.images) == {"dp_curve", *grids}
        assert all(Path(path).is_file() for (path,) in kept.images.values())


def test_the_csv_logger_of_lightning(tmp_path):
    result = predict(tmp_path / "run", CSVLogger(tmp_path / "logs"))
    with (tmp_path / "logs/lightning_logs/version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(LEVELS)
    assert [float(row["psnr"]) for row in rows] == [entry["metrics"]["psnr"]["mean"] for entry in result["levels"]]


def test_the_tensorboard_logger_of_lightning(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = predict(tmp_path / "run", TensorBoardLogger(tmp_path / "logs"))
    events = EventAccumulator(str(tmp_path / "logs/lightning_logs/version_0")).Reload()
    logged = [(event.step, event.value) for event in events.Scalars("rmse")]
    expected = [(entry["level"], entry["metrics"]["rmse"]["mean"]) for entry in result["levels"]]
    assert logged == [(level, pytest.approx(value)) for level, value in expected]
    assert "dp_curve" in events.Tags()["images"] and "grids/rank0_batch00002" in events.Tags()["images"]


@pytest.mark.parametrize(
    ("levels", "steps"),
    [([0, 50, 100.0], [0, 50, 100]), ([4, 1], [4, 1]), ([0.1, 1.0], [0, 1]), ([-1, 0, 2], [0, 1, 2]), ([], [])],
)
def test_steps_are_the_levels_if_these_can_be_steps(levels, steps):
    """Else their places; the level itself is logged under the name of the knob."""
    assert level_steps(levels) == steps
    assert all(level_figures("share", {"level": x, "n": 1, "metrics": {}})["share"] == x for x in levels)


def test_figures_of_the_oracle_are_logged_too():
    entry = {"level": 0, "n": 2, "metrics": {}, "oracle": {"coverage": {"value": 0.5, "se": 0.1, "zero": 0.5}}}
    figures = level_figures("t0", entry)
    assert figures == {"t0": 0, "n": 2, "oracle_coverage": 0.5, "oracle_coverage_se": 0.1}


def test_pictures_in_the_manner_of_each_logger(tmp_path):
    calls = []
    (tmp_path / "grids").mkdir()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(path := tmp_path / "grids" / "a.png")

    def add_image(name, array, dataformats):
        calls.append((name, array.shape, np.unique(array).tolist(), dataformats))

    log_picture(SimpleNamespace(experiment=SimpleNamespace(add_image=add_image)), "grids/a", path)
    mlflow = SimpleNamespace(log_artifact=lambda *given: calls.append(given))
    log_picture(SimpleNamespace(experiment=mlflow, run_id="7"), "grids/a", path)
    log_picture(SimpleNamespace(experiment=mlflow, run_id="7"), "dp_curve", path)
    log_picture(SimpleNamespace(experiment=None), "dp_curve", path)
    assert calls == [("grids/a", (2, 3, 3), [1, 2, 3], "HWC"), ("7", str(path), "grids"), ("7", str(path), None)]


def test_nothing_is_logged_of_a_run_that_restored_nothing(tmp_path):
    kept = Kept()
    predict(tmp_path, kept, batches=[["?"]])
    assert kept.metrics == {} and kept.images == {}


def test_a_run_that_fails_is_not_logged(tmp_path):
    kept = Kept()
    with pytest.raises(ValueError, match="bad"):
        predict(tmp_path, kept, batches=[["a", "b"], ["!"]], error=ValueError("bad"))
    assert json.loads((tmp_path / "metrics.json").read_text())["levels"][0]["n"] == 2
    assert kept.metrics == {}
