"""The search: an Optuna study in a folder, shared by any number of processes, which resumes where it stopped."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rps.metrics.base import Better
from rps.metrics.intervals import Draws
from rps.randomness import Streams
from rps.records.lock import RunLock, RunLocked
from rps.tuning.space import Space, decoded, distributions, encoded, grid
from rps.tuning.trials import Progress, SettingFails, State, Trial, choose

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"
STARTUP = 10
"""Trials at random before the search uses what it has found."""

KEPT = "rps"
"""The attribute of Optuna's trials that holds what a `Trial` has in addition."""

GIVE_UP = 3
"""Number of failed trials, with none that completed, after which a search ends."""

Measure = Callable[[Mapping[str, Any]], Iterator[Progress]]
"""Settings -> the objective after each batch; SettingFails, or any ValueError, if the settings are of no use."""


class Search:
    """Looks for the settings with the best objective, in FOLDER/journal.log.

    Trial k draws from random numbers of (seed, k) and what the trials before it found, so a search by one process that
    is interrupted and resumed equals one that was not. The median pruner ends a trial that is worse after a batch than
    half of the earlier ones after the same batch; trials see the same pictures in the same order.

    Args:
        folder: where the search is kept; made if it does not exist.
        space: see rps.tuning.space; if it is a grid, every combination is tried once and in order.
        better: which of two objectives is better.
        seed: seed of the search.
        prune: whether to end hopeless trials early.
        start: the configured settings, which may lie outside the space. They are tried first, unless the space is a
            grid, and are kept unless others are clearly better: see `choose`.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        better: Better,
        seed: int = 0,
        prune: bool = True,
        start: Mapping[str, Any] | None = None,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.optuna, self.folder, self.space, self.better, self.seed = optuna, folder, space, better, seed
        self.grid, self.start = grid(space), start
        folder.mkdir(parents=True, exist_ok=True)
        self.lock = RunLock(folder)
        path = str(folder / JOURNAL)
        self.asking = optuna.storages.journal.JournalFileOpenLock(f"{path}.ask")
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))
        pruner = optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner()
        named: dict[str, Any] = {"study_name": "rps tune", "storage": storage, "pruner": pruner}
        try:
            direction = "minimize" if better == "lower" else "maximize"
            self.study: optuna.Study = optuna.create_study(direction=direction, **named)
        except optuna.exceptions.DuplicatedStudyError:
            self.study = optuna.load_study(**named)
        else:
            first = [start] if start is not None and self._inside(start) else []
            for settings in self.grid or first:
                self.study.enqueue_trial(encoded(settings, space))

    def run(self, measure: Measure, trials: int, report: Callable[[Trial], None] = lambda trial: None) -> None:
        """Tries settings until the search has this many trials, those of other processes included.

        Errors: ValueError if the first trials fail, with the last reason; whatever else `measure` raises, after which
        the trial counts as not begun.
        """
        self._enter()
        try:
            while (trial := self._ask(trials)) is not None:
                report(self._try(trial, measure))
                found = self.trials()
                failed = [trial for trial in found if trial.state == "failed"]
                if len(failed) >= GIVE_UP and not any(trial.state == "complete" for trial in found):
                    raise ValueError(
                        f"{len(failed)} trials failed and none completed; the last one: {failed[-1].reason}"
                    )
        finally:
            self.lock.release()

    def trials(self) -> list[Trial]:
        """All trials that were begun, in order, without those that were interrupted."""
        return [self._trial(trial) for trial in self.study.get_trials(deepcopy=False) if self._counts(trial)]

    def choice(self) -> Trial | None:
        """The trial whose settings to use, by `choose`; None if none was completed."""
        return choose(self.trials(), self.better, self.start)

    def _enter(self) -> None:
        """Joins the processes of this search. The first one repeats the trials that killed processes left behind."""
        try:
            self.lock.begin(patience=0)
        except RunLocked:
            pass
        else:
            for trial in self.study.get_trials(deepcopy=False, states=[self._states.RUNNING]):
                self._undo(trial.number, trial.params)
        deadline = time.monotonic() + 10
        while True:
            try:
                return self.lock.join()
            except RunLocked:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _ask(self, trials: int) -> optuna.Trial | None:
        """The next trial, or None if there are enough."""
        wanted = trials if self.grid is None else min(trials, len(self.grid))
        self.asking.acquire()
        try:
            count = sum(map(self._counts, self.study.get_trials(deepcopy=False)))
            if count >= wanted:
                return None
            seed = int(Streams(self.seed, [f"trial {count}"]).bits(1)[0, 0])
            several = len(self.space) > 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", self.optuna.exceptions.ExperimentalWarning)
                self.study.sampler = self.optuna.samplers.TPESampler(
                    n_startup_trials=STARTUP, seed=seed, multivariate=several, group=several, constant_liar=True
                )
            outside = count == 0 and self.grid is None and self.start is not None and not self._inside(self.start)
            return self.study.ask({} if outside else distributions(self.space))
        finally:
            self.asking.release()

    def _try(self, trial: optuna.Trial, measure: Measure) -> Trial:
        begun, state, kept = time.monotonic(), self._states.COMPLETE, {}
        value: float | None = None
        try:
            for step, progress in enumerate(measure(self._settings(trial.params))):
                value = progress.figure.value
                kept = {"value": value, "draws": progress.figure.draws.tolist(), "pictures": progress.pictures}
                trial.report(value, step)
                if not math.isfinite(value):
                    raise SettingFails("the objective is not a finite number")
                if not progress.last and trial.should_prune():
                    state = self._states.PRUNED
                    break
        except ValueError as error:
            kept["reason"], state = " ".join(str(error).split()), self._states.FAIL
        except BaseException:
            self._undo(trial.number, trial.params)
            raise
        trial.set_user_attr(KEPT, {**kept, "seconds": time.monotonic() - begun})
        self.study.tell(trial, value if state == self._states.COMPLETE else None, state=state)
        return self._trial(self.study.get_trials(deepcopy=False)[trial.number])

    def _undo(self, number: int, params: Mapping[str, Any]) -> None:
        self.study.tell(number, state=self._states.FAIL)
        if params:
            self.study.enqueue_trial(dict(params))

    def _inside(self, settings: Mapping[str, Any]) -> bool:
        return all(settings[name] in self.space[name] for name in self.space)

    def _settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a trial; one without parameters has the configured ones, which Optuna's space does not hold."""
        return decoded(params, self.space) or dict(self.start or {})

    @property
    def _states(self) -> Any:
        return self.optuna.trial.TrialState

    def _counts(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether a trial was begun and not interrupted."""
        fail, waiting = self._states.FAIL, self._states.WAITING
        return trial.state != waiting and (trial.state != fail or KEPT in trial.user_attrs)

    def _trial(self, trial: optuna.trial.FrozenTrial) -> Trial:
        states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
        own = trial.user_attrs.get(KEPT, {})
        figure = None
        if math.isfinite(value := own.get("value", math.nan)):
            figure = Draws(value, torch.tensor(own["draws"], dtype=torch.float64), own["pictures"])
        settings, seconds = self._settings(trial.params), own.get("seconds", math.nan)
        state = states[trial.state.name]
        return Trial(trial.number, settings, state, figure, own.get("pictures", 0), seconds, own.get("reason"))
