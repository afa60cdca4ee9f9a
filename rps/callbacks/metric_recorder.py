"""MetricRecorder: records of every sample and level, merged at the end of the run."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from rps.callbacks.barrier import PatientBarrier
from rps.callbacks.base import RunCallback
from rps.callbacks.loggers import log_run
from rps.measurement import degrade
from rps.metrics.base import Candidate, Metric
from rps.metrics.features import FeatureNetwork, load_reference
from rps.metrics.frechet import Statistics
from rps.metrics.hashes import file_hash, network_hash
from rps.metrics.standard import standard
from rps.operators.identity import Denoise
from rps.printable import printable
from rps.protocol import run_data, run_module
from rps.records.directory import is_run
from rps.records.done import NO_SAMPLE, Outcomes, lacking_features, levels_left, outcomes, recorded_ids
from rps.records.earlier import Earlier, read_earlier
from rps.records.evaluate import Evaluation, evaluate
from rps.records.module_settings import module_settings
from rps.records.reader import has_records, read_origin
from rps.records.rows import REFERENCE, Origin, RecordWriter, Row
from rps.report.finish import finish
from rps.restoration import Level, Prediction


class MetricRecorder(RunCallback):
    """Records metrics per sample and level; computes means, intervals and Frechet distances at the end of the run.

    After every batch, it writes one small file each to RUN/records and RUN/features; nothing is kept in memory, and no
    process waits for another. At the end, process zero merges all files into metrics.json, table.md, dp_curve.png and
    report.html (in on_predict_epoch_end, so that any callback finds them in its on_predict_end) and sends figures,
    curve and grids to the Trainer's loggers. A run that is interrupted or fails keeps what it has written, merged if
    possible.

    If there are records, the run resumes: samples with a record at every level are passed to the datamodule as
    `skip_ids` (ours honour it before they read a picture) and to the module (for other data), and are not restored
    again, on any number of processes. Samples with a record at some levels are passed as `levels_left` and restored at
    the others. A record promises that all other outputs exist, so this callback moves itself behind all others.
    Records of a module with other settings (operator, noise, seed, traversal, ...; see
    rps.protocol.RunModule.result_settings) are refused before anything is restored.

    Args:
        output: the run directory; the trainer's default_root_dir when None.
        metrics: more metrics, such as rps.metrics.Lpips or your own (rps.metrics.Metric), in addition to
            rps.metrics.standard; one with the name of a standard metric replaces it.
        features: the feature network of the Frechet distance, e.g. rps.metrics.EmbeddedFeatures; None: no distance.
        reference: the reference set of the Frechet distance: a file written by rps.metrics.Statistics.save, or
            "embedded" for that of EmbeddedFeatures; None is the run's own clean images.
        retry_failed: whether to retry samples whose failure an earlier run recorded.
    """

    def __init__(
        self,
        output: str | None = None,
        metrics: list[Metric] | None = None,
        features: FeatureNetwork | None = None,
        reference: str | None = None,
        retry_failed: bool = False,
    ) -> None:
        super().__init__(output)
        if reference is not None and features is None:
            raise ValueError(f"reference {reference} needs a feature network for the Frechet distance; give features")
        self.metrics = standard(metrics or ())
        self.features = features
        self.reference = reference
        self.retry_failed = retry_failed
        self.statistics: Statistics | None = None
        self.origin = self.before = Origin()  # what the records are made with, and what those that are there were
        self.earlier = Earlier()
        self.barrier: PatientBarrier | None = None
        self.unmerged = False  # whether there are records that have not been merged

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Checks everything that can fail before the first network call, on every process alike."""
        if stage != "predict":
            return
        self.unmerged = False
        self.barrier = PatientBarrier(trainer)
        self.statistics = None if self.reference is None else load_reference(self.reference)
        if self.statistics and self.features and len(self.statistics.mean) != self.features.dim:
            raise ValueError(
                f"{self.reference} has {len(self.statistics.mean)} features but {self.features.name} has "
                f"{self.features.dim}; give a reference from the same feature network"
            )
        trainer.callbacks = [c for c in trainer.callbacks if c is not self] + [self]  # type: ignore[attr-defined]
        self._skip_done(trainer, pl_module)

    def _skip_done(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sets skip_ids and levels_left, the same on all processes, before any of them writes a record."""
        left: dict[str, tuple[Level, ...]] = {}
        recorded: set[str] = set()
        self.origin = Origin(module=module_settings(pl_module))
        self.before = read_origin(self.run_directory(trainer)) if trainer.is_global_zero else Origin()
        self._refuse_changes(trainer)
        if trainer.is_global_zero:
            run, levels = self.run_directory(trainer), run_module(pl_module).levels
            found, recorded = outcomes(run), recorded_ids(run)
            left = levels_left(found, levels, with_failed=not self.retry_failed)
            asked = {level: ids for level, ids in found.items() if levels is None or level in levels}
            ours = [c for c in trainer.callbacks if isinstance(c, RunCallback)]  # type: ignore[attr-defined]
            again = set().union(*(callback.lacking(run, asked) for callback in ours)) & left.keys()
            if again:
                print(f"rps: {len(again)} samples lack pictures or features; they are restored again", file=sys.stderr)
            left = {id_: levels for id_, levels in left.items() if id_ not in again}
            self.earlier = read_earlier(run, {id_ for id_, levels in left.items() if levels})
            if recorded and not is_run(run):  # the command says it of its runs
                done = sum(not levels for levels in left.values())
                print(f"rps: resuming {run}: {done} sample{'s are' if done != 1 else ' is'} done", file=sys.stderr)
        left, recorded, self.earlier = trainer.strategy.broadcast((left, recorded, self.earlier))
        if recorded:
            run_data(trainer).check_recorded(recorded)
        for part in (run_data(trainer), run_module(pl_module)):
            part.skip_ids = {id_ for id_, levels in left.items() if not levels}
            part.levels_left = {id_: levels for id_, levels in left.items() if levels}

    def lacking(self, run: Path, found: Outcomes) -> set[str]:
        return lacking_features(run, found) if self.features is not None else set()

    def made_with(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Origin:
        """What the records are made with."""
        networks = {metric.name: metric for metric in self.metrics if metric.state_dict()}
        hashes = {name: network_hash(network) for name, network in {**networks, "model": pl_module}.items()}
        if self.features is not None:
            hashes["features"] = network_hash(self.features)
        place = self.reference
        if place is not None and place != "embedded":
            place = str(Path(place).absolute())
            hashes[REFERENCE] = file_hash(place)
        infos = {metric.name: metric.info for metric in self.metrics}
        cost = run_module(pl_module).relative_cost
        return Origin(hashes, place, infos, run_data(trainer).place, cost, self.origin.module)

    def _refuse_changes(self, trainer: L.Trainer) -> None:
        """Errors: ValueError, on all processes alike, or the others would keep writing records."""
        if changed := trainer.strategy.broadcast(self.before.changes(self.origin)):
            more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise ValueError(
                f"the records in {self.run_directory(trainer)} were made with other inputs: {changed[0]}{more}; "
                "restore them, give another default_root_dir (--output of the command), or remove its records, "
                "features and images"
            )

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.origin = self.made_with(trainer, pl_module)
        self._refuse_changes(trainer)
        for network in (*self.metrics, self.features):
            if network is not None:
                network.to(pl_module.device).eval()
        shape = run_module(pl_module).image_shape
        if shape is not None:
            ramp = torch.linspace(0, 1, math.prod(shape), device=pl_module.device)
            self._try(ramp.view(1, *shape))
        self.unmerged = True

    @torch.no_grad()
    def _try(self, image: Tensor) -> None:
        """Runs the networks once, so that one that does not accept such images fails before the run."""
        if self.features is not None:
            self.features(image)
        for metric in self.metrics:
            if type(metric).judge is not Metric.judge:
                continue  # it may look at the measurement, and there is none yet
            try:
                metric.values(Candidate(image, image, degrade(2 * image - 1, Denoise(), 1.0), image))
            except Exception as error:
                shape = " x ".join(map(str, image.shape[1:]))
                raise ValueError(f"the metric {metric.name} fails on an image of {shape}: {error}") from error

    def evaluate(self, module: Any, prediction: Prediction) -> Evaluation:
        """The rows and feature vectors of a batch."""
        return evaluate(prediction, self.metrics, self.features, relative_cost=self.origin.relative_cost)

    def on_prediction(self, trainer: L.Trainer, module: Any, prediction: Prediction, batch: int, loader: int) -> None:
        found = self.earlier.completed(self.evaluate(module, prediction))
        network = None if self.features is None else self.features.name
        writer = RecordWriter(self.run_directory(trainer), trainer.global_rank)
        writer.write(found.rows, prediction.restoration.knob, found.vectors, network, self.origin)

    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.barrier is not None:
            self.barrier.wait()
        if trainer.is_global_zero:
            self._record_missing(trainer, pl_module)
            if (result := self._finish(trainer)) is not None:
                log_run(trainer.loggers, result, self.run_directory(trainer))

    def _record_missing(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Records samples that were requested by id but that no process found; known once all have read their parts."""
        wanted, module = run_data(trainer).wanted_ids, run_module(pl_module)
        limit = trainer.limit_predict_batches  # 1.0 is all batches, and 1 is one of them
        if not wanted or module.knob is None or isinstance(limit, int) or limit < 1:
            return
        run = self.run_directory(trainer)
        found = outcomes(run)
        rows = [
            Row(id_, level, status="failed", reason=NO_SAMPLE)
            for level in module.levels or ()
            for id_ in sorted(set(wanted) - found.get(level, {}).keys())
        ]
        RecordWriter(run, trainer.global_rank).write(rows, module.knob, origin=self.origin)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Merges without a barrier, since the state of other processes is unknown."""
        if not trainer.is_global_zero or not self.unmerged:
            return
        try:
            self._finish(trainer)
        except Exception as error:  # the exception that ended the run matters more
            if isinstance(error, OSError) and isinstance(exception, OSError):  # a full disk is reported only once
                return
            print(f"the records of the interrupted run could not be merged: {printable(error)}", file=sys.stderr)

    def _finish(self, trainer: L.Trainer) -> dict[str, Any] | None:
        """Merges the records, if there are any.  -> the content of metrics.json."""
        run = self.run_directory(trainer)
        if not has_records(run):
            return None
        result = self.merge(run)
        self.unmerged = False
        return result

    def merge(self, run: Path) -> dict[str, Any]:
        """Writes the files made from the records.  -> the content of metrics.json."""
        return finish(run)
