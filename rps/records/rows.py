"""The records of a run: one row per (sample id, level), and feature vectors."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from rps.cost import RelativeCost
from rps.metrics.base import MetricInfo
from rps.records.files import written
from rps.restoration import Level

Kind = Literal["restored", "pseudo_inverse", "reference", "posterior_mean", "posterior_sample", "optimal"]
"""An image at a level of the traversal; A^+ y, the baseline; the clean image. If the posterior is known: E[x | y], a
draw from p(x | y), and an image on the optimal curve. Only the first and the last have a level."""

NAME = re.compile(r"\d{20}-\d{5}-\d+-[0-9a-f]{8}\.parquet")
"""Names of RecordWriter's files: time, rank, process id and a unique suffix."""

TEXTS = ("id", "kind", "status", "reason")
META = b"rps"


class RowCost(NamedTuple):
    """The cost of an image to reach this level alone, and as total_ in the one pass over all levels; None if unknown.

    network_calls, ..., decoder_backwards: see rps.cost.Cost. forward_equivalents: these in network forwards.
    stored_forward_equivalents: the part of total_forward_equivalents whose results were read from a store (--stage1).
    """

    network_calls: float | None = None
    total_network_calls: float | None = None
    seconds: float | None = None
    network_backwards: float | None = None
    decoder_calls: float | None = None
    decoder_backwards: float | None = None
    forward_equivalents: float | None = None
    total_forward_equivalents: float | None = None
    stored_forward_equivalents: float | None = None


@dataclass(frozen=True)
class Row:
    """A record.

    status: "failed" if there is no usable image; then reason states why, and metrics are empty.
    metrics: name -> value of the metrics that apply; NaN if the value is missing.
    """

    id: str
    level: Level | None
    kind: Kind = "restored"
    status: Literal["ok", "failed"] = "ok"
    reason: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    cost: RowCost = field(default_factory=RowCost)


@dataclass(frozen=True)
class Vectors:
    """Feature vectors of images of one kind and level.  ids: N names. vectors: float32 [N, D]."""

    ids: Sequence[str]
    level: Level | None
    kind: Kind
    vectors: Tensor


REFERENCE = "reference set"
"""The key of the reference set's file in Origin.hashes."""


@dataclass(frozen=True)
class Origin:
    """What records were made with, which must not change during a run.

    hashes: SHA-256 of the weights of the model and of the metrics' networks, and of the file of the reference set.
    reference: the reference set of Frechet distances, see rps.metrics.load_reference; None is the run's own clean
    images. metrics: name -> MetricInfo, in the order of tables. data: the location of the data, if known.
    relative_cost: of the prior; None if unknown. module: what the module is, see rps.records.module_settings.
    """

    hashes: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    metrics: Mapping[str, MetricInfo] = field(default_factory=dict)
    data: str | None = None
    relative_cost: RelativeCost | None = None
    module: Mapping[str, Any] = field(default_factory=dict)

    def changes(self, now: Origin) -> list[str]:
        """One phrase per entry that both have and that differs."""
        found = [
            f"the {name} has changed (SHA-256 {old[:8]}... is now {now.hashes[name][:8]}...)"
            for name, old in self.hashes.items()
            if now.hashes.get(name, old) != old
        ]
        for what, old, new in (("data", self.data, now.data), ("reference set", self.reference, now.reference)):
            if old is not None and new is not None and old != new:
                found.append(f"the {what} were read from {old} and are now read from {new}")
        pairs = [(name, old, now.module[name]) for name, old in self.module.items() if name in now.module]
        return found + [f"{name} was {old} and is now {new}" for name, old, new in pairs if old != new]


class RecordWriter:
    """Writes rows to RUN/records and vectors to RUN/features, one small file of each per call.

    A file is written under a temporary name and renamed into place; its name begins with the time and is unique, so any
    number of processes may write at once, and readers know which of two rows is later. Features come first: a row
    promises that they exist.

    Args:
        run: the run directory.
        rank: the rank of this process, for the names of its files.
    """

    def __init__(self, run: str | Path, rank: int = 0) -> None:
        self.run = Path(run)
        self.rank = rank

    def write(
        self,
        rows: Sequence[Row],
        knob: str,
        vectors: Sequence[Vectors] = (),
        network: str | None = None,
        origin: Origin | None = None,
    ) -> None:
        """Writes rows and vectors.  knob: the name of the levels' knob. network: the name of the feature network that
        made the vectors. origin: what both were made with."""
        name = f"{time.time_ns():020d}-{self.rank:05d}-{os.getpid()}-{uuid.uuid4().hex[:8]}.parquet"
        if any(len(v.ids) for v in vectors):
            self._save("features", name, _feature_columns(vectors), {"network": network})
        if rows:
            origin = origin or Origin()
            self._save("records", name, _row_columns(rows, origin.metrics), {"knob": knob, "origin": asdict(origin)})

    def _save(self, folder: str, name: str, columns: dict[str, Any], meta: dict[str, Any]) -> None:
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.table(columns).replace_schema_metadata({META: json.dumps(meta).encode()})
        with written(self.run / folder / name) as path:
            pyarrow.parquet.write_table(table, path)


def _row_columns(rows: Sequence[Row], metrics: Iterable[str]) -> dict[str, Any]:
    """Columns of a file, the given metrics among them even if no row has one: whoever reads a folder of files takes
    the columns of the first."""
    import pyarrow

    metrics = dict.fromkeys([*metrics, *(name for row in rows for name in row.metrics)])
    columns = {name: pyarrow.array([getattr(row, name) for row in rows], pyarrow.string()) for name in TEXTS}
    columns["level"] = pyarrow.array([row.level for row in rows], pyarrow.float64())
    for name in metrics:
        columns[name] = pyarrow.array([row.metrics.get(name) for row in rows], pyarrow.float64())
    for name in RowCost._fields:
        columns[name] = pyarrow.array([getattr(row.cost, name) for row in rows], pyarrow.float64())
    return columns


def _feature_columns(vectors: Sequence[Vectors]) -> dict[str, Any]:
    import pyarrow
    import torch

    vectors = [v for v in vectors if len(v.ids)]
    values = torch.cat([v.vectors for v in vectors]).detach().float().cpu().contiguous()
    flat = pyarrow.array(values.flatten().numpy())
    return {
        "id": pyarrow.array([id_ for v in vectors for id_ in v.ids], pyarrow.string()),
        "kind": pyarrow.array([v.kind for v in vectors for _ in v.ids], pyarrow.string()),
        "level": pyarrow.array([v.level for v in vectors for _ in v.ids], pyarrow.float64()),
        "vector": pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1]),
    }
