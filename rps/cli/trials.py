"""Modules with other settings, built by the parser of `rps predict` in one process: what `rps tune` tries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning import LightningModule
from torch import nn

from modules.isolation import split
from rps.callbacks import MetricRecorder
from rps.cli.errors import InputError, one_line, root_of
from rps.cli.loop import RunCli
from rps.metrics.features import load_reference
from rps.protocol import RunModule, run_module
from rps.records.evaluate import evaluate
from rps.study.settings import Runs
from rps.tuning.objective import Objective, make_objective
from rps.tuning.trials import Progress, SettingFails

PARTS, FEWEST = 4, 8
"""Parts of the pictures after which a trial may end early, and the least number of pictures in one."""


class TrialCli(RunCli):
    """Builds the base run, and from the same command line modules with other settings, which share its prior."""

    def parsed(self, settings: Mapping[str, Any]) -> Namespace:
        """The whole config with these settings: dotted option -> value.  Errors: InputError."""
        base = self.config
        try:
            # Options of a class come after the class, which would otherwise reset them.
            ordered = dict(sorted(settings.items(), key=lambda item: item[0].count(".")))
            given = replace(self.given, rest=[*self.given.rest, *Runs(set=ordered).arguments()])
            self.parse_arguments(self.parser, given.for_lightning())
            return self.config
        finally:
            self.config = base

    def variant(self, settings: Mapping[str, Any]) -> LightningModule:
        """A module with these settings.  Errors: SettingFails if they cannot be used."""
        config = self.parsed(settings).model
        base = self.config.model
        if "prior" in config.init_args and config.init_args.prior == base.init_args.get("prior"):
            config.init_args.prior = getattr(self.model, "prior", config.init_args.prior)
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(LightningModule, "model")
        try:
            module: LightningModule = parser.instantiate_classes(Namespace(model=config)).model
        except (ValueError, TypeError) as error:
            raise SettingFails(one_line(root_of(error))) from error
        return module

    def objective(self, name: str, tau: float, share: float) -> Objective:
        """An objective over the metrics of the run's MetricRecorder.  Errors: ValueError."""
        callbacks: Any = self.trainer.callbacks  # type: ignore[attr-defined]
        recorder = next((c for c in callbacks if isinstance(c, MetricRecorder)), MetricRecorder())
        reference = load_reference(recorder.reference) if recorder.reference else None
        found = make_objective(name, recorder.metrics, recorder.features, reference, tau, share)
        for network in (*found.metrics, found.features):
            if isinstance(network, nn.Module):
                network.to(self.device).eval()
        return found

    @property
    def device(self) -> torch.device:
        device: torch.device = self.trainer.strategy.root_device
        return device

    def batches(self, whole: bool = False) -> list[Any]:
        """The pictures of the run in at least PARTS batches, or in those of the data if `whole`.  Errors: InputError if
        there are none."""
        if self.trainer.world_size > 1:
            raise InputError(
                f"rps tune tries settings on one device, got {self.trainer.world_size}; leave out trainer.devices, and "
                "give --processes, or start the command once for each device"
            )
        self.trainer.callbacks = []  # type: ignore[attr-defined]
        reader = _Reader(run_module(self.model))
        read: Any = self.trainer.predict(reader, datamodule=self.datamodule)
        batches = [batch for batch in read if batch["id"]]
        count = sum(len(batch["id"]) for batch in batches)
        if not count:
            raise InputError("the data have no picture that can be read; rps predict lists the reasons")
        size = count if whole else max(-(-count // PARTS), FEWEST)
        return [part for batch in batches for part in split(batch, size)]

    def measure(self, settings: Mapping[str, Any], batches: Sequence[Any], objective: Objective) -> Iterator[Progress]:
        """The objective after each batch.  Errors: SettingFails if a picture is not restored."""
        module: Any = self.variant(settings).to(self.device).eval()
        if objective.split is not None:
            module.split = objective.split
        module.on_predict_start()
        found, pictures = [], 0
        for i, batch in enumerate(batches):
            with torch.no_grad():
                prediction = module.predict_step(module.transfer_batch_to_device(batch, self.device, 0), i)
            found.append(evaluate(prediction, objective.metrics, objective.features))
            failed = [(row.id, row.reason) for row in found[-1].rows if row.kind == "restored" and row.status != "ok"]
            if failed:
                raise SettingFails(f"{failed[0][0]}: {failed[0][1]}")
            pictures += len(prediction.ids)
            yield Progress(objective.figure(found), pictures, last=i == len(batches) - 1)
        module.on_predict_end()


class _Reader(LightningModule, RunModule):
    """Returns the batches that it is given."""

    def __init__(self, module: RunModule) -> None:
        super().__init__()
        self.image_shape, self.any_size = module.image_shape, module.any_size

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return batch
