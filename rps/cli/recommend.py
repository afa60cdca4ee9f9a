"""rps recommend: the level of a run to use."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rps.cli.errors import InputError, SentenceParser
from rps.cli.streams import show

HELP = """\
usage: rps recommend RUN (--max-METRIC X | --min-METRIC X | --knee)

Recommend a level: a value of the knob, what RMSE and √FD to expect there with 95 % intervals, and the command that
restores at it. Between levels of t0, and of a weight, figures are interpolated; of another knob, one of the levels that
were run is chosen. Intervals come from choosing again on 200 resamples of the images.

  rps recommend runs/demo --max-rmse 0.105      the most realistic level (lowest √FD) with RMSE of at most .105
  rps recommend runs/demo --max-frechet 0.27    the most accurate level (lowest RMSE) with √FD of at most .27
  rps recommend runs/demo --min-psnr 20         any metric of the run: --max if lower is better, --min if higher is
  rps recommend runs/demo --knee                the level farthest below the chord, argmax 1 - u - v, with u and v the
                                                RMSE and √FD scaled to [0, 1] over the curve

√FD is that of sets as large as the run's; it is larger for smaller sets. The intervals are for the mean over pictures
of this kind: the figures of another set as large differ from the expected ones by up to 1.4 times as much.

exit codes: 0 done; 2 invalid input; 3 no level satisfies the bound, and the nearest is printed.
"""


def run_recommend(argv: Sequence[str]) -> int:
    """Prints the recommendation.  argv: the arguments after `rps recommend`.  -> exit code."""
    from rps.records import check_has_records, read_records
    from rps.report.recommend import infos_of, recommend, sides

    given = _read(argv)
    check_has_records(Path(given.run))
    found = recommend(given.run, *_bound(given.bound, sides(infos_of(read_records(given.run)))))
    show(str(found))
    return 0 if found.satisfied else 3


def _read(argv: Sequence[str]) -> argparse.Namespace:
    """run, knee, and bound: [option without dashes, value] or None.  Errors: InputError."""
    parts = [part for text in argv for part in (text.split("=", 1) if text.startswith("--") else [text])]
    bounds = [part for text in parts for part in (["--bound", text[2:]] if re.match("--m(ax|in)-", text) else [text])]
    parser = SentenceParser("rps recommend", "a run and one of --max-METRIC X, --min-METRIC X and --knee")
    parser.add_argument("run", metavar="RUN")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--bound", nargs=2)
    choice.add_argument("--knee", action="store_true")
    return parser.parse_args(bounds)


def _bound(given: Sequence[str] | None, sides: Mapping[str, str]) -> tuple[str, float] | tuple[()]:
    """The metric and the value of an option such as max-rmse 0.1; empty for the knee.  Errors: InputError."""
    if given is None:
        return ()
    option, value = given
    known = {f"{side}-{name}".replace("_", "-"): name for name, side in sides.items()}
    wanted = option.replace("_", "-")
    if wanted not in known:
        raise InputError(f"--{option} is no bound of this run; it has {', '.join(f'--{name}' for name in known)}")
    try:
        return known[wanted], float(value)
    except ValueError as error:
        raise InputError(f"--{option} must be a number, got {value!r}") from error
