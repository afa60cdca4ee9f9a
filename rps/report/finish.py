"""Ends a run: makes metrics.json, table.md, dp_curve.png and report.html from its records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rps.metrics.frechet import Statistics
from rps.printable import printable
from rps.records.files import write_json, write_text
from rps.records.reader import Records, read_records
from rps.records.summary import reference_of, summary
from rps.report.curve import dp_curve_plot
from rps.report.findings import findings
from rps.report.page import write_page
from rps.report.shown import Shown
from rps.report.table import table

FILES = ("metrics.json", "table.md", "dp_curve.png", "report.html")


def finish(
    run: str | Path,
    reference: Statistics | None = None,
    info: Mapping[str, Any] | None = None,
    extend: Callable[[Records, dict[str, Any]], Sequence[str]] | None = None,
    guides: bool = True,
) -> dict[str, Any]:
    """Merges the records of all processes and writes the FILES made from them.

    If there is nothing to draw, e.g. without reference images, dp_curve.png is not written and the reason is printed.

    reference: for the Frechet distances; None is the one that the records name. info: see rps.records.summary.
    extend: given the records, adds to the content of metrics.json and returns lines for the end of table.md.
    guides: whether the curve and the page have reference curves. -> the content of metrics.json.
    """
    folder = Path(run)
    records = read_records(folder)
    if records.judged and extend is None:
        raise ValueError(
            "the run was compared with exact posteriors, which cannot be merged from its records alone; repeat its rps "
            "predict command, which merges them"
        )
    result = summary(records, reference or reference_of(records), info)
    result["findings"] = findings(result)
    lines = extend(records, result) if extend else []
    write_json(folder / "metrics.json", result)
    write_text(folder / "table.md", "\n".join([table(result), *lines, ""]) if lines else table(result))
    try:
        dp_curve_plot(result, folder / "dp_curve.png", guides)
    except ValueError as reason:
        (folder / "dp_curve.png").unlink(missing_ok=True)
        print(f"no distortion-perception curve: {printable(reason)}")
    write_page(folder / "report.html", [Shown(folder.resolve().name, folder, records, result)], guides=guides)
    return result
