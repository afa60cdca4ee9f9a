"""SavedRecorder: the records of a run made anew from its saved pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from rps.callbacks.metric_recorder import MetricRecorder
from rps.cost import Cost
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.progress import Progress, silent
from rps.protocol import run_data, run_module
from rps.records.evaluate import Evaluation
from rps.records.files import file_name, level_name, picture_file
from rps.records.reader import Key, files_of, read_records
from rps.records.reevaluate import PICTURES, reevaluate
from rps.records.rows import Origin, RecordWriter
from rps.records.staging import STAGED, complete
from rps.report.finish import finish
from rps.report.page import write_page
from rps.report.pictures import read_saved
from rps.report.shown import Shown
from rps.restoration import Prediction, Restoration
from rps.traversals.base import Traversal


class SavedRecorder(MetricRecorder):
    """MetricRecorder for the pictures that a run has saved.

    It writes beside the records of the run (rps/records/staging.py), which its own replace once all pictures are
    evaluated. What a picture does not tell is kept: costs, seconds, failures, and the values of metrics that need more
    than the picture.

    Args:
        recorder: its metrics, feature network and reference set are used.
        run: the run.

    ids: of the samples of which there are pictures. Errors: ValueError if some of these are missing, or if the records
    cannot be made from pictures.
    """

    def __init__(self, recorder: MetricRecorder, run: Path) -> None:
        super().__init__(str(run / STAGED), features=recorder.features, reference=recorder.reference)
        self.metrics, self.run = recorder.metrics, run
        self.files = files_of(run)
        self.records = read_records(run, with_features=False)
        if self.records.judged:
            raise ValueError(
                f"{run} was compared with exact posteriors, of which its pictures tell nothing; repeat its rps predict "
                "command with --overwrite"
            )
        if repeated := sorted(self.records.repeated_ids):
            raise ValueError(
                f"two samples of {run} have the id {repeated[0]!r}, but there is one picture of it; give unique ids "
                "and another --output to rps predict"
            )
        self.paths: dict[tuple[Key, str], Path] = {}
        for (kind, level), rows in self.records.rows.items():
            folder = run / "images" / ("measurement" if level is None else level_name(level))
            good = [id_ for id_, row in rows.items() if row.status == "ok" and kind in PICTURES]
            self.paths |= {((kind, level), id_): picture_file(folder, file_name(id_)) for id_ in good}
        self.ids = {id_ for _, id_ in self.paths}
        if lacking := [path for path in self.paths.values() if not path.is_file()]:
            raise ValueError(
                f"{run} lacks {len(lacking)} of its pictures, such as {lacking[0]}; repeat its rps predict command "
                "with rps.callbacks.ImageWriter, which restores them again"
            )

    def _skip_done(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if files_of(self.run) != self.files:
            raise ValueError(f"{self.run} was written to by another run just now; try again")
        run_data(trainer).check_recorded(self.ids)
        run_module(pl_module).skip_ids = run_data(trainer).skip_ids = frozenset()

    def made_with(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Origin:
        now, before = super().made_with(trainer, pl_module), self.records.origin
        model = {name: digest for name, digest in before.hashes.items() if name == "model"}
        if changed := Origin(model, data=before.data).changes(now):
            raise ValueError(
                f"the records in {self.run} were made with other inputs: {'; '.join(changed)}; restore them"
            )
        return replace(now, relative_cost=before.relative_cost, module=before.module)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_predict_start(trainer, pl_module)
        if trainer.is_global_zero:
            rows = [row for of_key in self.records.rows.values() for row in of_key.values() if row.status == "failed"]
            RecordWriter(self.run_directory(trainer)).write(rows, self.records.knob, origin=self.origin)

    def evaluate(self, module: Any, prediction: Prediction) -> Evaluation:
        for id_ in sorted(self.ids & prediction.failures.keys()):
            raise ValueError(f"the clean picture of {id_!r} cannot be used any more: {prediction.failures[id_]}")
        y, shape = prediction.measurement.y, prediction.measurement.image_shape
        dtype = torch.promote_types(y.dtype, torch.float32)

        def picture(key: Key, id_: str) -> Tensor:
            return read_saved(self.paths[key, id_], shape, dtype).to(y.device)

        return reevaluate(prediction, picture, self.records, self.metrics, self.features)

    def _record_missing(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Errors: ValueError for pictures of samples that the data do not have any more."""
        made = read_records(self.run_directory(trainer), with_features=False).rows
        gone = sorted({id_ for key, id_ in self.paths if id_ not in made.get(key, {})})
        if gone:
            more = f", and {len(gone) - 3} more" if len(gone) > 3 else ""
            raise ValueError(
                f"the run has pictures of {', '.join(map(repr, gone[:3]))}{more}, which the data no longer have; "
                "restore what was removed or renamed"
            )

    def _finish(self, trainer: L.Trainer) -> None:
        result, curve = finish(self.run_directory(trainer)), self.run_directory(trainer) / "dp_curve.png"
        there = curve.is_file()
        complete(self.run)
        if not there:
            (self.run / curve.name).unlink(missing_ok=True)
        shown = Shown(self.run.resolve().name, self.run, read_records(self.run, with_features=False), result)
        write_page(self.run / "report.html", [shown])
        self.unmerged = False

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """The records are as they were."""


class NoLevels(Traversal):
    """Restores nothing and calls no network: what there is to evaluate is saved."""

    def __init__(self, knob: str) -> None:
        self.knob, self.levels = knob, ()

    def run(self, measurement: Measurement, prior: Prior, progress: Progress = silent) -> Restoration:
        return Restoration(self.knob, [], {}, {}, Cost(), {})

    def network_calls_per_image(self, prior: Prior) -> int:
        return 0
