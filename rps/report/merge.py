"""The end of a run: its records become metrics.json and table.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rps.metrics.features import load_reference
from rps.metrics.frechet import Statistics
from rps.records.files import write_json, write_text
from rps.records.reader import read_records
from rps.records.rows import REFERENCE
from rps.records.summary import summary
from rps.report.table import table


def merge(
    run: str | Path, reference: Statistics | None = None, info: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Merge the records of all processes into RUN/metrics.json and RUN/table.md, which are replaced.

    reference: of the Frechet distances; None is the one that the records name. info: see rps.records.summary.
    -> what metrics.json holds.
    """
    records = read_records(run)
    if reference is None and records.origin.reference is not None:
        reference = load_reference(records.origin.reference, records.origin.hashes.get(REFERENCE))
    result = summary(records, reference, info)
    write_json(Path(run) / "metrics.json", result)
    write_text(Path(run) / "table.md", table(result))
    return result
