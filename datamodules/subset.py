"""Chooses samples of a stream: at random, or by id."""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any


@dataclass(frozen=True)
class Subset:
    """The samples of a stream at these places, which is read no further than the last of them, or with these ids."""

    samples: Iterable[Any]
    places: frozenset[int] | range | None = None
    ids: Container[str] = ()

    def __iter__(self) -> Iterator[Any]:
        if self.places is None:
            return (sample for sample in self.samples if sample[0] in self.ids)
        found = (sample for place, sample in enumerate(self.samples) if place in self.places)
        return islice(found, len(self.places))


def choice(n: int, sizes: Sequence[int], seed: int) -> dict[int, list[int]]:
    """The n rows with the smallest hash of (seed, position), of shards of these sizes.  -> shard -> rows, ascending.

    Errors: ValueError if there are fewer than n rows.
    """
    ends = list(accumulate(sizes))
    total = ends[-1] if ends else 0
    if n > total:
        raise ValueError(f"subset must be at most the number of samples, {total}, got {n}")

    def key(position: int) -> bytes:
        return hashlib.blake2b(f"{seed}/{position}".encode(), digest_size=16).digest()

    chosen: dict[int, list[int]] = {}
    for position in sorted(heapq.nsmallest(n, range(total), key)):
        shard = bisect(ends, position)
        chosen.setdefault(shard, []).append(position - ends[shard] + sizes[shard])
    return chosen
