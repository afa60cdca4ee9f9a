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


class Terminated(KeyboardInterrupt):
    """SIGTERM: handled like Ctrl-C, so that what was done is kept."""


def terminate(signum: int, frame: object) -> NoReturn:
    raise Terminated


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


@contextmanager
def more_of_the_same(argv: Sequence[str]) -> Iterator[None]:
    """The processes that Lightning starts run this command, with these arguments and this import path.

    Lightning's own way repeats the script and the arguments of the process, which in a notebook or a test are not ours.
    """
    from lightning.pytorch.strategies.launchers import subprocess_script

    call = f"from rps.cli import main; sys.exit(main({['predict', *argv]!r}))"
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


def _observe(children: Sequence[Any], over: threading.Event) -> None:
    """Kills this process when a child has failed and this one waits for it, as some collectives do for ever.

    Lightning's own observer kills at once, even a process that has noticed and is about to say what was wrong.
    """

    def watch() -> None:
        while not over.wait(0.5):
            if any(child.poll() for child in children) and not over.wait(10):
                for child in children:
                    child.kill()
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def ended_by_another(trainer: Any, error: BaseException) -> int | None:
    """The exit code of a process that this one started and that has failed; None when there is none.

    error: of this process. When a collective failed, another process has most likely gone, and is waited for.
    """
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    lost = any(name.startswith("torch.distributed") for name in frames)
    deadline = time.monotonic() + (30 if lost else 0)
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
    """Called where a process other than the first has ended early: the first will end it, or is gone.

    A process that exits at once with an error makes Lightning kill the first one, which may still be writing.
    """
    parent, deadline = os.getppid(), time.monotonic() + seconds
    while time.monotonic() < deadline and os.getppid() == parent:
        time.sleep(0.05)


def _children(trainer: Any) -> list[Any]:
    launcher = getattr(getattr(trainer, "strategy", None), "launcher", None)
    return list(getattr(launcher, "procs", []))
