"""rps merge: rebuilds the tables of a run at any time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rps.cli.errors import SentenceParser
from rps.cli.streams import show, show_written

HELP = """\
usage: rps merge DIR [--no_guides]

Rebuilds metrics.json, table.md, dp_curve.png and report.html from the records that the run in DIR has written so far,
even while it is in progress.

options:
  --no_guides       leave out the reference curves of the figure and the page

exit codes: 0 done; 2 bad input, or no records.
"""


def run_merge(argv: Sequence[str]) -> int:
    """Rebuilds all files made from RUN/records, even while the run is in progress.  -> exit code."""
    from rps.records import check_has_records
    from rps.report.finish import FILES, finish

    parser = SentenceParser("rps merge", "one run directory, e.g. rps merge runs/demo")
    parser.add_argument("run", metavar="DIR")
    parser.add_argument("--no_guides", dest="guides", action="store_false")
    given = parser.parse_args(list(argv))
    run = Path(given.run)
    check_has_records(run)
    finish(run, guides=given.guides)
    show((run / "table.md").read_text(encoding="utf-8").strip())
    show_written(run / name for name in FILES if (run / name).is_file())
    return 0
