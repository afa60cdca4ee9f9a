"""The processes of a run."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rps.cli.errors import InputError

FIRST = "RPS_FIRST_PROCESS"
"""The environment variable by which processes of the run know the one that started them."""


def rank() -> int:
    """The number of this process among those of the run."""
    from lightning.pytorch.utilities import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0)


def started_by_first() -> bool:
    return os.environ.get(FIRST) == str(os.getppid())


def wait_for_first(seconds: float) -> None:
    """Called where a process other than the first has ended early: the first, if it ends too, ends this one, and only
    the first reports what both have met."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(seconds)


@contextmanager
def tidy() -> Iterator[None]:
    """Afterwards the process is as it was: environment, import path, warnings, process group.

    The current directory is searched last, so that `class_path: my_ops.MyOperator` works and nothing there hides an
    installed package. Linux ends a process of the run together with the one that started it, even by kill -9, so that
    another run may take its place at once.
    """
    environment, path, here, distributed = dict(os.environ), list(sys.path), os.getcwd(), _process_group()
    if not started_by_first():
        os.environ[FIRST] = str(os.getpid())
    elif sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    sys.path[:] = [place for place in sys.path if place not in ("", here)] + [here]
    try:
        with warnings.catch_warnings():
            yield
    finally:
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
        if distributed is None and (group := _process_group()) is not None:
            group.destroy_process_group()


def _process_group() -> Any:
    """torch.distributed, when torch is there and a process group is."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    return distributed if distributed and distributed.is_available() and distributed.is_initialized() else None


class Children:
    """The processes of the run that Lightning has started from this one; none where torchrun or SLURM starts them all.

    Lightning starts the script of this process anew, with its arguments. Until `take`, its observer watches them, and
    kills this process within five seconds after one has failed, without a word.
    """

    def __init__(self, strategy: Any) -> None:
        if getattr(strategy, "_start_method", None) in ("fork", "spawn", "forkserver"):
            raise InputError(
                "trainer.strategy runs parts of this process in others, which is not supported; use ddp, which starts "
                "the command again in each process"
            )
        self._launcher = strategy.launcher
        self._taken: list[Any] = []
        self._code = 0

    def take(self) -> None:
        """From here on `check` watches them: the observer is left with an empty list."""
        started = getattr(self._launcher, "procs", [])
        self._taken += started
        started.clear()

    def check(self) -> None:
        """Errors: ProcessLost, when one has failed."""
        from rps.callbacks.barrier import ProcessLost

        if self._failed():
            raise ProcessLost

    def end(self, patience: float) -> int:
        """Ends them all.  -> the exit code of one that has failed by itself, within so many seconds; 0 if none has."""
        self.take()
        deadline = time.monotonic() + patience
        while self._taken and not self._failed() and time.monotonic() < deadline:
            time.sleep(0.05)
        for child in self._taken:
            child.kill()
        for child in self._taken:
            child.wait()
        self._taken.clear()
        return self._code

    def _failed(self) -> bool:
        self._code = self._code or next((code for child in self._taken if (code := child.poll())), 0)
        return bool(self._code)
