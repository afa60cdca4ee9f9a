"""Outputs are named by ids: a second sample of an id must not take the place of the first."""

from __future__ import annotations


class SeenIds:
    """The ids that have come so far."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def unique(self, id_: str) -> str:
        """The id itself the first time; after that one that no other sample has: "a (repeat 1)"."""
        name = id_
        while name in self._next:
            name = f"{id_} (repeat {self._next[id_]})"
            self._next[id_] += 1
        self._next[name] = 1
        return name


def repeat_reason(id_: str) -> str:
    """Why a second sample of an id fails."""
    return (
        f"another sample has the id {id_!r}, and outputs are named by ids; give ids that differ (of "
        "datamodules.HuggingFace: a column of unique ids as id_column, or id_from: index)"
    )
