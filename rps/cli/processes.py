"""What is special about several processes, and about signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from rps.cli.errors import InputError


class Terminated(KeyboardInterrupt):
    """SIGTERM: handled like Ctrl-C, so that what was done is kept."""


class LostProcess(KeyboardInterrupt):
    """Another process of the run has ended before its work was done; the text says how."""


_lost: list[str] = []
"""What `_observe`, a thread, leaves for `terminate`, which runs in the main thread."""


def terminate(signum: int, frame: object) -> NoReturn:
    raise LostProcess(_lost.pop()) if _lost else Terminated


def rank() -> int:
    """The number of this process among those of the run."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0)


@contextmanager
def tidy() -> Iterator[None]:
    """Afterwards the process is as it was: environment, import path, warnings, signals, process group.

    The current directory is searched last, so that `class_path: my_ops.MyOperator` works and nothing there hides an
    installed package.
    """
    environment, path = dict(os.environ), list(sys.path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
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
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
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
def more_of_the_same(argv: Sequence[str]) -> Iterator[None]:
    """The processes that Lightning starts run this command, with these arguments and this import path.

    Lightning's own way repeats the script and the arguments of the process, which in a notebook or a test are not ours.
    """
    from lightning.pytorch.strategies.launchers import subprocess_script

    call = (
        "from rps.cli import main, processes; "
        f"processes.end_with({os.getpid()}); sys.exit(main({['predict', *argv]!r}))"
    )
    program = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {call}"]
    over = threading.Event()
    replaced = {
        "_basic_subprocess_cmd": lambda: program,
        "_launch_process_observer": lambda children: _observe(children, over),
    }
    originals = {name: getattr(subprocess_script, name) for name in replaced if hasattr(subprocess_script, name)}
    for name in originals:
        setattr(subprocess_script, name, replaced[name])
    try:
        yield
    finally:
        over.set()
        for name, original in originals.items():
            setattr(subprocess_script, name, original)


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
    """Interrupts this process when a child has failed, and kills it where it cannot hear, as in some collectives.

    Lightning's own observer kills at once, even a process that has noticed and is about to say what was wrong.
    """

    def watch() -> None:
        while not over.wait(0.5):
            failed = [child for child in children if child.poll()]
            if failed and not over.wait(10):
                _lost.append(how_it_ended(failed[0].returncode))
                os.kill(os.getpid(), signal.SIGTERM)
                while _lost and not over.wait(30):
                    for child in children:
                        child.kill()
                    os.kill(os.getpid(), signal.SIGKILL)
                return

    threading.Thread(target=watch, daemon=True).start()


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
            if child.poll():
                return int(child.returncode)
        if not _children(trainer) or time.monotonic() > deadline:
            return None
        time.sleep(0.05)


def end_others(trainer: Any) -> None:
    """Ends the processes that this one started."""
    for child in _children(trainer):
        if child.poll() is None:
            child.kill()


def let_the_first_speak(seconds: float) -> None:
    """Called where a process that the first has started has ended early: the first will end it, or is gone.

    One that exits at once with an error makes the first one end too, which may still be writing.
    """
    deadline = time.monotonic() + seconds
    while _started_by and time.monotonic() < deadline and os.getppid() == _started_by[0]:
        time.sleep(0.05)


def _children(trainer: Any) -> list[Any]:
    launcher = getattr(getattr(trainer, "strategy", None), "launcher", None)
    return list(getattr(launcher, "procs", []))
