"""The page of a run, made at its end."""

from __future__ import annotations

import lightning as L

from rps.callbacks.base import RunCallback
from rps.report.page import write_page


class ReportPage(RunCallback):
    """RUN/report.html: curve, pictures and figures on one page whose slider is the knob. It is made from metrics.json
    and the pictures that the other callbacks have written; their order does not matter.

    Args:
        output: the run directory; the trainer's default_root_dir when None.
    """

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if summary := self.summary_of_run(trainer, "report"):
            write_page(self.run_directory(trainer), summary)
