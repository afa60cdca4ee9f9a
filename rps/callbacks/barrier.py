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
    """Exit code of the command: not 2, since the input is not at fault."""

    def __init__(self) -> None:
        super().__init__(
            "another process of the run has ended; finished samples are kept, and the same command resumes from there"
        )


class PatientBarrier:
    """A barrier without a short timeout, so that a long batch of another process may finish, and with signal handling.

    The strategy's barrier gives up after minutes, and no Python code, hence no signal handler, runs while it waits.
    All processes must create it at the same moment: it has its own process group.
    """

    def __init__(self, trainer: L.Trainer) -> None:
        self.strategy = trainer.strategy
        several = trainer.world_size > 1 and dist.is_available() and dist.is_initialized()
        # Gloo notices a process that is gone; NCCL would wait for it.
        backend = "gloo" if dist.is_gloo_available() else None
        self.group: Any = dist.new_group(timeout=timedelta(days=7), backend=backend) if several else None

    def wait(self) -> None:
        """Waits until all processes wait.  Errors: ProcessLost if one of them has ended."""
        if self.group is None:
            self.strategy.barrier()
            return
        try:
            work: Any = dist.barrier(self.group, async_op=True)
            while not work.is_completed():
                time.sleep(0.05)
            work.wait()
        except RuntimeError as error:
            raise ProcessLost from error
