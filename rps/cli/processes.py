"""What is special about several processes, and about signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NoReturn

from rps.cli.errors import InputError
from rps.printable import printable

STOPS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Signals that ask a process to end: of `kill` and `timeout`, of a terminal that is closed, and of batch systems."""


class Terminated(KeyboardInterrupt):
    """One of STOPS: handled like Ctrl-C, so that what was done is kept.  code: the exit code."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class LostProcess(KeyboardInterrupt):
    """Another process of the run has ended before its work was done; the text says how."""


_lost: list[str] = []
"""What `_observe`, a thread, leaves for `terminate`, which runs in the main thread."""
_heard = threading.Event()
"""Set by `terminate`."""


@contextmanager
def stoppable(early: str) -> Iterator[None]:
    """A signal of STOPS ends the process at once, with the sentence `early`; afterwards all signals are as they were.

    While libraries are imported nothing is there to be kept, and an exception is not safe: some would turn it into
    another, or drop it.
    """

    def end(signum: int, frame: object) -> NoReturn:
        _end_now(early, 128 + signum)

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOPS)}
    _on_stop(end)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in former.items():
                signal.signal(number, handler)


def _on_stop(handler: Callable[[int, Any], None], *others: signal.Signals) -> None:
    """Handles STOPS and others.  Those that are ignored, as under nohup, stay so."""
    if threading.current_thread() is threading.main_thread():
        for number in (*others, *STOPS):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, handler)


def terminate(signum: int, frame: object) -> None:
    """An interrupt, unless one is being handled already."""
    _heard.set()
    if not _is_interrupted():
        raise LostProcess(_lost.pop()) if _lost else Terminated(128 + signum)


def _is_interrupted() -> bool:
    """Whether the code that runs now, or a caller of it, handles an interrupt."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def ignore_signals() -> None:
    """Until `stoppable` ends: the run is ending, and its exit code is known."""
    _on_stop(lambda signum, frame: None, signal.SIGINT)


@contextmanager
def _heeded() -> Iterator[None]:
    """A signal of STOPS is an interrupt; where the main thread does not hear it within ten seconds, it is the end.

    Where processes wait for each other the main thread may be in C for hours, and Python runs no handler meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    incoming, outgoing = os.pipe()
    os.set_blocking(outgoing, False)

    def watch() -> None:
        while number := os.read(incoming, 1):
            if number[0] not in (*STOPS, signal.SIGINT):
                continue
            if not _heard.wait(10) and (number[0] in STOPS or _lost):
                reason, code = (_lost[0], 1) if _lost else ("interrupted", 128 + number[0])
                _end_now(f"{reason}; what was finished is kept, and the same command resumes from there", code)
            _heard.clear()
        os.close(incoming)

    threading.Thread(target=watch, daemon=True).start()
    _prepare_forks()
    former = signal.set_wakeup_fd(outgoing, warn_on_full_buffer=False)
    _pipes.append(outgoing)
    _lost.clear()
    _on_stop(terminate, signal.SIGINT)
    try:
        yield
    finally:
        _pipes.remove(outgoing)
        signal.set_wakeup_fd(former)
        os.close(outgoing)


_pipes: list[int] = []
"""Where signals are written to while `_heeded` is in use."""


@cache
def _prepare_forks() -> None:
    """Once per process, since what is registered stays."""
    os.register_at_fork(after_in_child=_forget_signals)


def _forget_signals() -> None:
    """In forks, whose signals are not ours."""
    if _pipes and threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


def _end_now(reason: str, code: int) -> NoReturn:
    """Without a look at streams, which may be in use; the processes that this one started see that it is gone."""
    if all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID")):
        with suppress(OSError):
            os.write(2, f"rps: {printable(reason)}\n".encode())
    os._exit(code)


def rank() -> int:
    """The number of this process among those of the run."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0)


@contextmanager
def tidy() -> Iterator[None]:
    """Afterwards the process is as it was: environment, import path, warnings, process group.

    The current directory is searched last, so that `class_path: my_ops.MyOperator` works and nothing there hides an
    installed package.
    """
    environment, path = dict(os.environ), list(sys.path)
    distributed = _process_group() is not None
    here = os.getcwd()
    sys.path[:] = [place for place in sys.path if place not in ("", here)] + [here]
    try:
        with warnings.catch_warnings():
            yield
    finally:
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
        if not distributed and (group := _process_group()) is not None:
            group.destroy_process_group()


def check_strategy(strategy: Any) -> None:
    """Errors: InputError for a strategy that starts its processes by pickling what they run."""
    if getattr(strategy, "_start_method", None) in ("spawn", "forkserver"):
        raise InputError(
            "trainer.strategy pickles the run for its processes, which is not supported; use ddp, which starts the "
            "command again in each process, or ddp_fork in a notebook"
        )


