"""Retries when a server or the network fails, so that a fault costs time but no sample."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

NETWORK_PACKAGES = ("aiohttp", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
"""HTTP packages that datasets, fsspec and huggingface_hub use; their errors mean that an exchange failed."""

TORN = ("ArrowInvalid", "ReadError")
"""Errors that pyarrow and tarfile raise for a truncated file."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retry:
    """Retries after `first`, 2 `first`, 4 `first` ... seconds, at most `longest`, for consecutive faults.

    A fault is an error that may be temporary: a broken or refused connection, a timeout, an HTTP status of 408, 425,
    429 or 5xx, a truncated file. All other errors (no such file, no permission) are raised at once. Anything read
    since the last fault resets the count.

    This adds to the retries of the libraries: datasets repeats single reads (every 5 s, 20 times), and huggingface_hub
    its requests to the hub. They do not cover a file that cannot be opened (fsspec reports a status of 500 as a missing
    file) and a truncated response, and their final error does not name the address.

    Args:
        attempts: number of attempts in all, including the first.
        first: seconds before the second attempt.
        longest: largest number of seconds between two attempts.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first < 0:
            raise ValueError(
                f"attempts must be >= 1 and the seconds between them >= 0, got {self.attempts} attempts and "
                f"{self.first} seconds"
            )

    def call(self, what: str, function: Callable[[], T]) -> T:
        """The result of function(), repeated after each fault.  what: the address, for the error.  Errors: OSError."""
        return next(self.stream(what, lambda done: iter([function()])))

    def stream(self, what: str, start: Callable[[int], Iterator[T]]) -> Iterator[T]:
        """The items of start(0); after a fault that follows n items, those of start(n), which begins with item n."""
        done = faults = 0
        while True:
            try:
                for item in start(done):
                    done, faults = done + 1, 0
                    yield item
                return
            except Exception as error:
                if not is_fault(error):
                    raise
                faults += 1
                self._wait(what, faults, error)

    def _wait(self, what: str, faults: int, error: Exception) -> None:
        reason = describe(error)
        if faults >= self.attempts:
            raise OSError(
                f"{what} could not be read in {faults} attempts, the last of which failed with: {reason}; check the "
                "address and the network, then start again"
            ) from error
        seconds = min(self.first * 2 ** (faults - 1), self.longest)
        logger.warning("%s: %s; attempt %d of %d in %g s", what, reason, faults + 1, self.attempts, seconds)
        time.sleep(seconds)


def is_fault(error: BaseException) -> bool:
    """Whether a retry may help, see Retry."""
    chain = list(_chain(error))
    if any(type(link).__name__ == "OfflineModeIsEnabled" for link in chain):
        return False
    statuses = [status for link in chain if (status := _status(link)) is not None]
    if statuses:
        return any(status in (408, 425, 429) or status >= 500 for status in statuses)
    return any(_broken(link) for link in chain)


def describe(error: BaseException) -> str:
    """The innermost error, which states the cause, on one line."""
    *_, last = _chain(error)
    text = " ".join(str(last).split())[:200]
    return f"{type(last).__name__}: {text}" if text else type(last).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error of any of the packages carries."""
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _broken(error: BaseException) -> bool:
    packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return (
        isinstance(error, ConnectionError | TimeoutError | EOFError)
        or any(kind.__name__ in ("TimeoutError", *TORN) for kind in type(error).__mro__)
        or not packages.isdisjoint(NETWORK_PACKAGES)
    )
