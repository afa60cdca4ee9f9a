"""The processes of a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rps.cli.errors import InputError
from rps.cli.streams import say

FIRST = "RPS_FIRST_PROCESS"
"""Environment variable that holds the id of the run's first process."""


def rank() -> int:
    """The rank of this process in the run."""
    from lightning.pytorch.utilities import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0)


def started_by_first() -> bool:
    return os.environ.get(FIRST) == str(os.getppid())


def wait_for_first(seconds: float) -> None:
    """Waits in a process, other than the first, that failed: if the first fails too, it ends this one, and only the
    first reports the error."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(seconds)


@contextmanager
def tidy() -> Iterator[None]:
    """Restores the state of the process afterwards: environment, import path, warnings, process group.

    Within, the current directory is last on the import path, so that `class_path: my_ops.MyOperator` works and nothing
    there hides an installed package. On Linux a process of the run ends with the one that started it, even by kill -9,
    so that another run can start at once.
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
    """torch.distributed if torch is imported and a process group exists, else None."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    return distributed if distributed and distributed.is_available() and distributed.is_initialized() else None


@contextmanager
def copies(arguments: Sequence[str], count: int) -> Iterator[None]:
    """Runs `rps ARGUMENTS` in more processes and waits for them at the end; all share out the threads of the machine.

    Their standard output is discarded. They are ended if the block raises.
    """
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // (count + 1))))
    if count:
        import torch

        torch.set_num_threads(int(threads))
    command = [sys.executable, "-m", "rps.cli", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    children = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) for _ in range(count)]
    try:
        yield
    except BaseException:
        for child in children:
            child.terminate()
        raise
    finally:
        codes = [child.wait() for child in children]
    if failed := [code for code in codes if code]:
        say(f"{len(failed)} of {count} other processes ended with code {failed[0]}")


class Children:
    """The processes that Lightning started from this one; none under torchrun or SLURM, which start all of them.

    Lightning runs the script of this process again with the same arguments. Until `take`, its observer watches them
    and, within five seconds of a failure, kills this process without a message.
    """

    def __init__(self, strategy: Any) -> None:
        if getattr(strategy, "_start_method", None) in ("fork", "spawn", "forkserver"):
            raise InputError(
                "trainer.strategy forks or spawns from this process, which is not supported; use ddp, which runs the "
                "command again in each process"
            )
        self._launcher = strategy.launcher
        self._taken: list[Any] = []
        self._code = 0

    def take(self) -> None:
        """Takes the processes from Lightning's observer, so that `check` watches them instead."""
        started = getattr(self._launcher, "procs", [])
        self._taken += started
        started.clear()

    def check(self) -> None:
        """Errors: ProcessLost if one has failed."""
        from rps.callbacks.barrier import ProcessLost

        if self._failed():
            raise ProcessLost

    def end(self, patience: float) -> int:
        """Ends all of them.  -> the exit code of one that failed by itself within `patience` seconds, else 0."""
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
