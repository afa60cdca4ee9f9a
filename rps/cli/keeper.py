"""What the command does inside Lightning's loop: begin and keep the run directory, and note failures."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rps.cli.predict import Run

LONGEST_WAIT = timedelta(days=1)
"""At the end processes wait for each other, for as long as one batch may take; torch would give up after minutes."""


def make_keeper(run: Run) -> Any:
    """The first of the callbacks."""
    from lightning import Callback

    class Keeper(Callback):
        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            if trainer.is_global_zero:
                run.begin()
            trainer.strategy.barrier("the run directory is there")
            if not trainer.is_global_zero:
                run.join()

        def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
            if run.resumed and trainer.is_global_zero:
                run.report_resumed(len(getattr(trainer.datamodule, "skip_ids", ())))

        def on_predict_batch_start(self, *args: Any) -> None:
            run.started = True

        def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *args: Any) -> None:
            assert run.directory is not None
            run.directory.check_there()
            if getattr(outputs, "ids", True):
                run.directory.commit()
            run.failures.update(getattr(outputs, "failures", {}))

    if hasattr(run.trainer.strategy, "_timeout"):
        run.trainer.strategy._timeout = LONGEST_WAIT
    return Keeper()
