"""rps merge: rebuilds the tables of a run at any time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rps.cli.errors import InputError, sentence
from rps.cli.streams import say, show, show_written

HELP = """\
usage: rps merge DIR

Rebuilds metrics.json, table.md, dp_curve.png and report.html from the records that the run in DIR has written so far,
even while it is in progress.

exit codes: 0 done; 2 bad input, or no records.
"""


def run_merge(argv: Sequence[str]) -> int:
    """Rebuilds all files made from RUN/records, even while the run is in progress.  -> exit code."""
    if {"-h", "--help"} & set(argv):
        print(HELP, end="")
        return 0
    from rps.records import check_has_records
    from rps.report.finish import FILES, finish

    try:
        if len(argv) != 1 or argv[0].startswith("-"):
            raise InputError("rps merge takes one run directory, e.g. rps merge runs/demo")
        run = Path(argv[0])
        check_has_records(run)
        finish(run)
    except (ValueError, OSError) as error:
        say(f"error: {sentence(error)}")
        return 2
    show((run / "table.md").read_text(encoding="utf-8").strip())
    show_written(run / name for name in FILES if (run / name).is_file())
    return 0
