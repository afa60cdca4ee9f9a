"""rps merge: what the records of a run come to, at any time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rps.cli.errors import sentence
from rps.cli.streams import say, show, show_written


def merge(argv: Sequence[str]) -> int:
    """Writes anew what is made of RUN/records, also beside a run that is under way.  -> exit code."""
    if len(argv) != 1 or argv[0].startswith("-"):
        return _error("rps merge takes one run directory, e.g. rps merge runs/demo")
    run = Path(argv[0])
    from rps.records.directory import MARKER, is_run

    if not is_run(run):
        return _error(f"{run} holds no run: there is no {MARKER} in it")
    from rps.records.reader import has_records

    if not has_records(run):
        return _error(f"{run} has no records yet; a run writes them after each of its batches")
    try:
        _merge(run)
    except (ValueError, OSError) as error:
        return _error(sentence(error))
    show((run / "table.md").read_text(encoding="utf-8").strip())
    names = ("metrics.json", "table.md", "dp_curve.png", "report.html")
    show_written(run / name for name in names if (run / name).is_file())
    return 0


def _merge(run: Path) -> None:
    from rps.records.reader import read_records
    from rps.report.curve import dp_curve_plot
    from rps.report.merge import merge
    from rps.report.page import write_page

    if read_records(run).judged:
        raise ValueError(
            "the run was judged against exact posteriors, which needs more than its records; give its rps predict "
            "command again, which merges them"
        )
    found = merge(run)
    try:
        dp_curve_plot(found, run / "dp_curve.png")
    except ValueError as reason:
        say(f"no distortion-perception curve: {reason}")
    write_page(run, found)


def _error(text: str) -> int:
    say(f"error: {text}")
    return 2
