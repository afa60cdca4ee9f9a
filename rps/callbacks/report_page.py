"""The page of a run, made at its end."""

from __future__ import annotations

import json

import lightning as L

from rps.callbacks.base import RunCallback
from rps.records.reader import read_records
from rps.report.page import write_page


class ReportPage(RunCallback):
    """RUN/report.html: curve, pictures and figures on one page whose slider is the knob. It is made from metrics.json,
    the records and the pictures that the other callbacks have written; their order does not matter.

    Args:
        output: the run directory; the trainer's default_root_dir when None.
    """

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        run = self.run_directory(trainer)
        if not (run / "metrics.json").is_file():
            print(f"no report: {run} has no metrics.json, which MetricRecorder writes")
            return
        summary = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        write_page(run, summary, read_records(run).failures())
