"""Trying again when a server or the network fails: a fault costs time, never a sample."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

NETWORK_PACKAGES = ("aiohttp", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
"""What datasets, fsspec and huggingface_hub speak HTTP with; their errors say that an exchange failed."""

TORN = ("ArrowInvalid", "ReadError")
"""What pyarrow and tarfile raise of a file that ends too early."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retry:
    """Wait `first`, 2 `first`, 4 `first` ... seconds, at most `longest`, after the first, second, third ... fault.

    A fault is what may be gone a moment later: a broken or refused connection, a timeout, an answer 408, 425, 429 or
    5xx, a file that ends too early. All else (no such file, no permission) is raised at once. Faults are counted in a
    row; anything that has been read since the last one makes the count start again.

    This stands around what the libraries do themselves: datasets repeats single reads (every 5 s, 20 times), and
    huggingface_hub its questions to the hub. What they leave is a file that cannot be opened (fsspec calls an answer of
    500 a missing file), an answer that is cut short, and an error at the end that does not name its address.

    Args:
        attempts: in all, the first one included.
        first, longest: seconds.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first < 0:
            raise ValueError(
                f"there must be at least 1 attempt, and at least 0 seconds between them, got {self.attempts} attempts "
                f"and {self.first} seconds"
            )

    def call(self, what: str, function: Callable[[], T]) -> T:
        """function(), again after each fault.  what: the address, for the error.  Errors: OSError."""
        return next(self.stream(what, lambda done: iter([function()])))

    def stream(self, what: str, start: Callable[[int], Iterator[T]]) -> Iterator[T]:
        """The items of start(0); after a fault behind n items, those of start(n), which must begin with item n."""
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
        reason = described(error)
        if faults >= self.attempts:
            raise OSError(
                f"{what} could not be read in {faults} attempts, the last of which ended with: {reason}; check the "
                "address and the network, then start again"
            ) from error
        seconds = min(self.first * 2 ** (faults - 1), self.longest)
        logger.warning("%s: %s; attempt %d of %d in %g s", what, reason, faults + 1, self.attempts, seconds)
        time.sleep(seconds)


def is_fault(error: BaseException) -> bool:
    """Whether trying again may help: see Retry."""
    chain = list(_chain(error))
    if any(type(link).__name__ == "OfflineModeIsEnabled" for link in chain):
        return False
    statuses = [status for link in chain if (status := _status(link)) is not None]
    if statuses:
        return any(status in (408, 425, 429) or status >= 500 for status in statuses)
    return any(_broken(link) for link in chain)


def described(error: BaseException) -> str:
    """One line of the innermost error, which is the one that knows what has happened."""
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
