"""Progress callbacks, by which a long computation reports that it advances."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int], None]
"""progress(what, network_calls): reports further network calls (images through the network) in phase `what`; the tiles
of an image (rps.priors.TiledPrior) count once."""


def silent(what: str, network_calls: int) -> None:
    """A progress callback that does nothing."""
