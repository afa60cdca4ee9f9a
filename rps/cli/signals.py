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
"""Ctrl-C; `kill` and `timeout`; a terminal that is closed; batch systems."""


@contextmanager
def stoppable(early: str) -> Iterator[None]:
    """A signal of STOPS ends the process at once, with the sentence `early`; afterwards all signals are as they were.

    While libraries are imported an exception is not safe: some would turn it into another, or drop it. A process that
    was started by the first one of a run leaves Ctrl-C to that one, which may wait for it to arrive.
    """

    def end(signum: int, frame: object) -> None:
        if signum == signal.SIGINT and started_by_first():
            return
        if all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID")):
            with suppress(OSError):  # not by streams, which may be in use
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
    """Signals of STOPS are interrupts from here on.

    Called anew when Lightning has put its own handlers in place: they only note SIGTERM, which no predict loop reads,
    and hand it on by a collective operation, which may never return.
    """
    _handle(_stop)


def ignore() -> None:
    """Until `stoppable` ends: the run is ending, and its exit code is known."""
    _handle(lambda signum, frame: None)


def _stop(signum: int, frame: object) -> None:
    """An interrupt, of which the argument is the exit code, unless one is being handled already."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    if error is None:
        raise KeyboardInterrupt(128 + signum)


def _handle(handler: Callable[[int, Any], None]) -> None:
    """Those of STOPS that are ignored, as under nohup, stay so."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, handler)
