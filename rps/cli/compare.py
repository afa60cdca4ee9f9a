"""rps compare: one run minus others, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rps.cli.errors import InputError, SentenceParser
from rps.cli.streams import say, show, show_written

HELP = """\
usage: rps compare RUN_A RUN_B [RUN_C ...] [--levels A:B,A:B,...] [--output FILE_OR_FOLDER] [--no_guides]

Report how much better or worse A is than each other run at every level: differences of each metric, paired over the
samples that both restored, with 95 % bootstrap intervals; also of the Frechet and kernel distances if both runs kept
features, and of the figures against the exact posterior if both have them (rps.oracle.OracleRecorder).

  rps compare runs/map_rps runs/ccdf                            same knob (t0): every value that both have
  rps compare runs/map_rps runs/dps_a                           two knobs: every level of A with every level of B
  rps compare runs/map_rps runs/dps_a --levels 200:4,300:8      t0 = 200 with samples = 4, t0 = 300 with samples = 8
  rps compare runs/map_rps runs/map_rps --levels 200:0          two levels of one run
  rps compare runs/a runs/b runs/c --output runs/comparison     b and c with a, and the curves of all three

The runs must have the same task (operator, noise) and the same pictures. Samples that only one run has, or that failed
in one of them, are left out and listed.

options:
  --levels A:B,...  pairs of a level of A and one of the others; a single number means that level of both
  --output PLACE    also write the comparison to a .md file (the table), a .json file (all figures and ids), a .png file
                    (the curves on the samples that all runs restored), or a folder (comparison.md, .json and .png)
  --no_guides       leave out the reference curves of the figure

exit codes: 0 compared; 2 invalid input, or runs that cannot be compared.
"""

MADE_BY = "rps compare"
OURS = {".md": b"A: ", ".json": b'{\n "run": ', ".png": MADE_BY.encode()}
"""What files that were written before have near their beginning."""


def run_compare(argv: Sequence[str]) -> int:
    """Prints the comparison, and writes it to --output.  argv: the arguments after `rps compare`.  -> exit code."""
    from rps.report.paired import compare_runs
    from rps.report.paired_table import paired_table
    from rps.report.several import check_runs

    parser = SentenceParser("rps compare", "two or more run directories")
    parser.add_argument("run", metavar="RUN_A")
    parser.add_argument("others", metavar="RUN_B", nargs="+")
    parser.add_argument("--levels")
    parser.add_argument("--output")
    parser.add_argument("--no_guides", dest="guides", action="store_false")
    given = parser.parse_args(list(argv))
    places, pairs = _places(given.output), _pairs(given.levels)
    runs = [Path(run) for run in (given.run, *given.others)]
    check_runs(runs)
    found = [compare_runs(runs[0], other, pairs=pairs, exact=paired_with_exact) for other in runs[1:]]
    text = paired_table(*found)
    written = [place for place in places if _write(place, runs, found, text, given.guides)]
    show(text.strip())
    if places:
        show_written(written)
    return 0


def _pairs(text: str | None) -> list[tuple[float, float]] | None:
    """ "200:4,300" -> [(200, 4), (300, 300)]."""
    if text is None:
        return None
    try:
        parts = [[float(number) for number in part.split(":")] for part in text.split(",")]
    except ValueError:
        parts = [[]]
    if not all(1 <= len(part) <= 2 for part in parts):
        raise InputError(f"--levels must be pairs of levels such as 200:4,300:8, got {text!r}")
    return [(part[0], part[-1]) for part in parts]


def _places(text: str | None) -> list[Path]:
    """The files to write: new ones, or comparisons that were written before.  Errors: InputError."""
    if text is None:
        return []
    place = Path(text)
    if place.is_dir() or not place.suffix:
        if place.is_file():
            raise InputError(f"output {place} is a file; give a .md, .json or .png file, or a folder")
        places = [place / f"comparison{suffix}" for suffix in OURS]
    elif place.suffix in OURS:
        places = [place]
    else:
        raise InputError(f"output {place} must end in .md, .json or .png, or be a folder")
    for path in places:
        if path.exists() and OURS[path.suffix] not in path.read_bytes()[:1000]:
            raise InputError(f"output {path} exists and was not written by rps compare; give another --output")
    return places


def paired_with_exact(*rows: Any) -> Any:
    """rps.oracle.paired.paired_figures."""
    from rps.oracle.paired import paired_figures  # imports Lightning, which only such runs need

    return paired_figures(*rows)


def _write(place: Path, runs: Sequence[Path], found: Sequence[dict[str, Any]], text: str, guides: bool) -> bool:
    """Writes one file.  -> whether it was written: without Frechet distances there is no figure."""
    from rps.records.files import write_json, write_text
    from rps.report.overlay import overlay_runs

    if place.suffix == ".md":
        write_text(place, text)
    elif place.suffix == ".json":
        write_json(place, {"run": str(runs[0]), "comparisons": found})
    else:
        try:
            named = {f"{chr(ord('A') + i)}: {run.name}": run for i, run in enumerate(runs)}
            overlay_runs(named, place, MADE_BY, guides)
        except ValueError as reason:
            say(f"there is no figure: {reason}")
            return False
    return True
