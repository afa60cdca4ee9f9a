"""A model, data and callbacks that cost nothing, and short ways to run and read them, for the tests of the command."""

import json
import os
import shutil
import signal
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import torch
import yaml

from datamodules import SampleDataModule
from rps.cli import main
from rps.protocol import RunModule

CONFIG = """
model:
  class_path: tests.cli_fakes.FakeModel
  init_args: {noise: 0.1, operator: {class_path: tests.cli_fakes.Blur, init_args: {width: 5}}}
data:
  class_path: tests.cli_fakes.Dots
  init_args: {limit: 4, batch_size: 2}
trainer:
  accelerator: cpu
  callbacks: [{class_path: tests.cli_fakes.Recorder}]
"""


def rps(*arguments: str, output: str | None = "run") -> int:
    where = [] if output is None else ["--output", output]
    return main(["predict", "--config", "fake.yaml", *where, *arguments])


def records(output: str = "run") -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in Path(output, "records").glob("*.parquet")]
    return {row.pop("id"): row for row in found if "reason" not in row}


def failures(output: str = "run") -> dict[str, str]:
    found = [json.loads(path.read_text()) for path in Path(output, "records").glob("*.parquet")]
    return {row["id"]: row["reason"] for row in found if "reason" in row}


def resolved(output: str = "run") -> dict:
    return yaml.safe_load(Path(output, "config.yaml").read_text())


class Op:
    """An operator."""


class Blur(Op):
    def __init__(self, width: int = 3, factor: float | None = None):
        self.width = width


class FakeModel(L.LightningModule, RunModule):
    """Returns what it is given.

    Args:
        trouble: what predict_step does: "", "raise", "bug", "memory", "library", "slow", "exit",
            "SIGINT", "SIGTERM", "fail on 1".
    """

    def __init__(
        self,
        noise: float,
        operator: Op,
        t0: list[int] = [0, 100],  # noqa: B006 - read, never changed
        trouble: str = "",
        seed: int = 0,
    ):
        super().__init__()
        if noise < 0:
            raise ValueError(f"noise must be >= 0, got {noise}")
        if trouble == "bug in constructor":
            {}["nothing"]
        self.noise, self.operator, self.t0, self.trouble, self.seed = noise, operator, t0, trouble, seed

    image_shape = (1, 4, 4)

    def predict_step(self, batch, batch_idx):
        if self.trouble == "raise" or self.trouble == f"fail on {self.global_rank}":
            raise ValueError("the data have 3 channels\nbut the prior has 1")
        if self.trouble == "slow":
            time.sleep(1.5)
        if self.trouble == "bug":
            {}["nothing"]
        if self.trouble == "library":
            torch.zeros(2) + torch.zeros(3)
        if self.trouble == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate everything")
        if self.trouble == "exit":
            sys.exit("these weights are\nfor another model")
        if self.trouble in ("SIGINT", "SIGTERM") and batch_idx == 1:
            os.kill(os.getpid(), getattr(signal, self.trouble))
            time.sleep(20)
        return SimpleNamespace(ids=batch["id"], failures=dict(batch["failed"]), seed=self.seed, image=batch["image"])


class NoSeed(L.LightningModule):
    def predict_step(self, batch, batch_idx):
        return batch


class Dots(SampleDataModule):
    """Pictures of one grey each; those named in bad cannot be read."""

    def __init__(
        self,
        limit: int | None = 4,
        batch_size: int = 2,
        num_workers: int = 0,
        skip: int = 0,
        bad: list[int] = [],  # noqa: B006 - read, never changed
    ):
        super().__init__(batch_size, num_workers, limit, skip)
        self.bad = bad

    def samples(self):
        return [(str(i), Dot(i, i in self.bad)) for i in range(10)]

    def total(self):
        return 10


class DotsFrom(Dots):
    def __init__(self, where: Path, others: set[Path] | None = None):
        super().__init__()


class Dot:
    def __init__(self, value: int, bad: bool):
        self.value, self.bad = value, bad

    def __call__(self):
        if self.bad:
            raise OSError("rotten")
        return torch.full((1, 4, 4), self.value / 10)


class Recorder(L.Callback):
    """What the real MetricRecorder does, in little: one file per sample, then metrics.json and table.md by rank 0."""

    def __init__(self, output: str | None = None):
        self.output = output

    def on_predict_start(self, trainer, pl_module):
        self.folder = Path(self.output or trainer.default_root_dir)
        (self.folder / "records").mkdir(parents=True, exist_ok=True)

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        for name in outputs.ids:
            own = {"seed": outputs.seed, "rank": trainer.global_rank, "noise": pl_module.noise}
            self.write(name, own)
        for name, reason in outputs.failures.items():
            self.write(name, {"reason": reason})

    def write(self, name, row):
        """Under a name that real records have, so that it is known as the run's own."""
        file = f"{0:020d}-00000-1-{zlib.crc32(name.encode()):08x}.parquet"
        (self.folder / "records" / file).write_text(json.dumps({"id": name, **row}))

    def merge(self, trainer):
        if trainer.is_global_zero:
            n, failed = len(records(self.folder)), len(failures(self.folder))
            metrics = {"knob": "t0", "levels": [{"level": 0, "n": n, "failed": failed}]}
            (self.folder / "metrics.json").write_text(json.dumps(metrics))
            (self.folder / "table.md").write_text(f"| level | n |\n|---|---|\n| 0 | {n} |\n")

    def on_predict_end(self, trainer, pl_module):
        trainer.strategy.barrier()
        self.merge(trainer)

    def on_exception(self, trainer, pl_module, exception):
        if isinstance(exception, KeyboardInterrupt):
            self.merge(trainer)


class Extra(L.Callback):
    def on_predict_end(self, trainer, pl_module):
        if trainer.is_global_zero:
            Path(trainer.default_root_dir, "extra.txt").write_text("was here")


class Signals(L.Callback):
    """A second signal arrives while the first is being handled."""

    def on_exception(self, trainer, pl_module, exception):
        os.kill(os.getpid(), signal.SIGTERM)


class Remover(L.Callback):
    """The last thing that happens in a run: somebody removes its directory."""

    def on_predict_end(self, trainer, pl_module):
        shutil.rmtree(trainer.default_root_dir)


class Bar(L.pytorch.callbacks.ProgressBar):
    def __init__(self):
        super().__init__()

    def on_predict_end(self, trainer, pl_module):
        print("moving")

    def disable(self):
        pass
