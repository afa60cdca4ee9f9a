"""rps compare: one run minus another, sample by sample."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rps.cli.errors import InputError, sentence
from rps.cli.streams import say, show, show_written

HELP = """\
usage: rps compare RUN_A RUN_B [--levels A:B,A:B,...] [--output FILE_OR_FOLDER]

What A is better or worse by than B, at every level: differences of each metric, paired over the samples that both have
restored, with 95 % bootstrap intervals, and of the Frechet and kernel distances where both runs kept features.

  rps compare runs/map_rps runs/ccdf                            one knob (t0): every value that both have
  rps compare runs/map_rps runs/dps_a                           two knobs: every level of A with every level of B
  rps compare runs/map_rps runs/dps_a --levels 200:4,300:8      t0 = 200 with samples = 4, t0 = 300 with samples = 8
  rps compare runs/map_rps runs/map_rps --levels 200:0          two levels of one run

The runs must be of one task (operator, noise) and of the same pictures; other samples, and those that failed in one of
the two, are left out and named.

options:
  --levels A:B,...  pairs of levels; a single number is that level of both
  --output PLACE    also write the comparison: a .md file (the table), a .json file (all figures and ids), or a folder
                    for comparison.md and comparison.json

exit codes: 0 compared; 2 bad input, or runs that cannot be compared.
"""

TASK = ("operator", "noise")
"""Arguments of the model that say what is measured."""
WHICH = {"limit", "skip", "subset", "subset_seed", "attempts", "backoff"}
"""Arguments of the data that say which samples are taken, or how: pairing by ids sees to these."""


def compare(argv: Sequence[str]) -> int:
    """Prints the comparison, and writes it where asked to.  argv: the arguments after `rps compare`.  -> exit code."""
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"rps compare takes two run directories: {message} (see rps compare --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="rps compare", add_help=False, allow_abbrev=False)
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
        return [(first, rest[0] if rest else first) for first, *rest in parts if _is_pair(rest)]
    except ValueError as error:
        raise InputError(f"--levels must be pairs of levels such as 200:4,300:8, got {text!r}") from error


def _is_pair(rest: list[float]) -> bool:
    if len(rest) > 1:
        raise ValueError("three levels are no pair")
    return True


def _places(text: str | None) -> list[Path]:
    """Where to write: new files, or comparisons that were written before."""
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
            raise InputError(f"output {path} exists and is no comparison of rps; give another --output")
    return places


def _compare(run: Path, other: Path, pairs: list[tuple[float, float]] | None) -> dict[str, Any]:
    for folder in (run, other):
        _check_run(folder)
    from rps.records.changes import differences
    from rps.records.directory import RunDirectory
    from rps.records.reader import read_records
    from rps.report.paired import compare_runs, same_images

    configs = [RunDirectory(folder).config() for folder in (run, other)]
    if all(configs):
        _refuse("are of different tasks", run, other, *(_task(config) for config in configs))
        data = [_data(config) for config in configs]
        # Where the pictures lie may have changed; whether they are the same ones, their features know better.
        if differences(*data) and not same_images(read_records(run), read_records(other)):
            _refuse("are of different data", run, other, *data)
    return compare_runs(run, other, pairs=pairs)


def _check_run(folder: Path) -> None:
    from rps.records.directory import is_run
    from rps.records.reader import has_records

    if not folder.is_dir():
        raise InputError(f"there is no run {folder}; give the folder that rps predict --output was given")
    if not has_records(folder):
        what = "has no records yet" if is_run(folder) else "holds no run: it has no records"
        raise InputError(f"{folder} {what}; rps predict writes them after each of its batches")


def _refuse(what: str, run: Path, other: Path, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    from rps.records.changes import differences

    found = [f"{key} is {here} in one and {there} in the other" for key, here, there in differences(a, b)]
    if found:
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        raise InputError(f"{run} and {other} {what} and cannot be compared: {'; '.join(found[:3])}{more}")


def _task(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": {name: value for name, value in _arguments(config, "model").items() if name in TASK}}


def _data(config: Mapping[str, Any]) -> dict[str, Any]:
    section = config.get("data") or {}
    kept = {name: value for name, value in _arguments(config, "data").items() if name not in WHICH}
    class_path = section.get("class_path") if isinstance(section, Mapping) else section
    return {"data": {"class_path": class_path, "init_args": kept}}


def _arguments(config: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    found = config.get(section) or {}
    return (found.get("init_args") or {}) if isinstance(found, Mapping) else {}
