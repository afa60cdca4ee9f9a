"""The distortion-perception curve, drawn at the end of a run."""

from __future__ import annotations

import lightning as L

from rps.callbacks.base import RunCallback
from rps.printable import printable
from rps.report.curve import dp_curve_plot


class CurvePlot(RunCallback):
    """RUN/dp_curve.png from RUN/metrics.json, which MetricRecorder writes; their order does not matter.

    Args:
        output: the run directory; the trainer's default_root_dir when None.
    """

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        summary = self.summary_of_run(trainer, "distortion-perception curve")
        if not summary:
            return
        try:
            dp_curve_plot(summary, self.run_directory(trainer) / "dp_curve.png")
        except ValueError as reason:
            print(f"no distortion-perception curve: {printable(reason)}")
