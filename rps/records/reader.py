"""Reads and merges the records of all processes of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rps.cost import RelativeCost
from rps.metrics.base import ORACLE, MetricInfo
from rps.metrics.standard import standard
from rps.records.rows import META, NAME, TEXTS, Kind, Origin, Row, RowCost
from rps.records.staging import current
from rps.restoration import Level

ROW_COLUMNS = (*TEXTS, "network_calls", "total_network_calls", "seconds")
"""Columns of every file. Files of earlier versions lack those of the other costs, which are then unknown."""

Key = tuple[Kind, Level | None]
"""A kind of image, and its level if it has one."""


@dataclass(frozen=True)
class Records:
    """Everything that a run has recorded, each (id, kind, level) once.

    knob: the name of the traversal's knob. rows, features: by kind and level, then by id, ids in sorted order.
    network: the name of the feature network, or None. duplicates: number of rows that were written again; the last
    counts, unless it is a failure after a success.
    repeated_ids: ids under which two different images were recorded: two samples with one id.
    origin: what the records were made with, each entry from the earliest file that has it.
    """

    knob: str
    rows: dict[Key, dict[str, Row]]
    features: dict[Key, dict[str, Tensor]]
    network: str | None
    duplicates: int
    origin: Origin = field(default_factory=Origin)
    repeated_ids: frozenset[str] = frozenset()

    @property
    def levels(self) -> list[Level]:
        """In rising order."""
        return sorted(level for kind, level in self.rows if kind == "restored" and level is not None)

    @property
    def metrics(self) -> list[MetricInfo]:
        """The metrics that some row has, in the order of tables, without figures from an exact posterior."""
        names = dict.fromkeys(name for of_key in self.rows.values() for row in of_key.values() for name in row.metrics)
        infos = {**self.origin.metrics}
        infos |= {metric.name: metric.info for metric in standard() if metric.name not in infos}
        ordered = [*(name for name in infos if name in names), *sorted(names.keys() - infos.keys())]
        return [infos.get(name, MetricInfo(name, name)) for name in ordered if not name.startswith(ORACLE)]

    @property
    def at_levels(self) -> Iterator[Row]:
        """The rows of the samples at the levels."""
        return (row for level in self.levels for row in self.rows["restored", level].values())

    @property
    def ids(self) -> set[str]:
        """The samples with a row at some level."""
        return {row.id for row in self.at_levels}

    @property
    def judged(self) -> bool:
        """Whether rows hold figures of rps.oracle.OracleRecorder."""
        return any(name.startswith(ORACLE) for row in self.at_levels for name in row.metrics)

    def only(self, ids: Set[str]) -> Records:
        """The records of these samples."""
        rows = {key: {id_: row for id_, row in of_key.items() if id_ in ids} for key, of_key in self.rows.items()}
        features = {key: {i: vector for i, vector in of.items() if i in ids} for key, of in self.features.items()}
        return replace(self, rows=rows, features=features)

    def restored(self) -> set[str]:
        """The samples that were restored at some level."""
        return {row.id for row in self.at_levels if row.status == "ok"}

    def failures(self) -> dict[str, str]:
        """id -> reason for every sample that failed at some level."""
        return {row.id: row.reason or "no reason recorded" for row in self.at_levels if row.status == "failed"}


def read_records(run: str | Path, with_features: bool = True) -> Records:
    """Merge RUN/records/*.parquet and RUN/features/*.parquet, in the order in which they were written."""
    rows: dict[Key, dict[str, Row]] = {}
    knobs: set[str] = set()
    origin = Origin()
    failed: set[str] = set()
    repeated_ids: set[str] = set()
    count = 0
    for table, meta in read_columns(Path(run) / "records"):
        knobs.add(meta["knob"])
        origin = _merged(origin, meta)
        for record in table.to_pylist():
            row = _row(record)
            of_key = rows.setdefault((row.kind, row.level), {})
            before = of_key.get(row.id)
            if row.kind == "restored" and before is not None and row.id not in failed and not _alike(row, before):
                repeated_ids.add(row.id)
            if row.status == "failed":
                failed.add(row.id)
            if before is None or row.status == "ok" or before.status == "failed":
                of_key[row.id] = row
            count += 1
    features: dict[Key, dict[str, Tensor]] = {}
    networks: set[str | None] = set()
    for table, meta in read_columns(Path(run) / "features") if with_features else ():
        networks.add(meta["network"])
        values = torch.tensor(table["vector"].combine_chunks().flatten().to_numpy()).view(len(table), -1)
        labels = zip(table["kind"].to_pylist(), table["level"].to_pylist(), table["id"].to_pylist(), strict=True)
        for (kind, level, id_), vector, finite in zip(labels, values, values.isfinite().all(1).tolist(), strict=True):
            if finite:  # a sample with NaN features counts as having none
                features.setdefault((kind, _level(level)), {})[id_] = vector
    for what, names in (("knobs", knobs), ("feature networks", networks)):
        if len(names) > 1:
            raise ValueError(
                f"{run} has records of several {what}: {sorted(map(str, names))}; use one run directory per setting"
            )
    return Records(
        knob=next(iter(knobs), ""),
        rows={key: dict(sorted(of_key.items())) for key, of_key in rows.items()},
        features={key: dict(sorted(of_key.items())) for key, of_key in features.items()},
        network=next(iter(networks), None),
        duplicates=count - sum(len(of_key) for of_key in rows.values()),
        origin=origin,
        repeated_ids=frozenset(repeated_ids),
    )


def read_origin(run: str | Path) -> Origin:
    """What the records of a run were made with."""
    origin = Origin()
    for _, meta in read_columns(Path(run) / "records", ["kind"]):
        origin = _merged(origin, meta)
    return origin


def _merged(origin: Origin, meta: Mapping[str, Any]) -> Origin:
    """The origin with the entries of a later file added; entries of earlier files win."""
    own = meta.get("origin", {})
    return Origin(
        {**own.get("hashes", {}), **origin.hashes},
        origin.reference or own.get("reference"),
        {**{name: MetricInfo(**info) for name, info in own.get("metrics", {}).items()}, **origin.metrics},
        origin.data or own.get("data"),
        origin.relative_cost or (RelativeCost(**relative) if (relative := own.get("relative_cost")) else None),
        {**own.get("module", {}), **origin.module},
    )


def has_records(run: str | Path) -> bool:
    return next(_files(Path(run) / "records"), None) is not None


def files_of(run: Path) -> list[str]:
    """The names of the files of records."""
    return [path.name for path in _files(run / "records")]


def _files(folder: Path) -> Iterator[Path]:
    """The files that RecordWriter has written, by name."""
    folder = current(folder.parent) / folder.name
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if NAME.fullmatch(path.name))


def read_columns(folder: Path, columns: Sequence[str] = ()) -> Iterator[tuple[Any, dict[str, Any]]]:
    """(pyarrow table, metadata) of every file in the order of writing.

    columns: the columns to read in addition to "id" and "level"; empty reads all. Errors: ValueError for a file that
    this program did not write.
    """
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    wanted = list(dict.fromkeys(["id", "level", *columns])) if columns else None
    needed = wanted or ["id", "kind", "level", *(("vector",) if folder.name == "features" else ROW_COLUMNS)]
    for path in _files(folder):
        try:
            table = pyarrow.parquet.ParquetFile(path).read(wanted)
            meta = json.loads(table.schema.metadata[META])
            if lacking := [name for name in needed if name not in table.column_names]:
                raise ValueError(f"it has no column {lacking[0]!r}")
            if table["id"].null_count or bool(pyarrow.compute.any(pyarrow.compute.is_nan(table["level"])).as_py()):
                raise ValueError("it has a row without an id, or with a level that is not a number")
        except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is not a records file that this program wrote ({error}); move it away to resume without it"
            ) from error
        yield table, meta


def _alike(row: Row, other: Row) -> bool:
    """Whether two rows are of one image that was restored twice: metrics agree up to differences of devices."""
    both = row.metrics.keys() & other.metrics.keys()
    return bool(both) and all(
        math.isclose(a := row.metrics[name], b := other.metrics[name], rel_tol=1e-3, abs_tol=1e-6)
        or (math.isnan(a) and math.isnan(b))
        for name in both
    )


def _row(record: dict[str, Any]) -> Row:
    texts = {name: record.pop(name) for name in TEXTS}
    level = _level(record.pop("level"))
    cost = RowCost(**{name: record.pop(name, None) for name in RowCost._fields})
    return Row(**texts, level=level, metrics={k: v for k, v in record.items() if v is not None}, cost=cost)


def _level(value: float | None) -> Level | None:
    return int(value) if value is not None and value.is_integer() else value
