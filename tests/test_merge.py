"""`rps merge` makes the figures of the end of the run, also with LPIPS and a reference set."""

import json
from pathlib import Path

import torch
import torchvision

from rps.callbacks import MetricRecorder
from rps.cli import main
from rps.metrics import Statistics
from tests.resume_fakes import close
from tests.rps.predictions import Blocks

CONFIG = """
trainer:
  callbacks:
    - class_path: rps.callbacks.MetricRecorder
      init_args:
        features: {class_path: tests.rps.predictions.Blocks}
        metrics: [{class_path: rps.metrics.Lpips, init_args: {net: alex, weights: alexnet.pth}}]
        reference: others.safetensors
"""
TINY = [
    "--data.limit", "5", "--data.batch_size", "3", "--model.t0", "[0,50]", "--model.steps", "20",
    "--model.estimator.num_steps", "2", "--trainer.accelerator", "cpu",
]  # fmt: skip


def test_merge_with_lpips_and_a_reference_set(tmp_path, monkeypatch, capsys):
    """All of metrics.json and the table, once they are lost."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    weights = {f"features.{name}": v for name, v in torchvision.models.alexnet().features.state_dict().items()}
    torch.save(weights, "alexnet.pth")
    Statistics.from_features(torch.rand(40, 4), "forty others", keep=True).save("others.safetensors")
    Path("metrics.yaml").write_text(CONFIG)
    assert main(["predict", "--config", "demo", "--config", "metrics.yaml", *TINY, "--output", "run"]) == 0
    whole, table = json.loads(Path("run/metrics.json").read_text()), Path("run/table.md").read_text()
    level = whole["levels"][0]["metrics"]
    assert level["lpips"]["mean"] > 0 and level["frechet"]["reference"] == {"images": "forty others", "n": 40}
    assert level["kernel"]["reference_n"] == 40 and "arXiv 1801.03924, version 0.1, alex" in str(whole["definitions"])
    for name in ("metrics.json", "table.md"):
        Path("run", name).unlink()
    capsys.readouterr()
    assert main(["merge", "run"]) == 0
    assert close(json.loads(Path("run/metrics.json").read_text()), whole, 1e-12)
    assert Path("run/table.md").read_text() == table and table.strip() in capsys.readouterr().out
    Path("others.safetensors").unlink()
    assert main(["merge", "run"]) == 2
    assert "others.safetensors with the statistics of a reference set" in capsys.readouterr().err


class OwnRecorder(MetricRecorder):
    """A user's recorder, whose arguments do not say what it compares with."""

    def __init__(self) -> None:
        super().__init__(features=Blocks(), reference="others.safetensors")


def test_a_users_recorder_is_merged_and_compared_with_its_own_reference_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Statistics.from_features(torch.rand(40, 4), "forty others", keep=True).save("others.safetensors")
    given = [*TINY, "--trainer.callbacks", "tests.test_merge.OwnRecorder", "--output", "run"]
    assert main(["predict", "--config", "demo", *given]) == 0
    whole = json.loads(Path("run/metrics.json").read_text())
    assert whole["levels"][0]["metrics"]["frechet"]["reference"] == {"images": "forty others", "n": 40}
    assert main(["merge", "run"]) == 0
    assert close(json.loads(Path("run/metrics.json").read_text()), whole, 1e-12)
    assert main(["compare", "run", "run", "--levels", "0:50", "--output", "c.json"]) == 0
    assert json.loads(Path("c.json").read_text())["comparisons"][0]["reference"] == {"images": "forty others", "n": 40}


def test_help(capsys):
    assert main(["merge", "--help"]) == 0 and capsys.readouterr().out.startswith("usage: rps merge DIR")
