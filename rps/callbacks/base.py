"""What the callbacks share: where the run directory is, and what predict_step must return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L

from rps.records.done import Outcomes
from rps.restoration import Prediction


class RunCallback(L.Callback):
    """A callback that writes into the run directory.

    Args:
        output: the run directory; the trainer's default_root_dir when None.
    """

    def __init__(self, output: str | None = None) -> None:
        self.output = output

    def run_directory(self, trainer: L.Trainer) -> Path:
        return Path(self.output or trainer.default_root_dir).expanduser()

    def lacking(self, run: Path, found: Outcomes) -> set[str]:
        """Samples that an earlier start of the run has restored, but whose files of this callback are missing.

        They are restored again. found: what the records say.
        """
        return set()


def as_prediction(outputs: Any) -> Prediction:
    """The outputs of a predict_step, which must be a Prediction."""
    if not isinstance(outputs, Prediction):
        raise TypeError(
            "this callback needs a predict_step that returns an rps.restoration.Prediction, got "
            f"{type(outputs).__name__}"
        )
    return outputs
