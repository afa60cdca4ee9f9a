"""How the processes of a run wait for each other at its end."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import lightning as L
import torch.distributed as dist


class ProcessLost(ConnectionError):
    """Another process of the run has ended before its work was done."""

    exit_code = 1
    """Of the command: not 2, since it is no fault of what was given."""

    def __init__(self) -> None:
        super().__init__(
            "another process of the run has ended; what was finished is kept, and the same command resumes from there"
        )


class PatientBarrier:
    """A barrier that waits for as long as the longest batch of another process takes, and still hears signals.

    That of the strategy gives up after minutes, and no Python code, so no signal handler, runs while it waits.
    All processes make it at the same moment: it has a process group of its own.
    """

    def __init__(self, trainer: L.Trainer) -> None:
        self.strategy = trainer.strategy
        device = trainer.strategy.root_device
        self.devices = [device.index] if device.type == "cuda" else None
        several = dist.is_available() and dist.is_initialized()
        self.group: Any = dist.new_group(timeout=timedelta(days=7)) if several else None

    def wait(self) -> None:
        """Until all processes wait.  Errors: ProcessLost when one of them is gone."""
        if self.group is None:
            self.strategy.barrier()
            return
        try:
            work: Any = dist.barrier(self.group, async_op=True, device_ids=self.devices)
            while not work.is_completed():
                time.sleep(0.05)
            work.wait()
        except RuntimeError as error:
            raise ProcessLost from error
