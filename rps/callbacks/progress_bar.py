"""A progress bar that counts network calls, since a batch may take minutes."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar

from rps.printable import printable
from rps.progress import silent
from rps.protocol import RunModule, run_data, run_module
from rps.restoration import Prediction


class ProgressBar(LightningProgressBar):
    """Shows the network calls of process zero: a bar in a terminal, elsewhere lines, less often in long runs.

    Replaces Lightning's own bar. It reads what rps/protocol.py describes from the module and the datamodule, and omits
    what they do not provide.

    Args:
        every: seconds between two lines in the first 250 s; later in proportion to the time since the start.
    """

    def __init__(self, every: float = 5.0) -> None:
        super().__init__()
        self.every = every
        self._enabled = True
        self.running = False
        self._bar: Any = None
        self._task: Any = None

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._enabled or not trainer.is_global_zero:
            return
        self.what, self.calls, self.images = "starting", 0, 0
        self.started = self.last_line = time.monotonic()
        module = run_module(pl_module)
        self.total_images, self.processes = _samples(trainer), trainer.world_size
        self.calls_are = "network calls" + (" for each tile" if module.any_size else "")
        self.per_image = _calls_per_image(module, (self.total_images or 0) * self.processes)
        module.progress = self._listen
        self.running = True
        self._open()

    def on_predict_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any) -> None:
        if self._enabled and trainer.is_global_zero and isinstance(outputs, Prediction):
            # Samples that could not be read need no calls, so they no longer count as left to do.
            self.images += len(outputs.ids)
            if self.total_images is not None:
                self.total_images = max(self.total_images - len(outputs.failures), self.images)
            self._show()

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.running:
            return
        plain, self.total_images = self._bar is None, self.images
        self._close(pl_module)
        if plain:
            print(f"{self._counts()} in {_clock(time.monotonic() - self.started)}", flush=True)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._close(pl_module)

    @property
    def total(self) -> int | None:
        """Network calls of this process in the whole run; None if unknown."""
        if self.total_images is None or self.per_image is None:
            return None
        return max(round(self.total_images * self.per_image), self.calls)

    def _listen(self, what: str, network_calls: int) -> None:
        self.what = printable(what)
        self.calls += network_calls
        self._show()

    def _open(self) -> None:
        from rich import progress
        from rich.console import Console

        console = Console()
        if not console.is_terminal:
            return
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[counts]}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task(self.what, total=self.total, counts=self._counts())
        self._bar.start()

    def _show(self) -> None:
        if self._bar is not None:
            self._bar.update(
                self._task, description=self.what, completed=self.calls, total=self.total, counts=self._counts()
            )
        elif (now := time.monotonic()) - self.last_line >= self.every * max(1, (now - self.started) / 250):
            self.last_line = now
            print(self._line(), flush=True)

    def _close(self, pl_module: L.LightningModule) -> None:
        if not self.running:
            return
        self.running = False
        run_module(pl_module).progress = silent
        if self._bar is not None:
            self._show()
            self._bar.stop()
            self._bar = None

    def _counts(self) -> str:
        def fraction(done: int, total: int | None) -> str:
            return f"{done:,}" if total is None else f"{done:,}/{total:,}"

        where = f" (process 1 of {self.processes})" if self.processes > 1 else ""
        images = f"{fraction(self.images, self.total_images)} images"
        calls = "" if self.total == 0 else f", {fraction(self.calls, self.total)} {self.calls_are}"
        return f"{images}{calls}{where}"

    def _line(self) -> str:
        seconds = time.monotonic() - self.started
        text = f"{self.what}: {self._counts()}, {_clock(seconds)}"
        if self.total and self.calls:
            text += f", about {_clock(seconds * (self.total - self.calls) / self.calls)} left"
        return text


def _calls_per_image(module: RunModule, images: int) -> float | None:
    """Network calls per image on average: fewer for samples that an earlier run finished at other levels."""
    calls = module.network_calls_per_image()
    if calls is None or not module.level_arguments or not module.levels_left:
        return calls
    parts = Counter(module.levels_left.values())
    left = sum(n * (module.network_calls_per_image(levels) or 0) for levels, n in parts.items())
    new = max(images - parts.total(), 0)
    return (left + new * calls) / (parts.total() + new)


def _samples(trainer: L.Trainer) -> int | None:
    """Number of samples of this process, as far as it is known before they are read; None if it is not."""
    data = run_data(trainer)
    if data.num_samples is not None:
        return math.ceil(max(data.num_samples - len(data.skip_ids), 0) / trainer.world_size)
    loaders = trainer.predict_dataloaders
    total = 0
    loader: Any
    for loader in loaders if isinstance(loaders, list | tuple) else [loaders]:
        try:
            total += len(loader.batch_sampler.sampler)
        except (AttributeError, TypeError):  # a stream or a data set of batches, of unknown size
            return None
    return total


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
