"""The page of one run or several, from their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from rps.metrics.dominance import dominated_by
from rps.records.comparable import check_comparable
from rps.records.directory import RunDirectory, check_has_records
from rps.records.files import level_name
from rps.records.reader import Records, read_records
from rps.records.summary import images_of, reference_of, summary
from rps.report.overlay import check_distances
from rps.report.page import write_page
from rps.report.paired import Exact, compare_runs, same_images
from rps.report.shown import Shown


def check_runs(runs: Sequence[Path]) -> None:
    """Errors: RunRefused if a run has no records, or if the first and another differ in task or data; ValueError for
    more runs than there are letters."""
    if len(runs) > len(ascii_uppercase):
        raise ValueError(f"a page or a comparison has at most {len(ascii_uppercase)} runs, got {len(runs)}; give fewer")
    for run in runs:
        check_has_records(run)
    for other in runs[1:]:
        check_comparable(runs[0], other, lambda: bool(same_images(read_records(runs[0]), read_records(other))))  # noqa: B023


def report_runs(
    runs: Sequence[Path],
    path: Path,
    standalone: bool = False,
    most: int | None = None,
    exact: Exact | None = None,
    guides: bool = True,
) -> Path:
    """Writes the page of a run, or of several on the samples that all restored, even while they are in progress.

    standalone, most, guides: see `write_page`. exact: see `compare_runs`. -> the file. Errors: ValueError for runs that
    cannot be shown together.
    """
    check_runs(runs)
    found = [read_records(run) for run in runs]
    if len(runs) == 1:
        name = runs[0].resolve().name
        shown = [Shown(name, runs[0], found[0], _summary(runs[0], found[0]))]
        return write_page(path, shown, standalone=standalone, most=most, guides=guides)
    ids = set.intersection(*(records.restored() for records in found))
    if not ids:
        raise ValueError(f"{', '.join(map(str, runs))} have no sample that all restored; give runs of the same data")
    shown = []
    for letter, run, records in zip(ascii_uppercase, runs, found, strict=False):
        if records.judged and records.restored() != ids:
            raise ValueError(
                f"{run} was compared with exact posteriors on samples that another run lacks, and these figures cannot "
                "be made again from its records; give runs of the same samples"
            )
        common = records.only(ids)
        shown.append(Shown(f"{letter}: {run.resolve().name}", run, common, _summary(run, common)))
    remarks = [f"On the {len(ids)} sample{'s' * (len(ids) != 1)} that all runs restored."]
    dominated: list[list[str | None]] = []
    try:
        remarks += check_distances({run.name: run.summary for run in shown})
        dominated = _dominated(shown)
    except ValueError as reason:
        remarks.append(f"There is no plane: {reason}.")
    compared = [compare_runs(runs[0], other, exact=exact) for other in runs[1:]]
    return write_page(path, shown, dominated, remarks, compared, standalone, most, guides)


def _summary(run: Path, records: Records) -> Mapping[str, Any]:
    """The figures of a run; those against exact posteriors are only in its metrics.json."""
    if not records.judged:
        return summary(records, reference_of(records))
    if not (found := RunDirectory(run).metrics()):
        raise ValueError(
            f"{run / 'metrics.json'} is missing, which has the figures against exact posteriors; repeat rps predict"
        )
    return found


def _dominated(runs: Sequence[Shown]) -> list[list[str | None]]:
    """For each run and level, the name of a point that is below it, of any run."""
    places = [(run, level) for run in runs for level in run.records.levels]
    sets = [images_of(run.records, ("restored", level), reference_of(run.records)) for run, level in places]
    names = [f"{run.name}, {run.summary['knob']} = {level_name(level)}" for run, level in places]
    found = iter(None if by is None else names[by] for by in dominated_by(sets))
    return [[next(found) for _ in run.records.levels] for run in runs]
