"""The runs of a study, each with its differences to the first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rps.records.comparable import check_comparable
from rps.records.directory import RunDirectory
from rps.records.reader import Records, read_records
from rps.report.paired import Paired, check_same_data, compare_runs, same_images
from rps.restoration import Level
from rps.study.settings import Study


@dataclass(frozen=True)
class Result:
    """A finished run.  summary: its metrics.json. minus_first: level -> metric -> this run minus the first one of the
    task. apart: why there are no differences, if there are none. group: folder of the first run of the task that has
    its measurements, so that they can be compared.
    """

    task: str
    run: str
    folder: Path
    summary: Mapping[str, Any]
    group: Path
    minus_first: Mapping[Level, Mapping[str, Paired]] = field(default_factory=dict)
    apart: str = ""


def read_results(study: Study, tasks: Sequence[str], output: Path) -> list[Result]:
    """The runs of the study in a folder, which must be finished, in the order of tasks and runs."""
    results = []
    for task in tasks:
        groups: dict[Path, Records] = {}  # of the first run of each group
        for run in study.runs:
            folder = output / study.folder(run, task)
            records = read_records(folder)
            reasons = {first: _incomparable(folder, records, first, others) for first, others in groups.items()}
            group = next((first for first, reason in reasons.items() if not reason), folder)
            groups.setdefault(group, records)
            first, apart = next(iter(groups)), next(iter(reasons.values()), "")
            found = ({}, apart) if apart or not reasons else _minus(folder, records, first, groups[first])
            results.append(Result(task, run, folder, RunDirectory(folder).metrics(), group, *found))
    return results


def _incomparable(run: Path, a: Records, other: Path, b: Records) -> str:
    """Why two runs cannot be compared; "" if they can."""
    try:
        check_comparable(run, other, lambda: bool(same_images(a, b)))
        check_same_data(a, b, run, other)
    except ValueError as reason:
        return str(reason)
    return ""


def _minus(run: Path, a: Records, first: Path, b: Records) -> tuple[dict[Level, Mapping[str, Paired]], str]:
    """The differences at the levels that both have, or of the only levels of both; else the reason for none."""
    pairs = [(level, level) for level in a.levels if level in b.levels] if a.knob == b.knob else []
    if not pairs and len(a.levels) == len(b.levels) == 1:
        pairs = [(a.levels[0], b.levels[0])]
    if not pairs:
        return {}, "no level in common"
    try:
        found = compare_runs(run, first, pairs=pairs)
    except ValueError as reason:
        return {}, str(reason)
    return {level["level"]: level["metrics"] for level in found["levels"]}, ""
