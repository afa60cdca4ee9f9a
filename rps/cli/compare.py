"""rps compare: one run minus another, sample by sample."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rps.cli.errors import InputError, SentenceParser, sentence
from rps.cli.streams import say, show, show_written

HELP = """\
usage: rps compare RUN_A RUN_B [--levels A:B,A:B,...] [--output FILE_OR_FOLDER]

Report how much better or worse A is than B at every level: differences of each metric, paired over the samples that
both restored, with 95 % bootstrap intervals; also of the Frechet and kernel distances if both runs kept features.

  rps compare runs/map_rps runs/ccdf                            same knob (t0): every value that both have
  rps compare runs/map_rps runs/dps_a                           two knobs: every level of A with every level of B
  rps compare runs/map_rps runs/dps_a --levels 200:4,300:8      t0 = 200 with samples = 4, t0 = 300 with samples = 8
  rps compare runs/map_rps runs/map_rps --levels 200:0          two levels of one run

The runs must have the same task (operator, noise) and the same pictures. Samples that only one run has, or that failed
in one of them, are left out and listed.

options:
  --levels A:B,...  pairs of levels; a single number means that level of both
  --output PLACE    also write the comparison to a .md file (the table), a .json file (all figures and ids), or a
                    folder (comparison.md and comparison.json)

exit codes: 0 compared; 2 invalid input, or runs that cannot be compared.
"""


def run_compare(argv: Sequence[str]) -> int:
    """Prints the comparison, and writes it to --output.  argv: the arguments after `rps compare`.  -> exit code."""
    if {"-h", "--help"} & set(argv):
        print(HELP, end="")
        return 0
    try:
        given = _parser().parse_args(list(argv))
        places = _places(given.output)
        found = _compare(Path(given.run), Path(given.other), _pairs(given.levels))
        from rps.records.files import write_json, write_text
        from rps.report.paired_table import paired_table

        text = paired_table(found)
        for place in places:
            write_json(place, found) if place.suffix == ".json" else write_text(place, text)
    except (ValueError, OSError) as error:
        say(f"error: {sentence(error)}")
        return 2
    show(text.strip())
    if places:
        show_written(places)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = SentenceParser("rps compare", "two run directories")
    parser.add_argument("run", metavar="RUN_A")
    parser.add_argument("other", metavar="RUN_B")
    parser.add_argument("--levels")
    parser.add_argument("--output")
    return parser


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
            raise InputError(f"output {place} is a file; give a .md file, a .json file or a folder")
        places = [place / "comparison.md", place / "comparison.json"]
    elif place.suffix in (".md", ".json"):
        places = [place]
    else:
        raise InputError(f"output {place} must end in .md or .json, or be a folder")
    for path in places:
        if path.exists() and not path.read_bytes().startswith((b"A: ", b'{\n "run": ')):
            raise InputError(f"output {path} exists and was not written by rps compare; give another --output")
    return places


def _compare(run: Path, other: Path, pairs: list[tuple[float, float]] | None) -> dict[str, Any]:
    from rps.records import check_comparable, check_has_records, read_records
    from rps.report.paired import compare_runs, same_images

    for folder in (run, other):
        check_has_records(folder)
    check_comparable(run, other, lambda: bool(same_images(read_records(run), read_records(other))))
    return compare_runs(run, other, pairs=pairs)
