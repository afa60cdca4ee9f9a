"""What a run has recorded of samples that lack levels, and the records of the pass that adds these."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from rps.records.evaluate import Evaluation
from rps.records.reader import read_columns
from rps.records.rows import Row, Vectors


class Totals(NamedTuple):
    """The costs of the passes over a sample so far; None if unknown."""

    total_network_calls: float | None
    total_forward_equivalents: float | None


@dataclass(frozen=True)
class Earlier:
    """The records of samples that lack levels.

    totals: id -> costs so far. compared: ids of the samples whose A^+ y is recorded, and so are the features of it and
    of the clean image.
    """

    totals: Mapping[str, Totals] = field(default_factory=dict)
    compared: frozenset[str] = frozenset()

    def completed(self, found: Evaluation) -> Evaluation:
        """The records of another pass, with costs added up and without those that there are."""
        rows = [self._added_up(row) for row in found.rows if row.kind == "restored" or row.id not in self.compared]
        return Evaluation(rows, [self._new(vectors) for vectors in found.vectors])

    def _added_up(self, row: Row) -> Row:
        before = self.totals.get(row.id)
        if before is None or row.kind != "restored":
            return row
        sums = {name: _sum(cost, getattr(row.cost, name)) for name, cost in before._asdict().items()}
        return replace(row, cost=row.cost._replace(**sums))

    def _new(self, vectors: Vectors) -> Vectors:
        if vectors.kind == "restored" or not self.compared:
            return vectors
        index = [i for i, id_ in enumerate(vectors.ids) if id_ not in self.compared]
        return replace(vectors, ids=[vectors.ids[i] for i in index], vectors=vectors.vectors[index])


def read_earlier(run: str | Path, ids: Collection[str]) -> Earlier:
    """What a run has recorded of these samples."""
    latest: dict[str, dict[float, Totals]] = {}
    compared: set[str] = set()
    for table, _ in read_columns(Path(run) / "records") if ids else ():
        for row in table.to_pylist():
            if row["id"] not in ids:
                continue
            if row["kind"] == "restored" and row["total_network_calls"] is not None:
                latest.setdefault(row["id"], {})[row["level"]] = Totals(*(row.get(name) for name in Totals._fields))
            elif row["kind"] == "pseudo_inverse":
                compared.add(row["id"])
    return Earlier({id_: _largest(of_level.values()) for id_, of_level in latest.items()}, frozenset(compared))


def _largest(totals: Collection[Totals]) -> Totals:
    """That of the last pass, which includes the others."""
    columns = zip(*totals, strict=True)
    return Totals(*(None if None in column else max(column) for column in columns))


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b
