"""Signals that ask a run to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rps.cli.processes import started_by_first
from rps.printable import printable

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Sent by Ctrl-C; by `kill` and `timeout`; when a terminal closes; by batch systems."""


@contextmanager
def stoppable(early: str) -> Iterator[None]:
    """Within, a signal of STOPS ends the process at once with the sentence `early`; afterwards handlers are restored.

    An exception is not safe while libraries are imported: some would convert or swallow it. A process that the first
    one of a run started ignores Ctrl-C: the first may be waiting for it.
    """

    def end(signum: int, frame: object) -> None:
        if signum == signal.SIGINT and started_by_first():
            return
        if all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID")):
            with suppress(OSError):  # not through sys.stderr, which may be in use
                os.write(2, f"rps: {printable(early)}\n".encode())
        os._exit(128 + signum)

    former = {number: signal.getsignal(number) for number in STOPS}
    _handle(end)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in former.items():
                signal.signal(number, handler)


def heed() -> None:
    """From here on, signals of STOPS raise KeyboardInterrupt.

    Call it again after Lightning has installed its own handlers: they only record SIGTERM, which no predict loop reads,
    and pass it on by a collective operation, which may never return.
    """
    _handle(_stop)


def ignore() -> None:
    """Ignores signals until `stoppable` ends: the run is ending, and its exit code is known."""
    _handle(lambda signum, frame: None)


def _stop(signum: int, frame: object) -> None:
    """Raises KeyboardInterrupt(exit code), unless one is already being handled."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    if error is None:
        raise KeyboardInterrupt(128 + signum)


def _handle(handler: Callable[[int, Any], None]) -> None:
    """Sets the handler of STOPS, except of signals that are ignored, as under nohup."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, handler)
