"""What is special about several processes, and about signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM: handled like Ctrl-C, so that what was done is kept."""


def terminate(signum: int, frame: object) -> NoReturn:
    raise Terminated


def rank() -> int:
    """The number of this process among those of the run."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0)


@contextmanager
def tidy(argv: Sequence[str]) -> Iterator[None]:
    """Afterwards the process is as it was: environment, import path, signals, process group.

    The current directory is searched last, so that `class_path: my_ops.MyOperator` works and nothing there hides an
    installed package. Processes that Lightning starts run this command with these arguments and this import path,
    however it was called (its own way repeats the script and arguments of the process, whatever they are).
    """
    import torch
    from lightning.pytorch.strategies.launchers import subprocess_script

    environment, path = dict(os.environ), list(sys.path)
    main_thread = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    here = os.getcwd()
    sys.path[:] = [place for place in sys.path if place not in ("", here)] + [here]
    call = f"from rps.cli import main; sys.exit(main({['predict', *argv]!r}))"
    program = f"import sys; sys.path[:] = {sys.path!r}; {call}"
    original = getattr(subprocess_script, "_basic_subprocess_cmd", None)
    subprocess_script._basic_subprocess_cmd = lambda: [sys.executable, "-c", program]
    try:
        yield
    finally:
        if original is not None:
            subprocess_script._basic_subprocess_cmd = original
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
        if main_thread:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if not distributed and torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def ended_by_another(trainer: Any) -> int | None:
    """The exit code of a process that this one started and that has failed; None when there is none."""
    for child in _children(trainer):
        with suppress(Exception):
            child.wait(timeout=1)
        if child.returncode:
            return int(child.returncode)
    return None


def end_others(trainer: Any) -> None:
    """Ends the processes that this one started."""
    for child in _children(trainer):
        if child.poll() is None:
            child.kill()


def let_the_first_speak(seconds: float) -> None:
    """Called where a process other than the first has ended early: the first will end it, or is gone.

    A process that exits at once with an error makes Lightning kill the first one, which may still be writing.
    """
    parent, deadline = os.getppid(), time.monotonic() + seconds
    while time.monotonic() < deadline and os.getppid() == parent:
        time.sleep(0.05)


def _children(trainer: Any) -> list[Any]:
    launcher = getattr(getattr(trainer, "strategy", None), "launcher", None)
    return list(getattr(launcher, "procs", []))
