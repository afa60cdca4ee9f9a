"""The base class of the callbacks: the run directory, and the check of what predict_step returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L

from rps.records.done import Outcomes
from rps.restoration import Prediction


class RunCallback(L.Callback):
    """A callback that writes into the run directory. Subclasses define `on_prediction`.

    Args:
        output: the run directory; the trainer's default_root_dir when None.
    """

    def __init__(self, output: str | None = None) -> None:
        self.output = output

    def run_directory(self, trainer: L.Trainer) -> Path:
        return Path(self.output or trainer.default_root_dir).expanduser()

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(outputs, Prediction):
            raise TypeError(
                "this callback needs a predict_step that returns an rps.restoration.Prediction, got "
                f"{type(outputs).__name__}"
            )
        self.on_prediction(trainer, pl_module, outputs, batch_idx, dataloader_idx)

    def on_prediction(self, trainer: L.Trainer, module: Any, prediction: Prediction, batch: int, loader: int) -> None:
        """Called after every batch.  batch, loader: numbers of the batch and of its dataloader."""

    def lacking(self, run: Path, found: Outcomes) -> set[str]:
        """Samples that an earlier start of the run restored but whose files of this callback are missing.

        They are restored again. found: the outcomes in the records.
        """
        return set()
