"""Keeps ids unique: outputs are named by ids, so a second sample with an id must not replace the first."""

from __future__ import annotations


class SeenIds:
    """The ids seen so far."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def unique(self, id_: str) -> str:
        """The id itself the first time; afterwards one that no other sample has: "a (repeat 1)"."""
        name = id_
        while name in self._next:
            name = f"{id_} (repeat {self._next[id_]})"
            self._next[id_] += 1
        self._next[name] = 1
        return name


def repeat_reason(id_: str) -> str:
    """Why a second sample with an id fails."""
    return (
        f"another sample has the id {id_!r}, but outputs are named by ids; give unique ids (in "
        "datamodules.HuggingFace: a column of unique ids as id_column, or id_from: index)"
    )
