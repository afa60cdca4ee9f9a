"""What a run has done already, and what its killed processes left half-written."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from rps.records.reader import read_columns
from rps.restoration import Level


def done_ids(run: str | Path, levels: Iterable[Level] | None = None, with_failed: bool = True) -> set[str]:
    """The samples that have a record at every level.

    levels: of the config; None is all those of which there are records. with_failed: whether a failure is a record too.
    """
    by_level: dict[float, set[str]] = {}
    for table, _ in read_columns(Path(run) / "records", ["id", "kind", "level", "status"]):
        columns = (table[name].to_pylist() for name in ("id", "kind", "level", "status"))
        for id_, kind, level, status in zip(*columns, strict=True):
            if kind == "restored":
                ids = by_level.setdefault(level, set())
                ids.add(id_) if with_failed or status == "ok" else ids.discard(id_)
    wanted: Collection[float] = by_level if levels is None else [float(level) for level in levels]
    found = [by_level.get(level, set()) for level in wanted]
    return set.intersection(*found) if found else set()


def recorded_ids(run: str | Path) -> set[str]:
    """The samples of which there is any record."""
    tables = read_columns(Path(run) / "records", ["id"])
    return {id_ for table, _ in tables for id_ in table["id"].to_pylist()}


def sweep(run: str | Path) -> int:
    """Removes the temporary files of killed processes, when no run is writing.  -> how many there were."""
    stale = [path for path in Path(run).rglob(".*.part*") if path.is_file()]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)
