"""Locks a run directory, so that one run at a time writes to it."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from rps.printable import printable

NAME = ".lock"
PATIENCE = 12.0
"""Seconds within which the data workers and other processes of a killed run end by themselves."""


class RunLocked(ValueError):
    """Another run is writing to the directory."""


class RunLock:
    """flock on RUN/.lock, shared by all processes of a run for as long as any of them lives.

    The first process takes it alone (`begin`) and then shares it with the others (`join`). The kernel releases it when
    a process ends in any way, so no lock is stale after kill -9. It works between processes of one machine on any file
    system, and between machines if the file system supports flock: NFS (Linux 2.6.12 and newer), GPFS, Lustre mounted
    with -o flock. Elsewhere two machines may write at once; two runs of one config write the same, and a sample that
    both restored counts once.

    Args:
        run: the run directory, which `begin` creates.
    """

    def __init__(self, run: str | Path) -> None:
        self.path = Path(run) / NAME
        self.file: IO[str] | None = None

    def begin(self, patience: float = PATIENCE) -> None:
        """Takes the lock, in the first process.  Errors: RunLocked, at once if the first process of the other run is
        alive on this machine, otherwise after `patience` seconds."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + patience
        while not self._lock(alone=True):
            owner = self._owner()
            if _alive(owner) or time.monotonic() > deadline:
                self.release()
                raise RunLocked(
                    f"{self.path.parent} is being written by another run (process {owner.get('pid', '?')} on "
                    f"{owner.get('host', '?')}, started {owner.get('begun', '?')}); wait for it, end all its "
                    "processes, or give another --output"
                )
            time.sleep(0.2)
        assert self.file is not None
        begun = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.file.seek(0)
        self.file.truncate()
        json.dump({"host": socket.gethostname(), "pid": os.getpid(), "begun": begun}, self.file)
        self.file.flush()

    def join(self) -> None:
        """Shares the lock, in every process, in the first one before all others.

        Between the two kinds of lock there is a moment without one. Errors: RunLocked if another run used it.
        """
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"{self.path.parent} does not exist on {socket.gethostname()}; put it on a file system that all "
                "machines of the run share"
            )
        if not self._lock(alone=False):
            self.release()
            raise RunLocked(f"another run in {self.path.parent} started at the same moment; try again")

    def release(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None

    def _lock(self, alone: bool) -> bool:
        """Tries to lock the file, which is open for as long as the lock is held.  -> whether it was free."""
        if self.file is None:
            self.file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115
        try:
            import fcntl
        except ImportError:  # a system without flock
            return True
        try:
            fcntl.flock(self.file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            if alone:
                text = f"the file system of {self.path.parent} has no locks ({error}); start one run at a time"
                print(printable(text), file=sys.stderr)
        return True

    def _owner(self) -> dict[str, Any]:
        try:
            owner = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it is being written
            return {}
        return owner if isinstance(owner, dict) else {}


def _alive(owner: dict[str, Any]) -> bool:
    """Whether the owner is known to be a running process of this machine."""
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process was killed but not yet reaped by its parent; it holds no locks."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["Z"]
