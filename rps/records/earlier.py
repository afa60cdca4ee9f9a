"""What a run has recorded of samples that lack levels, and the records of the pass that adds these."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rps.records.evaluate import Evaluation
from rps.records.reader import read_columns
from rps.records.rows import Row, Vectors

TOTALS = ("total_network_calls", "total_forward_equivalents")
"""The costs that add up over the passes over a sample."""


@dataclass(frozen=True)
class Earlier:
    """The records of samples that lack levels.

    totals: id -> name in TOTALS -> cost so far, None if unknown. compared: ids of the samples whose A^+ y is recorded,
    and so are the features of it and of the clean image.
    """

    totals: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    compared: frozenset[str] = frozenset()

    def completed(self, found: Evaluation) -> Evaluation:
        """The records of another pass, with costs added up and without those that there are."""
        rows = [self._added_up(row) for row in found.rows if row.kind == "restored" or row.id not in self.compared]
        return Evaluation(rows, [self._new(vectors) for vectors in found.vectors])

    def _added_up(self, row: Row) -> Row:
        before = self.totals.get(row.id, {}) if row.kind == "restored" else {}
        pairs = {name: (cost, getattr(row.cost, name)) for name, cost in before.items()}
        sums = {name: None if None in pair else sum(pair) for name, pair in pairs.items()}
        return replace(row, cost=row.cost._replace(**sums))

    def _new(self, vectors: Vectors) -> Vectors:
        if vectors.kind == "restored" or not self.compared:
            return vectors
        index = [i for i, id_ in enumerate(vectors.ids) if id_ not in self.compared]
        return replace(vectors, ids=[vectors.ids[i] for i in index], vectors=vectors.vectors[index])


def read_earlier(run: str | Path, ids: Collection[str]) -> Earlier:
    """What a run has recorded of these samples."""
    latest: dict[str, dict[float, list[float | None]]] = {}
    compared: set[str] = set()
    for table, _ in read_columns(Path(run) / "records") if ids else ():
        for row in table.to_pylist():
            if row["id"] not in ids:
                continue
            if row["kind"] == "restored" and row["total_network_calls"] is not None:
                latest.setdefault(row["id"], {})[row["level"]] = [row.get(name) for name in TOTALS]
            elif row["kind"] == "pseudo_inverse":
                compared.add(row["id"])
    columns = {id_: zip(TOTALS, zip(*of_level.values(), strict=True), strict=True) for id_, of_level in latest.items()}
    # The largest is that of the last pass, which includes the others.
    totals = {id_: {name: None if None in of else max(of) for name, of in found} for id_, found in columns.items()}
    return Earlier(totals, frozenset(compared))
