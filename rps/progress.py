"""How a long computation tells the outside that it moves, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int], None]
"""progress(what, network_calls): so many more network calls (images through the network) are done, in this phase."""


def silent(what: str, network_calls: int) -> None:
    """The listener that does nothing."""