@contextmanager
def more_of_the_same(argv: Sequence[str], report: Callable[[Any, Exception], int]) -> Iterator[None]:
    """The processes that Lightning starts run this command, with these arguments and this import path, and the signals
    of STOPS are interrupts.

    Lightning's own way repeats the script and the arguments of the process, which in a notebook or a test are not ours.
    Its handlers of signals only take a note of SIGTERM, which its predict loop never reads, and write a checkpoint into
    the run at SIGUSR1 of SLURM.

    report: says what went wrong in a process that Lightning has forked, given its trainer and the error.  -> exit code.
    """
    from lightning.pytorch.strategies.launchers import multiprocessing, subprocess_script
    from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

    call = (
        "from rps.cli import main, processes; "
        f"processes.end_with({os.getpid()}); sys.exit(main({['predict', *argv]!r}))"
    )
    program = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {call}"]
    over = threading.Event()
    launcher = multiprocessing._MultiProcessingLauncher
    forked: Any = getattr(launcher, "_wrapping_function", None)

    def reported(self: Any, number: int, trainer: Any, *rest: Any) -> None:
        """What a forked process does. Its error would reach the first one as a text only."""
        _started_by.append(os.getppid())
        try:
            forked(self, number, trainer, *rest)
        except Exception as error:
            os._exit(report(trainer, error))

    replaced: list[tuple[Any, str, Any]] = [
        (launcher, "_wrapping_function", reported),
        (subprocess_script, "_basic_subprocess_cmd", lambda: program),
        (subprocess_script, "_launch_process_observer", lambda children: _observe(children, over)),
        (_SignalConnector, "register_signal_handlers", lambda connector: None),
    ]
    replaced = [row for row in replaced if hasattr(row[0], row[1])]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    for owner, name, ours in replaced:
        setattr(owner, name, ours)
    try:
        with _heeded():
            yield
    finally:
        over.set()
        for owner, name, original in originals:
            setattr(owner, name, original)


def _process_group() -> Any:
    """torch.distributed, when torch is there and a process group is."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    return distributed if distributed and distributed.is_available() and distributed.is_initialized() else None


def end_with(parent: int) -> None:
    """Ends this process when the one that started it is gone, even by kill -9: another run may then take its place."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    _started_by.append(parent)
    threading.Thread(target=watch, daemon=True).start()


_started_by: list[int] = []
"""The first process of the run, where that has started this one."""


def _observe(children: Sequence[Any], over: threading.Event) -> None:
    """Interrupts this process when a child has failed.

    Lightning's own observer kills at once, even a process that has noticed and is about to say what was wrong.
    """

    def watch() -> None:
        while not over.wait(0.5):
            failed = [child for child in children if child.poll()]
            if failed and not over.wait(10):
                _lost.append(how_it_ended(failed[0].returncode))
                _wake_main()
                return

    threading.Thread(target=watch, daemon=True).start()


def _wake_main() -> None:
    """Interrupts the main thread, by a signal that is not ignored."""
    for number in (*STOPS, signal.SIGINT):
        if signal.getsignal(number) is terminate:
            os.kill(os.getpid(), number)
            return
    _end_now(f"{_lost[0]}; what was finished is kept, and the same command resumes from there", 1)


def how_it_ended(code: int | None) -> str:
    """code: the exit code of another process, or None when it is not known."""
    if code is None:
        return "other processes of the run are gone"
    return f"another process of the run {f'was killed (signal {-code})' if code < 0 else f'ended with code {code}'}"


def lost_others(error: BaseException) -> bool:
    """Is it that of a collective operation?  Then another process has most likely gone."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(name.startswith("torch.distributed") for name in frames)


def ended_by_another(trainer: Any, error: BaseException) -> int | None:
    """The exit code of a process that this one started and that has failed; None when there is none.

    error: of this process. When a collective failed, another process has most likely gone, and is waited for.
    """
    deadline = time.monotonic() + (30 if lost_others(error) else 0)
    while True:
        for child in _children(trainer):
            if code := _exit_code(child):
                return code
        if not _children(trainer) or time.monotonic() > deadline:
            return None
        time.sleep(0.05)


def end_others(trainer: Any) -> None:
    """Ends the processes that this one started, and waits until they are gone."""
    alive = [child for child in _children(trainer) if _exit_code(child) is None]
    for child in alive:
        child.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(_exit_code(child) is None for child in alive):
        time.sleep(0.01)


def let_the_first_speak(seconds: float) -> None:
    """Called where a process that the first has started has ended early: the first will end it, or is gone.

    One that exits at once with an error makes the first one end too, which may still be writing.
    """
    if _started_by:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which forked processes are ended
    deadline = time.monotonic() + seconds
    while _started_by and time.monotonic() < deadline and os.getppid() == _started_by[0]:
        time.sleep(0.05)


def _children(trainer: Any) -> list[Any]:
    launcher = getattr(getattr(trainer, "strategy", None), "launcher", None)
    return list(getattr(launcher, "procs", []))


def _exit_code(child: Any) -> int | None:
    """Of a Popen, or of a process that multiprocessing has forked; None while it runs."""
    return child.poll() if hasattr(child, "poll") else child.exitcode
