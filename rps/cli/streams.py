"""Prints the command's output, and survives a reader or a disk that is gone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from rps.printable import printable, printable_lines


def say(text: object) -> None:
    """Prints one sentence on standard error."""
    print(f"rps: {printable(text)}", file=sys.stderr)


def show(text: str) -> None:
    """Prints a table or a list on standard output."""
    print(printable_lines(text))


def show_written(files: Iterable[object]) -> None:
    """Prints the last lines of a command: the files it has written."""
    show("\n".join(["", "Written:", *(f"  {printable(file)}" for file in files)]))


class Stream:
    """A stream that never raises: after the first failed write, output is discarded.

    error: the reason of the failure; None for a broken pipe.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        encoding = self.stream.encoding or "utf-8"
        self._attempt(self.stream.write, text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def _attempt(self, action: Callable[..., object], *arguments: str) -> None:
        try:
            action(*arguments)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.error = self.error or error
            # Redirect the descriptor, so that buffered text does not fail again when the interpreter exits.
            with suppress(OSError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())


@contextmanager
def unbreakable() -> Iterator[Stream]:
    """Within, standard output and standard error are `Stream`s.  -> standard output."""
    former = sys.stdout, sys.stderr
    out, err = (Stream(stream or open(os.devnull, "w")) for stream in former)  # noqa: SIM115 - None if it is closed
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = former
