"""rps report: the page of a run, or one page of several."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rps.cli.compare import paired_with_exact
from rps.cli.errors import InputError, SentenceParser
from rps.cli.streams import show_written

HELP = """\
usage: rps report RUN [RUN ...] [--output FILE] [--standalone] [--pictures N] [--no_guides]

Write a page of one run, or of several on the samples that all of them restored: their curves on one plane, what the
figures say, the pictures with error maps, all tables, and the paired differences of the first run from the others. It
opens in any browser and needs no network.

  rps report runs/demo                                      rebuild runs/demo/report.html from the records so far
  rps report runs/a runs/b --output runs/a_and_b.html       several runs; links to the pictures in runs/
  rps report runs/demo --standalone --output demo.html      pictures inside, so that this one file can be mailed

Several runs must have the same task (operator, noise) and the same pictures. A point of the plane is grey if it is
dominated: another point has less error and a smaller distance, each by more than the standard error of the paired
difference where that is known.

options:
  --output FILE     the page, a .html file; needed for several runs. Without --standalone it must be in a folder that
                    contains the runs, since the page links to their pictures
  --standalone      put the pictures into the file, and cut the folders off the paths in its texts
  --pictures N      show the first N samples, by id; default 1000, or 24 with --standalone
  --no_guides       leave out the reference curves of the plane; a box on the page also hides them

exit codes: 0 written; 2 invalid input, or runs that cannot be shown together.
"""


def run_report(argv: Sequence[str]) -> int:
    """Writes the page.  argv: the arguments after `rps report`.  -> exit code."""
    from rps.report.several import report_runs

    parser = SentenceParser("rps report", "one or more run directories")
    parser.add_argument("runs", metavar="RUN", nargs="+")
    parser.add_argument("--output")
    parser.add_argument("--standalone", action="store_true")
    parser.add_argument("--pictures", type=_count)
    parser.add_argument("--no_guides", dest="guides", action="store_false")
    given = parser.parse_args(list(argv))
    runs = [Path(run) for run in given.runs]
    path = _place(given.output, runs, given.standalone)
    show_written([report_runs(runs, path, given.standalone, given.pictures, paired_with_exact, given.guides)])
    return 0


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"it must be a whole number of samples, got {text!r}")
    return int(text)


def _place(text: str | None, runs: Sequence[Path], standalone: bool) -> Path:
    """The file to write.  Errors: InputError if it is not a page, or would need links that leave its folder."""
    from rps.report.page import MADE_BY

    if text is None:
        if len(runs) > 1:
            raise InputError("several runs need a file for their page; give --output FILE.html")
        return runs[0] / "report.html"
    path = Path(text)
    if path.suffix != ".html" or path.is_dir():
        raise InputError(f"output {path} must be a file that ends in .html")
    if path.exists() and MADE_BY.encode() not in path.read_bytes()[:1000]:
        raise InputError(f"output {path} exists and was not written by rps report; give another --output")
    outside = [run for run in runs if not run.absolute().is_relative_to(path.parent.absolute())]
    if outside and not standalone:
        raise InputError(
            f"the page {path} would have to link to pictures outside its folder, in {outside[0]}; give --standalone, "
            "or an --output in a folder that contains the runs"
        )
    return path
