"""Which samples of a run are done, restored or recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from rps.records.reader import read_columns
from rps.restoration import Level

Outcomes = Mapping[float, Mapping[str, bool]]
"""Level -> id -> whether the sample was restored there; False is a recorded failure."""


def outcomes(run: str | Path) -> Outcomes:
    """The outcomes in the records; a success counts, whatever came before or after it."""
    found: dict[float, dict[str, bool]] = {}
    for table, _ in read_columns(Path(run) / "records", ["kind", "status"]):
        for row in table.to_pylist():
            if row["kind"] == "restored":
                of_level = found.setdefault(row["level"], {})
                of_level[row["id"]] = of_level.get(row["id"], False) or row["status"] == "ok"
    return found


def levels_left(
    found: Outcomes, levels: Iterable[Level] | None = None, with_failed: bool = True
) -> dict[str, tuple[Level, ...]]:
    """Id -> the levels at which a sample has no record, of the samples that have one at any level.

    levels: those of the config; None is all levels in the records. with_failed: whether a failure counts as a record.
    """
    there = {level: {id_ for id_, ok in of_level.items() if ok or with_failed} for level, of_level in found.items()}
    wanted = list(found if levels is None else levels)
    return {
        id_: tuple(level for level in wanted if id_ not in there.get(level, ())) for id_ in set().union(*there.values())
    }


def restored_ids(found: Outcomes) -> dict[float, set[str]]:
    """Level -> the samples restored there."""
    return {level: {id_ for id_, ok in of_level.items() if ok} for level, of_level in found.items()}


NO_SAMPLE = "the data have no sample with this id"
"""Reason of the failure of a sample that was asked for and not found."""


def recorded_ids(run: str | Path) -> set[str]:
    """The samples with any record, without those that the data did not have."""
    tables = read_columns(Path(run) / "records", ["reason"])
    return {row["id"] for table, _ in tables for row in table.to_pylist() if row["reason"] != NO_SAMPLE}


def lacking_features(run: str | Path, found: Outcomes) -> set[str]:
    """Restored samples whose features are missing at some level, because files were removed."""
    tables = read_columns(Path(run) / "features", ["kind"])
    there = {(row["level"], row["id"]) for table, _ in tables for row in table.to_pylist() if row["kind"] == "restored"}
    return {id_ for level, ids in restored_ids(found).items() for id_ in ids if (level, id_) not in there}
